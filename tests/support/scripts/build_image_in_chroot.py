"""Build the container image without Docker, and run one smoke condition in it.

    sudo .venv/bin/python tests/support/scripts/build_image_in_chroot.py FOLDER

For maintainers; no test calls it. It takes the Dockerfile that flytekit writes for the ImageSpec
and executes its instructions one by one in a clean Debian root below FOLDER, made by debootstrap.
Then it registers an experiment of one condition and runs each of its containers in that root, as
the image's own user. Needed: root, debootstrap, 15 GB of disk, and the registries of Debian and
PyPI.

Where Docker does something else: the base is debootstrap's minbase and not `debian:bookworm-slim`;
uv comes from PyPI, in the version that the Dockerfile names; and if conda-forge cannot be reached
(`--micromamba` names no binary), Python is Debian's, in a virtual environment at the same place.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

PROJECT = Path(__file__).parents[3]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]

from support.chroot_image import CERTIFICATES, Image, instructions, running  # noqa: E402
from support.containers import STORE_PROTOCOL, Cluster  # noqa: E402
from support.submitted import submitted  # noqa: E402

DEBIAN = "bookworm"
INPUTS = """
experiment_args: {use_liger: [true], per_device_train_batch_size: [1]}
training_args:
  model_name: "builtin:phi3-tiny"
  dataset_name: "builtin:instructions"
  max_seq_length: 16
  bf16: false
  max_steps: 2
  n_warmup_steps: 1
n_runs: 1
"""
# Stands in for micromamba where conda-forge cannot be reached.
DEBIANS_PYTHON = """#!/bin/sh -e
[ "$1" = create ] || exit 0
apt-get install -y --no-install-recommends python3.11 python3.11-venv python3.11-dev
python3.11 -m venv --without-pip /opt/micromamba/envs/runtime
"""


class ClusterInImage(Cluster):
    """A cluster whose containers run in the image, one at a time, since they share its root."""

    image: Image
    _turn = threading.Lock()

    def _execute(
        self, command: Sequence[str], disk: Path, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        own = {"HOME", "TMPDIR", "PATH", "PYTHONPATH"}
        variables = {name: value for name, value in environment.items() if name not in own}
        # A new container has nothing in /root but what it downloads.
        code = disk / "root"
        code.chmod(0o777)
        with self._turn, self.image.mounted(code, "/root"), peak_memory() as peak:
            began = time.monotonic()
            done = self.image.run(
                command,
                folder="/root",
                environment={**variables, "PYTHONPATH": f"/root:{self.site}"},
                output=subprocess.PIPE,
            )
            seconds = time.monotonic() - began
        task = command[-1] if "task-name" in command else command[0]
        print(f"== {seconds:7.1f} s, {peak[0] / 2**20:.0f} MiB at most: {task}", flush=True)
        return done


@contextlib.contextmanager
def peak_memory() -> Iterator[list[int]]:
    """The most memory, in bytes, that this process's children held at one time inside the block.

    Resident memory is added up, so what processes share counts in each: it is an upper bound.
    """
    peak, ended = [0], threading.Event()

    def sample() -> None:
        while not ended.wait(0.1):
            held = 0
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    held += process.memory_info().rss
            peak[0] = max(peak[0], held)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield peak
    finally:
        ended.set()
        sampler.join()


def write_context(folder: Path) -> str:
    """Write what flytekit hands to `docker build` into a folder, and return the Dockerfile."""
    os.chdir(PROJECT)
    os.environ.setdefault("LIGER_BENCHMARK_REGISTRY", "localhost:30000")
    from flytekit.image_spec.default_builder import create_docker_context

    import image_spec

    folder.mkdir(parents=True, exist_ok=True)
    create_docker_context(image_spec.image, folder)
    return (folder / "Dockerfile").read_text(encoding="utf-8")


def fetch_uv(dockerfile: str, folder: Path) -> Path:
    """The uv of the version in the Dockerfile, from PyPI."""
    version = re.search(r"FROM \S+/uv:(\S+)", dockerfile)
    assert version is not None
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet"]
    subprocess.run([*pip, "--target", str(folder), f"uv=={version[1]}"], check=True)
    return folder / "bin" / "uv"


def build(folder: Path, micromamba: Path | None) -> Image:
    """Execute the Dockerfile in `folder/root`, telling after each step its time and the size."""
    dockerfile = write_context(folder / "context")
    stand_in = folder / "micromamba"
    stand_in.write_text(DEBIANS_PYTHON)
    stand_in.chmod(0o755)
    image = Image(
        folder / "root",
        folder / "context",
        folder / "caches",
        {
            "uv:/uv": fetch_uv(dockerfile, folder / "uv"),
            "micromamba:/usr/bin/micromamba": micromamba or stand_in,
            f"micromamba:{CERTIFICATES}": CERTIFICATES,
        },
    )
    if not (image.root / "bin").exists():
        with step("debootstrap", image):
            subprocess.run(
                ["debootstrap", "--variant=minbase", DEBIAN, str(image.root)], check=True
            )
    with running(image):
        for word, rest in instructions(dockerfile):
            with step(f"{word} {rest}"[:120], image):
                image.execute(word, rest)
    return image


@contextlib.contextmanager
def step(name: str, image: Image) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(
        f"== {time.monotonic() - began:7.1f} s, now {image.bytes() / 1e9:.2f} GB: {name}",
        flush=True,
    )


def run_smoke_condition(image: Image, folder: Path) -> None:
    """Register an experiment of one condition and run all of its containers in the image."""
    shutil.rmtree(folder, ignore_errors=True)
    os.umask(0)  # the image's user is another one
    with submitted(folder, INPUTS) as plane:
        cluster = ClusterInImage(plane, folder / "cluster")
        cluster.image = image
        with contextlib.ExitStack() as stack:
            stack.enter_context(running(image))
            for part in (plane.store, cluster.site):
                stack.enter_context(image.mounted(part, str(part)))
            outputs = cluster.run(plane.executions[0])
        for pod in cluster.pods:
            print(f"== {pod.task}: {pod.error or 'succeeded'}\n{pod.log[-2000:]}")
        print(f"{STORE_PROTOCOL} holds {len(outputs)} outputs of the experiment")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--micromamba", type=Path, help="a micromamba that reaches conda-forge")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    image = build(folder, arguments.micromamba)
    run_smoke_condition(image, folder / "smoke")


if __name__ == "__main__":
    main()
