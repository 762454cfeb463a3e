"""`reelmill ui` on a free port of loopback, in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import uvicorn

from jobs.reports import server
from jobs.reports.live import Library

ADDRESS = re.compile(r" at (http://[^/]+)/\?token=([\w-]+|\.\.\.)")
TOKEN = "a token of tests"


@dataclass(frozen=True)
class Answered:
    """What a server answered."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        """Leave redirects to the test."""


@dataclass(frozen=True)
class Served:
    """A running server."""

    address: str
    token: str = ""
    session: str = ""  # the cookie of a browser that gave the token

    @property
    def page(self) -> str:
        """The address that a browser opens first."""
        return f"{self.address}/?token={quote(self.token)}"

    def admitted(self) -> Served:
        """This server, as it is asked by a browser that gave the token."""
        cookie = self.get(f"/?token={quote(self.token)}").headers["set-cookie"]
        return replace(self, session=cookie.partition(";")[0])

    def get(self, path: str, **headers: str) -> Answered:
        """Ask for a path."""
        return self._sent(urllib.request.Request(f"{self.address}{path}", headers=self._headers(headers)))

    def post(self, path: str, body: Any, **headers: str) -> Answered:
        """Send JSON to a path."""
        given = {"content-type": "application/json", **self._headers(headers)}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._sent(urllib.request.Request(f"{self.address}{path}", content, given))

    def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        session = {"cookie": self.session} if self.session else {}
        return session | {name.replace("_", "-"): value for name, value in headers.items()}

    def _sent(self, request: urllib.request.Request) -> Answered:
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=60) as answer:
                return Answered(answer.status, answer.read(), {k.lower(): v for k, v in answer.headers.items()})
        except urllib.error.HTTPError as e:
            return Answered(e.code, e.read(), {k.lower(): v for k, v in e.headers.items()})


@contextmanager
def served_here(library: Library) -> Iterator[Served]:
    """A server of a library in this process, whose constants a test may change."""
    config = uvicorn.Config(server.app(library, server.LOOPBACK, TOKEN), port=0, log_level="warning")
    running = uvicorn.Server(config)
    with config.bind_socket() as socket:
        socket.listen()
        thread = threading.Thread(target=running.run, kwargs={"sockets": [socket]})
        thread.start()
        try:
            yield Served(f"http://127.0.0.1:{socket.getsockname()[1]}", TOKEN).admitted()
        finally:
            running.should_exit = True
            thread.join(20)


@contextmanager
def served(output: Path | str, *options: str, **environment: str) -> Iterator[Served]:
    """`reelmill ui` over an output."""
    command = [sys.executable, "-m", "jobs", "ui", "-o", str(output), "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = ADDRESS.search(line)
        assert found, line
        token = environment.get("UI_TOKEN", found[2])
        yield Served(found[1], token).admitted()
    finally:
        process.terminate()
        process.wait(20)
