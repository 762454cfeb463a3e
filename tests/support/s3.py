"""A real S3 server (s3proxy) on loopback, and a proxy that counts requests and injects faults."""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import unquote, urlsplit

from tests.support.loopback import running
from udfs.storage import s3
from udfs.storage.settings import Params

JAR = "org/gaul/s3proxy/4.1.0/s3proxy-4.1.0-jar-with-dependencies.jar"
SHA256 = "a4d025969aaf796616ed4b1e2491d87d455ce84bb28cb9db086b2e6aaa68b48d"
CENTRAL = "https://repo1.maven.org/maven2"
KEYS = {"AWS_ACCESS_KEY_ID": "reelmill-tests", "AWS_SECRET_ACCESS_KEY": "only-on-loopback"}
START_S = 60.0
# 503 SlowDown; a reset before the request is passed on, or before its answer is; half a body and
# then a reset; half a body with a matching Content-Length; half a 503 and then a reset.
Fault = Literal["slow", "lost", "unanswered", "torn", "short", "torn busy"]
# Only bodies of these are shortened: a JVM would take half a table for a whole one.
MEDIA = (".mp4", ".mkv", ".webp", ".bin")
SLOW = b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>'


@dataclass(frozen=True)
class Server:
    """A running server: its address, and the folder that holds one folder per bucket."""

    url: str
    folder: Path

    def bucket(self, name: str) -> Path:
        """Make a bucket, and return the folder of its objects. A file put there has no ETag."""
        (self.folder / name).mkdir(exist_ok=True)
        return self.folder / name

    def put(self, uri: str, path: Path) -> str:
        """Upload a file, making the bucket if needed; returns the uri."""
        self.bucket(s3.bucket_and_key(uri)[0])
        s3.put(uri, str(path), Params(s3_endpoint=self.url, s3_region="us-east-1"))
        return uri


@contextmanager
def running_server(folder: Path) -> Iterator[Server]:
    """Run s3proxy over a folder for the length of the block; its keys are KEYS."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "s3proxy.endpoint": f"http://127.0.0.1:{port}",
        "s3proxy.authorization": "aws-v2-or-v4",
        "s3proxy.identity": KEYS["AWS_ACCESS_KEY_ID"],
        "s3proxy.credential": KEYS["AWS_SECRET_ACCESS_KEY"],
        "jclouds.provider": "filesystem-nio2",
        "jclouds.filesystem.basedir": str(folder / "buckets"),
    }
    (folder / "buckets").mkdir()
    (folder / "s3proxy.conf").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    command = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    with open(folder / "s3proxy.log", "wb") as log:
        process = subprocess.Popen(
            [*command, "-jar", str(jar()), "--properties", str(folder / "s3proxy.conf")],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _await(port, process)
        yield Server(f"http://127.0.0.1:{port}", folder / "buckets")
    finally:
        process.kill()
        process.wait()


def jar() -> Path:
    """The server's jar, downloaded once into Maven's local repository."""
    path = Path.home() / ".m2" / "repository" / JAR
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(f"{CENTRAL}/{JAR}", timeout=60) as answer:
            data = answer.read()
        assert hashlib.sha256(data).hexdigest() == SHA256, "not the jar that these tests were written for"
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as f:
            f.write(data)
        os.replace(f.name, path)
    return path


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        assert process.poll() is None, "s3proxy ended"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"s3proxy does not answer within {START_S:g} s")


@dataclass
class Proxy:
    """Requests and bytes by key, and faults to inject: `planned` first, then random at `rate`."""

    url: str
    upstream: str
    rate: float = 0.0
    kinds: tuple[Fault, ...] = get_args(Fault)
    planned: list[Fault | None] = field(default_factory=list)  # for the next requests; None: no fault
    answers: list[tuple[int, bytes]] = field(default_factory=list)  # to the next POSTs, which are not passed on
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    requests: Counter[str] = field(default_factory=Counter)
    methods: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)  # bytes of bodies
    faults: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def params(self, **changed: Any) -> Params:
        """Settings of [sources] for this proxy, with short waits between attempts."""
        params = Params(s3_endpoint=self.url, s3_region="us-east-1", retry_s=20.0, timeout_s=5.0)
        return replace(params, **changed)

    def reset(self) -> None:
        """Set all counters to zero."""
        for counter in (self.requests, self.methods, self.sent, self.faults):
            counter.clear()

    def next_fault(self, method: str, key: str) -> Fault | None:
        """Count a request, and return its fault, if any."""
        with self.lock:
            self.requests[key] += 1
            self.methods[method] += 1
            fault = self.planned.pop(0) if self.planned else None
            if fault is None and self.rate and self.chance.random() < self.rate:
                fault = self.chance.choice(self.kinds)
            if fault in ("short", "torn busy") and not key.endswith(MEDIA):
                fault = "torn" if fault == "short" else "slow"
            if fault in ("torn", "short") and method != "GET":
                fault = "unanswered"
            if fault:
                self.faults[fault] += 1
            return fault

    def count_bytes(self, key: str, num_bytes: int) -> None:
        """Count the bytes of a body."""
        with self.lock:
            self.sent[key] += num_bytes


@contextmanager
def running_proxy(server: Server) -> Iterator[Proxy]:
    """Run a proxy of a server for the length of the block."""
    http_server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    with running(http_server) as address:
        http_server.proxy = proxy = Proxy(f"http://{address}", urlsplit(server.url).netloc)  # type: ignore[attr-defined]
        yield proxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise each answer waits for the client's delayed ACK

    def _pass_on(self) -> None:
        proxy: Proxy = self.server.proxy  # type: ignore[attr-defined]
        key = unquote(urlsplit(self.path).path).lstrip("/")
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        fault = proxy.next_fault(self.command, key)
        if fault == "slow":
            return self._answer(503, {"content-type": "application/xml"}, SLOW)
        if fault == "torn busy":  # in chunks, as S3 sends errors
            return self._answer(503, {"transfer-encoding": "chunked"}, b"%x\r\n%b" % (len(SLOW), SLOW), torn=True)
        if self.command == "POST" and proxy.answers:
            status, xml = proxy.answers.pop(0)
            return self._answer(status, {"content-type": "application/xml"}, xml)
        if fault == "lost":
            return self._reset()
        upstream = http.client.HTTPConnection(proxy.upstream, timeout=60)
        try:
            upstream.request(self.command, self.path, body=body, headers=dict(self.headers.items()))
            answer = upstream.getresponse()
            data = answer.read()
        finally:
            upstream.close()
        if fault == "unanswered":
            return self._reset()
        headers = {k: v for k, v in answer.getheaders() if k.lower() not in ("transfer-encoding", "connection")}
        if fault == "short":
            headers = {k: v for k, v in headers.items() if k.lower() != "content-length"}
            data = data[: len(data) // 2]
        torn = fault == "torn"
        proxy.count_bytes(key, len(data) // 2 if torn else len(data))
        self._answer(answer.status, headers, data, torn=torn)

    def _answer(self, status: int, headers: dict[str, str], data: bytes, *, torn: bool = False) -> None:
        self.send_response_only(status)
        if not any(name.lower() == "content-length" for name in headers):
            headers = headers | {"Content-Length": str(len(data))}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            with suppress(ConnectionError):  # the client did not wait
                self.wfile.write(data[: len(data) // 2] if torn else data)
        if torn:
            self._reset()

    def _reset(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the counters are enough."""
