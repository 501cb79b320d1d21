"""A fake Hugging Face Hub on loopback.

It serves repositories from memory: their description, their file tree, and their files with the
headers that the client reads. Tests inject failures through the attributes of `FakeHub`.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_PATHS = re.compile(
    r"/api/(?P<kind>model|dataset)s/(?P<repo>[^/]+/[^/]+)(?P<rest>/.*)?"
    r"|(?P<datasets>/datasets)?/(?P<owner>[^/]+/[^/]+)/resolve/(?P<commit>[^/]+)/(?P<file>.+)"
)


@dataclass
class Repository:
    """The files of one commit by their paths. A gated repository has a description and no files.

    `sizes` are what the description says of some of the files, where that is not true.
    """

    files: dict[str, bytes]
    gated: bool = False
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def commit(self) -> str:
        return _sha1(repr(sorted(self.files.items())))


@dataclass
class FakeHub:
    """The server's repositories, the requests that it received, and the failures to inject.

    Attributes:
        repositories: by `model/OWNER/NAME` or `dataset/OWNER/NAME`.
        requests: `METHOD path` of every request, followed by its Range header if it had one.
        failures: by the end of a path, how many of its requests are still answered with 503.
        cut: by file name, after how many bytes the connection is closed, once.
        tokens: all tokens that were received.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    endpoint: str = ""

    def fetched(self) -> list[str]:
        """The names of the files whose content was asked for, sorted."""
        paths = (line.split()[1] for line in self.requests if line.startswith("GET "))
        return sorted({p.rpartition("/resolve/")[2].split("/", 1)[1] for p in paths if "/res" in p})


@contextmanager
def serve() -> Iterator[FakeHub]:
    """A running fake Hub; HF_ENDPOINT must be set to its `endpoint`."""
    hub = FakeHub()

    class Handler(_Handler):
        state = hub

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    state: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.state.requests.append(f"{self.command} {path} {self.headers.get('Range', '')}".strip())
        if "Authorization" in self.headers:
            self.state.tokens.add(self.headers["Authorization"].removeprefix("Bearer "))
        for ending, left in self.state.failures.items():
            if path.endswith(ending) and left > 0:
                self.state.failures[ending] = left - 1
                return self._send(503, b"")
        match = _PATHS.fullmatch(path)
        if match is None:
            return self._send(404, b"")
        if match["owner"]:
            kind, name = ("dataset" if match["datasets"] else "model"), match["owner"]
        else:
            kind, name = match["kind"], match["repo"]
        repository = self.state.repositories.get(f"{kind}/{name}")
        if repository is None:
            return self._send(401, b"", {"X-Error-Code": "RepoNotFound"})
        if match["owner"]:
            return self._send_file(repository, match["file"])
        rest = match["rest"] or ""
        if rest.startswith("/tree/"):
            folder = rest.split("/", 3)[3] + "/" if rest.count("/") > 2 else ""
            return self._send_json(_entries(repository, folder, "recursive=true" in query.lower()))
        if rest.startswith("/paths-info/"):
            paths = json.loads(body)["paths"]
            return self._send_json([e for e in _entries(repository) if e["path"] in paths])
        self._send_json(
            {
                "id": name,
                "sha": repository.commit,
                "gated": "auto" if repository.gated else False,
                "private": False,
                "siblings": [
                    {"rfilename": path, "size": repository.sizes.get(path, len(content))}
                    for path, content in repository.files.items()
                ],
            }
        )

    def _send_file(self, repository: Repository, path: str) -> None:
        commit = {"X-Repo-Commit": repository.commit}
        if repository.gated:
            return self._send(401, b"", commit | {"X-Error-Code": "GatedRepo"})
        content = repository.files.get(path)
        if content is None:
            return self._send(404, b"", commit | {"X-Error-Code": "EntryNotFound"})
        headers = commit | {"ETag": f'"{_sha1(content)}"', "Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted:
            start = int(wanted[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self._send(206, content[start:], headers)
        cut = self.state.cut.pop(path, None) if self.command == "GET" else None
        self._send(200, content, headers, cut)

    def _send_json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        cut: int | None = None,
    ) -> None:
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])
        if cut is not None:
            self.close_connection = True


def _entries(repository: Repository, folder: str = "", deep: bool = True) -> list[dict[str, Any]]:
    """The entries below `folder` as the Hub's API lists them; one level, or all files if `deep`."""
    files = {p: c for p, c in repository.files.items() if p.startswith(folder)}
    if not deep:
        inside = {
            p.removeprefix(folder).partition("/")[0] for p in files if "/" in p[len(folder) :]
        }
        files = {p: c for p, c in files.items() if "/" not in p[len(folder) :]}
    else:
        inside = set()
    return [
        *(
            {"type": "directory", "path": folder + name, "oid": _sha1(name)}
            for name in sorted(inside)
        ),
        *({"type": "file", "path": p, "size": len(c), "oid": _sha1(c)} for p, c in files.items()),
    ]


def _sha1(content: str | bytes) -> str:
    return hashlib.sha1(content.encode() if isinstance(content, str) else content).hexdigest()
