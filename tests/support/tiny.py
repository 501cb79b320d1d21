"""Training arguments of the smallest runs, which take seconds on a CPU."""

from dataclasses import replace

from liger_benchmark.arguments import TrainingArguments

TINY = TrainingArguments(
    model_name="builtin:phi3-tiny",
    dataset_name="builtin:instructions",
    max_seq_length=32,
    bf16=False,
    max_steps=3,
    n_warmup_steps=1,
    per_device_train_batch_size=2,
)
# For arms with Liger: its kernels are interpreted, at seconds a step of 32 tokens.
SHORT = replace(TINY, max_seq_length=16, per_device_train_batch_size=1, max_steps=2)
