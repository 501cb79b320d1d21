"""What only a run on Flyte needs: the check of the command line, Weights & Biases, secrets.

No other folder imports flytekit or wandb.
"""
