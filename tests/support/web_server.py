"""Web servers on loopback whose pages can fail in known ways; they record requests and bytes."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

from tests.support.loopback import running

# A 503; half a body and then a close; a reset; headers or a body sent byte by byte.
Fault = Literal["busy", "cut", "reset", "slow headers", "slow body"]
DRIP_S = 0.1


@dataclass
class Page:
    """A page of a server, and how it answers."""

    data: bytes = b""
    etag: str = '"one"'
    modified: str = ""
    ranges: bool = True
    length: int | None = -1  # Content-Length of the whole; -1: the true one, None: no header, chunked
    redirect: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    endless: bool = False  # a chunked body that repeats for ever
    status_of_all: int = 200  # of an answer that is not a range
    faults: list[Fault] = field(default_factory=list)  # of the next answers, in order


@dataclass
class Site:
    """A running server: its pages, requests, connections and bytes."""

    url: str
    pages: dict[str, Page]
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # path and headers, in order
    connections: int = 0
    sent: int = 0  # bytes of bodies


@contextmanager
def serving(
    pages: dict[str, Page], host: str = "127.0.0.1", certificate: Path | None = None, port: int = 0
) -> Iterator[Site]:
    """Serve the pages on a loopback address for the length of the block.

    With `certificate`, a file of a certificate and its key, the server uses https.
    """
    server = _Server((host, port), _Handler)
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket, scheme = context.wrap_socket(server.socket, server_side=True), "https"
    server.site = Site(f"{scheme}://{host}:{server.server_address[1]}", pages)
    with running(server):
        yield server.site


class _Server(ThreadingHTTPServer):
    site: Site
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that hang up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    wbufsize = 0

    def setup(self) -> None:
        super().setup()
        self.server.site.connections += 1

    def do_GET(self) -> None:
        site = self.server.site
        site.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        page = site.pages.get(self.path.partition("?")[0], Page(status=404))
        fault = page.faults.pop(0) if page.faults else None
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())  # its file objects would keep the connection open
            self.close_connection = True
        elif fault == "slow headers":
            self._drip(b"HTTP/1.1 200 OK\r\n" + b"X-Filler: x\r\n" * 1000)
        elif fault == "busy":
            self._head(503, {"Content-Length": "0"})
        elif page.redirect:
            self._head(302, {"Location": page.redirect, "Content-Length": "0"})
        elif page.status != 200:
            self._head(page.status, {"Content-Length": "0"})
        else:
            self._file(page, fault)

    def _file(self, page: Page, fault: Fault | None) -> None:
        about = {"ETag": page.etag, "Last-Modified": page.modified} | page.headers
        part, status = page.data, page.status_of_all
        if page.ranges and (asked := self.headers.get("Range")):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            if int(first) >= len(page.data):
                self._head(416, about | {"Content-Range": f"bytes */{len(page.data)}", "Content-Length": "0"})
                return
            part, status = page.data[int(first) : int(last) + 1], 206
            about["Content-Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(page.data)}"
        if page.length is None:
            self._head(status, about | {"Transfer-Encoding": "chunked"})
            self._chunks(page, part, fault)
            return
        self._head(
            status, about | {"Content-Length": str(len(part) if page.length == -1 or status == 206 else page.length)}
        )
        self._body(part, fault)

    def _chunks(self, page: Page, data: bytes, fault: Fault | None) -> None:
        while True:
            for start in range(0, len(data), 1 << 16):
                piece = data[start : start + (1 << 16)]
                self._body(b"%x\r\n%s\r\n" % (len(piece), piece), fault)
                if fault:
                    return
            if not page.endless:
                break
        self.wfile.write(b"0\r\n\r\n")

    def _body(self, data: bytes, fault: Fault | None) -> None:
        if fault == "slow body":
            self._drip(data)
        else:
            sent = data[: len(data) // 2] if fault == "cut" else data
            self.wfile.write(sent)
            self.server.site.sent += len(sent)
            self.close_connection = self.close_connection or fault == "cut" or int(self._stated) not in (-1, len(sent))

    def _drip(self, data: bytes) -> None:
        with suppress(OSError):
            for i in range(len(data)):
                self.wfile.write(data[i : i + 1])
                time.sleep(DRIP_S)
        self.close_connection = True

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self._stated = headers.get("Content-Length", "-1")
        self.send_response(status)
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: a test reports what went wrong."""
