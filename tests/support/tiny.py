"""Training arguments of the smallest run, which takes seconds on a CPU."""

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
