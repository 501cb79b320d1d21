"""Measure what Liger Kernel does for the fine-tuning of a language model.

Plain Python: nothing in this package knows of Flyte or of Weights & Biases.
"""
