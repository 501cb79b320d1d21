"""What a run trained on and computed, kept while it trains, for its record."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from liger_benchmark.training.documents import documents_in
from liger_benchmark.training.head_proof import Sighting


@dataclass
class Observation:
    """What a run trained on and computed, for its record.

    Attributes:
        batches: a hash of all documents as they were trained, in order: lengths, ids and labels. It
            does not depend on how a batch is laid out.
        lengths: how many documents of each length, in tokens.
        tokens, padding_tokens: of all batches.
        gradients: see `gradient_fingerprint`; of the first step (on a GPU its first micro-batch),
            before clipping.
        proof: see `live_facts`.
        head: what was seen of the head in the first loss; None in a compiled model.
    """

    batches: Any = field(default_factory=hashlib.sha256)
    lengths: Counter[int] = field(default_factory=Counter)
    tokens: int = 0
    padding_tokens: int = 0
    gradients: dict[str, list[float] | None] = field(default_factory=dict)
    proof: dict[str, Any] = field(default_factory=dict)
    head: Sighting | None = None

    def add_batch(self, batch: Any) -> int:
        """Add a micro-batch; returns its number of tokens without padding."""
        ids, labels, lengths = documents_in(batch)
        self.batches.update(f"{lengths}".encode())
        for values in (ids, labels):
            self.batches.update(values.contiguous().numpy().tobytes())
        self.lengths.update(lengths)
        tokens, real_tokens = batch["input_ids"].numel(), sum(lengths)
        self.tokens += tokens
        self.padding_tokens += tokens - real_tokens
        return real_tokens

    def record(self) -> dict[str, Any]:
        """The observation as parts of a record."""
        return {
            "batches": {
                "checksum": self.batches.hexdigest()[:16],
                "padding_fraction": round(self.padding_tokens / max(self.tokens, 1), 4),
                "documents": self.lengths.total(),
            },
            "gradients": self.gradients,
            "proof": self.proof,
        }
