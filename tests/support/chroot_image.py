"""The instructions of a Dockerfile, executed in a folder without Docker; needs root."""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# While it is built, and not in the image: the registries are trusted as this machine trusts them.
TRUST = "/run/build-certificates.crt"
WHILE_BUILDING = {"SSL_CERT_FILE": TRUST, "UV_HTTP_TIMEOUT": "300"}


@dataclass
class Image:
    """A root folder in which the instructions of a Dockerfile are executed.

    Attributes:
        root: the folder.
        context: the folder with the Dockerfile and what it copies or mounts.
        caches: where the contents of cache mounts are kept, outside of the root.
        tools: the files that stages of other images provide, by the stage's name and their path.
        environment: what ENV has set until now.
        user, folder: what USER and WORKDIR have set.
    """

    root: Path
    context: Path
    caches: Path
    tools: Mapping[str, Path]
    environment: dict[str, str] = field(
        default_factory=lambda: {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        }
    )
    user: str = "root"
    folder: str = "/"

    def execute(self, word: str, rest: str) -> None:
        """Execute one instruction.

        Raises:
            ValueError: if it is none that flytekit's template has.
            subprocess.CalledProcessError: if a command fails.
        """
        if word == "ENV":
            for name, value in (part.split("=", 1) for part in shlex.split(rest)):
                self.environment[name] = re.sub(
                    r"\$(\w+)", lambda found: self.environment.get(found[1], ""), value
                )
        elif word == "USER":
            self.user = rest
        elif word == "WORKDIR":
            self.folder = rest
            (self.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "RUN":
            options, command = re.fullmatch(r"((?:--\S+\s+)*)(.*)", rest + " ", re.S).groups()  # type: ignore[union-attr]
            if command.strip():
                mounts = [option.removeprefix("--mount=") for option in options.split()]
                with contextlib.ExitStack() as stack:
                    stack.enter_context(self.mounted(CERTIFICATES, TRUST))
                    for mount in mounts:
                        stack.enter_context(self._mounted(mount))
                    self.run(["/bin/sh", "-c", command], environment=WHILE_BUILDING)
        elif word not in ("FROM", "SHELL"):
            raise ValueError(f"{word}: not known to this script")

    def run(
        self,
        command: Sequence[str],
        *,
        folder: str | None = None,
        environment: Mapping[str, str] | None = None,
        output: int | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the root as the current user, with the current environment."""
        home = "/root" if self.user == "root" else f"/home/{self.user}"
        variables = {**self.environment, "HOME": home, **(environment or {})}
        there = f"cd {shlex.quote(folder or self.folder)} && exec {shlex.join(command)}"
        words = ["chroot", f"--userspec={self.user}", str(self.root), "/usr/bin/env", "-i"]
        words += [f"{name}={value}" for name, value in variables.items()]
        return subprocess.run(
            [*words, "/bin/sh", "-c", there],
            check=output is None,
            text=True,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
        )

    def bytes(self) -> int:
        """The size of the root, without what is mounted into it."""
        done = subprocess.run(
            ["du", "-sxB1", str(self.root)], stdout=subprocess.PIPE, text=True, check=True
        )
        return int(done.stdout.split()[0])

    @contextlib.contextmanager
    def mounted(self, source: Path, target: str) -> Iterator[None]:
        """Bind-mount a file or folder of this machine into the root."""
        place = self.root / target.lstrip("/")
        existed = place.exists()
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            place.mkdir(exist_ok=True)
        else:
            place.touch()
        subprocess.run(["mount", "--bind", str(source), str(place)], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", str(place)], check=True)
            if not existed and place.is_file():
                place.unlink()

    def _mounted(self, mount: str) -> contextlib.AbstractContextManager[None]:
        options = dict(part.split("=", 1) for part in mount.split(",") if "=" in part)
        if options.get("type") == "cache":
            source = self.caches / options["id"]
            source.mkdir(parents=True, exist_ok=True)
            source.chmod(0o777)
        elif options.get("type") == "bind":
            source = self.context / options["src"]
        else:
            source = self.tools[f"{options['from']}:{options['source']}"]
        return self.mounted(source, options["target"])


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, each as its word and the rest, on one line."""
    text = re.sub(r"\\\n", " ", dockerfile)
    lines = (line.strip() for line in text.splitlines())
    found = [line.partition(" ") for line in lines if line and not line.startswith("#")]
    return [(word.upper(), rest.strip()) for word, _, rest in found]


@contextlib.contextmanager
def running(image: Image) -> Iterator[None]:
    """What the kernel and Docker give to a container."""
    with contextlib.ExitStack() as stack:
        for path in ("/proc", "/dev", "/sys", "/etc/hosts", "/etc/resolv.conf"):
            stack.enter_context(image.mounted(Path(path), path))
        yield
