"""Functions of any bytes, one for each kind of text or answer that Reelmill parses itself.

Each raises nothing but for a defect: an exception that no caller expects, or an answer that breaks a rule.
"""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path, PurePosixPath

from jobs.config import sections, settings, times
from jobs.config.errors import CommandError
from udfs.core import wire
from udfs.core.errors import MediaError, StoreError
from udfs.core.signed_addresses import is_signed, unsigned
from udfs.models import checkpoints, hub, registry
from udfs.models.registry import MissingModelError
from udfs.storage import access, http_connection, http_source, manifest, s3, s3_listing, table_text
from udfs.storage.http_target import is_inside, join, parse_target
from udfs.storage.manifest import ManifestError
from udfs.storage.retry import BusyError
from udfs.storage.settings import Params as Sources
from udfs.storage.uris import absolute_uri, existing_uri, is_remote, local_path, redacted

ROOTS = ("https://h/a/", "https://h:8443/", "s3://bucket/in", "/srv/videos")
SECRET = "s3cr3t0fann"
WHOLE_ANSWER_S = 5.0  # a server of this process answers at once


def check(condition: object, what: str) -> None:
    """Raise where a rule is broken.

    Raises:
        AssertionError: it names the rule.
    """
    if not condition:
        raise AssertionError(what)


def json_list(data: bytes) -> None:
    """A manifest that is a JSON list: its entries are those that the json module reads."""
    with suppress(ValueError):
        text = table_text.decode(data)
        manifest._begins_as_list(data[: manifest.HEAD_BYTES])
        try:
            entries = [*manifest._entries(text)]
        except ValueError:
            with suppress(ValueError, RecursionError):
                known = json.loads(text)
                check(
                    not isinstance(known, list) or not all(isinstance(each, str) for each in known),
                    "a list is refused",
                )
        else:
            check(entries == json.loads(text[text.index("[") :]), "other entries than those of the list")


def table(data: bytes) -> None:
    """A manifest that is CSV or JSON lines: encoding, delimiter, depth and column are found or refused in one line."""
    for read in (table_text.encoding, table_text.decode):
        with suppress(ValueError):
            read(data)
    with suppress(ValueError):
        table_text.check(io.BytesIO(data))
        data.decode()  # what is let through is UTF-8
    with suppress(ValueError):
        table_text.check_depth(io.BytesIO(data))
    text = data.decode(errors="replace")
    with suppress(ValueError):
        check(table_text.delimiter(text, "uri") in table_text.DELIMITERS, "no delimiter")
    with suppress(ManifestError):
        names = text.split(",")
        check(manifest.column("m.csv", "uri", names) in names, "a column that is not there")


def manifest_file(data: bytes) -> None:
    """A whole manifest on disk, whatever its name says."""
    suffix = (".json", ".csv", ".jsonl", ".mp4", ".txt")[data[0] % 5] if data else ".json"
    path = _folder() / f"m{suffix}"
    path.write_bytes(data[1:])
    with suppress(ManifestError):
        listing = manifest.examine(str(path), Sources()).listing
        for uri in listing.uris if listing else ():
            check(uri.encode(errors="surrogateescape"), "an entry without a name")


def setting(data: bytes) -> None:
    """A value of --set, or a conf file: settings, or one line."""
    text = data.decode(errors="surrogateescape")
    for one_line in (lambda: settings.load([], [text]), lambda: sections.parse(text)):
        with suppress(CommandError):
            one_line()
    path = _folder() / "conf.toml"
    path.write_bytes(data)
    with suppress(CommandError):
        settings.load([str(path)], [])
    for read in (times.since, times.deadline):
        with suppress(ValueError, OverflowError):
            read(text, datetime.now(UTC))


def address(data: bytes) -> None:
    """An address of a manifest: one normal form, no secret in what is stored, and no request with odd characters."""
    text = data.decode(errors="surrogateescape")
    uri = absolute_uri(text, "/srv/videos/")
    check(absolute_uri(uri) == uri, "a normal form that is none")
    stored = unsigned(uri)
    check(unsigned(stored) == stored, "what is stored is taken for a signed address")
    check(not is_signed(stored), "a signature is left")
    for known in (existing_uri, redacted):
        known(uri)
    check(SECRET not in redacted(f"https://ann:{SECRET}@h/{text}"), "a password is shown")
    if not {"#", "?", "&", "=", "\n"} & {*text}:
        check(SECRET not in unsigned(f"https://h/{text}?X-Amz-Signature={SECRET}"), "a signature is stored")
    with suppress(MediaError):
        path = local_path(uri)
        check(os.path.isabs(path) and ".." not in PurePosixPath(path).parts, "a local path that leads elsewhere")
    with suppress(MediaError):
        (access.check_inside if is_remote(uri) else access.checked_path)(uri, Sources(roots=ROOTS))
    for url in (uri, f"https://h/a/{text}"):
        with suppress(MediaError):
            target = parse_target(url)
            request = target.host + target.path + target.auth.removeprefix("Basic ")
            check(request.isascii() and request.isprintable() and " " not in request, "a request with odd characters")
            if is_inside(target, ROOTS):
                check("/../" not in f"{target.path.partition('?')[0]}/", "a way out of the roots")
    with suppress(MediaError):
        parse_target(join("https://h/a/b.mp4", text))


def http_answer(data: bytes) -> None:
    """What a web server answers: a size with a version, or exactly the bytes that were asked for."""
    uri = f"http://127.0.0.1:{_port()}/v.mp4"
    params = Sources(http_private=True, timeout_s=1, http_total_s=2, max_bytes=1 << 16, http_disk_bytes=1 << 16)
    _Server.answer, began = data, time.monotonic()
    requests: tuple[Callable[[], object], ...] = (
        lambda: check(http_source._stat(uri, params).size >= 0, "a size below 0"),
        lambda: check(len(http_source._fetch(uri, 0, 4, "8-x", params)) == 4, "other bytes than those asked for"),
    )
    for ask in requests:
        with suppress(MediaError, BusyError):
            ask()
    _forget_connection()
    check(time.monotonic() - began < WHOLE_ANSWER_S, "an answer that takes too long")


def s3_answer(data: bytes) -> None:
    """What a store answers: a page of videos, or an object's size and bytes."""
    params = Sources(
        s3_endpoint=f"http://127.0.0.1:{_port()}",
        s3_region="us-east-1",
        s3_anonymous=True,
        timeout_s=1,
        retry_s=0,
        requests_per_s=0,
    )
    _Server.answer, began = data, time.monotonic()

    def pages() -> None:
        for page, _ in zip(s3_listing.videos(s3_listing.Part("bucket", "in/"), params), range(3), strict=False):
            check(all(isinstance(uri, str) for uri in page["uri"].dropna()), "a video without an address")

    for ask in (
        lambda: s3.stat("s3://bucket/in/v.mp4", params),
        lambda: check(len(s3.fetch("s3://bucket/in/v.mp4", 0, 4, "8-x", params)) == 4, "other bytes"),
        pages,
        lambda: s3.folders("s3://bucket/in", params),
    ):
        with suppress(MediaError, StoreError):
            ask()
    check(time.monotonic() - began < 4 * WHOLE_ANSWER_S, "an answer that takes too long")


def child_answer(data: bytes) -> None:
    """What a decoding process sends: a value, an exception of a closed list, or no message; soon, and without code."""
    own, other = socket.socketpair()
    with own, other:
        other.sendall(data[: 1 << 16])
        other.shutdown(socket.SHUT_WR)
        with suppress(EOFError, wire.WireError):
            wire.receive(own, 1 << 20)
    for text, rest in ((data, b""), (data[8:], data[:8])):
        with suppress(wire.WireError):
            message = wire.decode(wire.RESULT, text, memoryview(bytearray(rest)))
            with suppress(wire.WireError):
                check(isinstance(wire.error_of(message.value), Exception), "no exception")


def model_name(data: bytes) -> None:
    """A model's name in settings, and the names of its files on the hub: nothing outside the folder of models."""
    text = data.decode(errors="surrogateescape")
    params, folder = registry.Params(dir="/srv/models"), Path("/srv/models")
    with suppress(ValueError):
        registry.model_name(text)
    with suppress(MissingModelError):
        place = checkpoints.fetched_folder(registry.checkpoint(text), params)
        inside = Path(os.path.normpath(place))
        check(inside == place and len(inside.relative_to(folder).parts) == 2, "a model outside of its folder")
    names = text.split("\n")
    check({*hub.files_to_fetch(names, remote_code=False)} <= {*names}, "a file that the hub does not have")
    check(not [name for name in hub.files_to_fetch(names, remote_code=False) if name.endswith(".py")], "code")


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each
    for each in (
        json_list,
        table,
        manifest_file,
        setting,
        address,
        http_answer,
        s3_answer,
        child_answer,
        model_name,
    )
}


def _message(plain: object, lengths: object = ()) -> bytes:
    text = json.dumps([plain, lengths]).encode()
    return wire.HEAD.pack(wire.RESULT, len(text), 8) + text + bytes(8)


def _array(dtype: str) -> bytes:
    return bytes(8) + json.dumps([{wire.TAG: ["array", dtype, [1], 0]}, [8]]).encode()


LISTING = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n\r\n<ListBucketResult><Contents><Key>in/v.mp4</Key>"
    b"<Size>8</Size><ETag>x</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></Contents></ListBucketResult>"
)
SEEDS: dict[str, tuple[bytes, ...]] = {
    "json_list": (b'["a.mp4", "b.mp4"]', b'\xef\xbb\xbf [ "a" , "\\ud800" ] ', b"[]", b'["a",]', b'["a"] x'),
    "table": (b"uri,title\na.mp4,x\n", b"uri;x\n1;2", b"sep=;\nuri", b'{"uri": "a"}\n' + b"[" * 200, b"1ri,\rtit,x\n"),
    "manifest_file": (b'\0["a.mp4"]', b"\1uri\na.mp4\n", b'\2{"uri": "a"}\n', b"\3", b"\4x", b"\0[1]"),
    "setting": (b"clip.crf=31", b'[spark]\n"spark.master" = "local[2]"', b"7d", b"05:30+01:00", b"custom.x.gate=1"),
    "address": (
        b"https://ann:pw@H:443/a/v.mp4?X-Amz-Signature=1#t",
        b"file:///srv/a%20b.mp4",
        b"s3a://bucket/k",
        b"//h/..%2f..\\v.mp4;x",
        b"concat:a|b",
        "/srv/vidéos/é.mp4".encode(),
        b"s3a.\0\0t/k",
        b"http://h/watch?v=1&token=abc",
    ),
    "http_answer": (
        b'HTTP/1.1 206 OK\r\nContent-Range: bytes 0-3/8\r\nETag: "x"\r\nContent-Length: 4\r\n\r\nabcd',
        b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nETag: x\r\n\r\nabcdefgh",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/x\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nRetry-After: 2\r\n\r\n",
    ),
    "s3_answer": (
        LISTING,
        LISTING.replace(b"Key>", b"Name>"),
        LISTING.replace(b"Contents>", b"CommonPrefixes>"),
        b"HTTP/1.1 403 No\r\n\r\n<Error><Code>x<Error><Code>y</Code></Error></Code></Error>",
        b"HTTP/1.1 206 OK\r\nContent-Length: 4\r\nETag: x\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\nabcd",
        b"HTTP/1.1 403 No\r\nContent-Length: 60\r\n\r\n<Error><Code>AccessDenied</Code><Message>no</Message></Error>",
    ),
    "child_answer": (
        _message([1, "a", None, {"a": 1.5}], [8]),
        _message({"$": ["array", "<f8", [1], 0]}, [8]),
        _message({"name": "KeyError", "known": "KeyError", "args": ["x"], "notes": []}, [8]),
        struct.pack("=cIQ", b"R", 1 << 30, 1 << 60),
        _array("<f8"),
        _array("(1,f8"),
    ),
    "model_name": (
        b"~?./6912",
        b"/" + b"h" * 300 + b"/x",
        b"clip",
        b"org/name@0123456",
        b"../x@0123456",
        b"my_code:load",
        b"model.safetensors\nconfig.json\ncode.py\n../../.ssh/id.json",
    ),
}


class _Server(threading.Thread):
    """A server that answers every request with the same bytes, and closes."""

    answer = b""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self.socket.getsockname()[1]

    def run(self) -> None:
        while True:
            client, _ = self.socket.accept()
            with closing(client), suppress(OSError):
                client.settimeout(2)
                client.recv(1 << 16)
                client.sendall(self.answer)
                client.shutdown(socket.SHUT_WR)
                while client.recv(1 << 16):
                    pass


@cache
def _port() -> int:
    server = _Server()
    server.start()
    return server.port


def _forget_connection() -> None:
    """Begin the next input with a connection of its own."""
    connection: http_connection.Connection | None = getattr(http_connection._thread, "connection", None)
    if connection is not None:
        connection.close()
    http_connection._thread.connection = None


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="reelmill-fuzz-"))
