"""Rows of conversations, and arguments that leave them whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from support.tiny import TINY

LONG = replace(
    TINY, max_seq_length=512, max_steps=1, n_warmup_steps=0, per_device_train_batch_size=1
)


QUESTION = {"role": "user", "content": "Is the gate open?"}


ANSWER = {"role": "assistant", "content": "It is open."}


Learnt = Callable[..., list[str]]
