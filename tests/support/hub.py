"""A Hugging Face hub on loopback that serves one model to huggingface_hub."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.loopback import running

LARGE = (".safetensors", ".bin", ".pth")  # LFS objects, whose sha256 the hub states


@dataclass
class Hub:
    """A hub with one model; `damaged` files have a wrong byte, `cut` files end in the middle."""

    repo: str
    commit: str
    files: dict[str, bytes]
    damaged: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    delay_s: float = 0.0  # before each file
    downloads: Counter[str] = field(default_factory=Counter)
    url: str = ""

    def info(self) -> dict[str, Any]:
        """The hub's description of the model at this commit."""
        siblings = [
            {"rfilename": name, "size": len(data), "blobId": git_sha1(data)} | _lfs(name, data)
            for name, data in self.files.items()
        ]
        return {
            "_id": "1",
            "id": self.repo,
            "modelId": self.repo,
            "sha": self.commit,
            "private": False,
            "siblings": siblings,
        }

    def tree(self) -> list[dict[str, Any]]:
        """The hub's listing of the model's files."""
        return [
            {"type": "file", "path": s["rfilename"], "size": s["size"], "oid": s["blobId"]}
            | ({"lfs": {"oid": s["lfs"]["sha256"], "size": s["size"], "pointerSize": 130}} if "lfs" in s else {})
            for s in self.info()["siblings"]
        ]


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Run the hub at its `url` for the length of the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    with running(server) as address:
        hub.url = f"http://{address}"
        yield hub


def of_folder(repo: str, commit: str, folder: Path) -> Hub:
    """A hub that has the files of a folder."""
    return Hub(repo, commit, {file.name: file.read_bytes() for file in sorted(folder.iterdir())})


def git_sha1(data: bytes) -> str:
    """Git's object id of a file's bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _lfs(name: str, data: bytes) -> dict[str, Any]:
    if not name.endswith(LARGE):
        return {}
    return {"lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}}


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._file(send=False)

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            revision = path.rsplit("/", 1)[-1]
            if path.startswith(f"/api/models/{hub.repo}/") and hub.commit.startswith(revision):
                self._json(hub.tree() if "/tree/" in path else hub.info())
            else:
                self._file(send=True)

        def _json(self, answer: Any) -> None:
            body = json.dumps(answer).encode()
            self._head(200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
            self.wfile.write(body)

        def _file(self, send: bool) -> None:
            name = self.path.partition("?")[0].removeprefix(f"/{hub.repo}/resolve/{hub.commit}/")
            data = hub.files.get(name)
            if data is None:
                self._head(
                    404,
                    {
                        "X-Error-Code": "EntryNotFound" if hub.repo in self.path else "RepoNotFound",
                        "Content-Length": "0",
                    },
                )
                return
            tag = _lfs(name, data)["lfs"]["sha256"] if _lfs(name, data) else git_sha1(data)
            begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
            about = {
                "X-Repo-Commit": hub.commit,
                "ETag": f'"{tag}"',
                "Content-Length": str(len(data) - begin),
                "Accept-Ranges": "bytes",
            }
            self._head(206 if begin else 200, about)
            if send:
                self._send(name, data[begin:])

        def _send(self, name: str, data: bytes) -> None:
            hub.downloads[name] += 1
            time.sleep(hub.delay_s)
            if name in hub.damaged:
                data = data[:-1] + bytes([data[-1] ^ 1])
            if name in hub.cut:
                data, self.close_connection = data[: len(data) // 2], True
            self.wfile.write(data)

        def _head(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing: a test reports what went wrong."""

    return Handler
