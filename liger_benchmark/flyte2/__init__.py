"""What only a run on Flyte 2 needs: its task environments, and where a task runs.

What it shares with Flyte 1 is in `liger_benchmark.flyte`. No other folder imports the SDK `flyte`.
"""
