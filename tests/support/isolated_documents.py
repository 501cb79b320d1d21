"""A run whose attention takes the documents of a packed batch for one; runs in a fresh process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from liger_benchmark.arguments import TrainingArguments
from liger_benchmark.training import condition


def train_with_documents_that_meet(
    send: Callable[[Any], None], arguments: TrainingArguments, *folders: Path
) -> dict[str, Any]:
    """Train, with a mask that is built without the position ids."""
    from transformers.models.phi3 import modeling_phi3

    def forgetful(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **options: original(*args, **options | {"position_ids": None})

    for name in ("create_causal_mask", "create_sliding_window_causal_mask"):
        setattr(modeling_phi3, name, forgetful(getattr(modeling_phi3, name)))
    return condition.train(send, arguments, *folders)
