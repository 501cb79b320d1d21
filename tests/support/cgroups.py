"""Made-up control groups, as a container finds its limits under /sys/fs/cgroup."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

GIB = 2**30
VERSIONS = ("version 2", "version 1")
# What the kernel writes where there is no limit.
UNLIMITED = {
    "version 2": {"memory.max": "max", "cpu.max": "max 100000"},
    "version 1": {
        "memory/memory.limit_in_bytes": "9223372036854771712",
        "cpu/cpu.cfs_quota_us": "-1",
        "cpu/cpu.cfs_period_us": "100000",
    },
}


def write_limits(cgroups: Path, version: str, memory: int, cpus: float) -> None:
    """What the kubelet sets for a container that is limited to `memory` bytes and `cpus`."""
    period, quota = 100_000, round(cpus * 100_000)
    files = {
        "version 2": {"memory.max": f"{memory}", "cpu.max": f"{quota} {period}"},
        "version 1": {
            "memory/memory.limit_in_bytes": f"{memory}",
            "cpu/cpu.cfs_quota_us": f"{quota}",
            "cpu/cpu.cfs_period_us": f"{period}",
        },
    }
    write_files(cgroups, files[version])


def write_files(cgroups: Path, files: Mapping[str, str]) -> None:
    """Write control files, each by its path below the mount."""
    for name, content in files.items():
        (cgroups / name).parent.mkdir(parents=True, exist_ok=True)
        (cgroups / name).write_text(f"{content}\n", encoding="ascii")
