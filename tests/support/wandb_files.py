"""W&B's offline files, read back: what a person finds afterwards of a run."""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record


@dataclasses.dataclass
class WandbRun:
    """What one `.wandb` file says."""

    name: str = ""
    project: str = ""
    entity: str = ""
    group: str = ""
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    summary: dict[str, Any] = dataclasses.field(default_factory=dict)
    exit_code: int | None = None


def records(path: Path) -> Iterator[Record]:
    """The records of a `.wandb` file: LevelDB's log format behind a header of seven bytes."""
    content, position, record = path.read_bytes(), 7, b""
    while position + 7 <= len(content):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        record += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(record)
            record = b""


def read_wandb(path: Path) -> WandbRun:
    found = WandbRun()

    def values(items: Any) -> dict[str, Any]:
        return {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items}

    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            found.name, found.group = run.display_name, run.run_group
            found.project, found.entity = run.project, run.entity
            found.config |= values(run.config.update)
        elif kind == "history":
            found.history.append(values(record.history.item))
        elif kind == "summary":
            found.summary |= values(record.summary.update)
        elif kind == "exit":
            found.exit_code = record.exit.exit_code
    return found


def tracked_runs(folder: Path) -> list[WandbRun]:
    return [read_wandb(path) for path in sorted(folder.rglob("*.wandb"))]
