"""http(s) addresses -> sizes, versions and bytes: by ranges where the server has them, else by one download to this host's disk.

No text that is raised here shows an address: what follows its `?` may be a signature, and what stands before its `@` a password.
"""

from __future__ import annotations

import re
import time
from email.message import Message

from udfs.core.errors import MediaError
from udfs.storage import http_cache
from udfs.storage.http_connection import Answer, answer, target
from udfs.storage.remote_file import Stat
from udfs.storage.retry import BusyError, persist
from udfs.storage.settings import Params

BUSY = (408, 425, 429)  # and 500 or above: errors of the server or of a proxy before it, not of the file
RANGE = re.compile(r"bytes (?:(?P<start>\d+)-(?P<last>\d+)|\*)/(?P<size>\d+)")


def stat(uri: str, params: Params) -> Stat:
    """Size and version of what lies at an address; a server that does not state the size sends all of it, to disk.

    By a GET of one byte: a signed address is often good for GET alone, and an answer to HEAD does not tell who has ranges.

    Raises:
        MediaError: NOT_FOUND, DENIED, TOO_LARGE, UNSUPPORTED, or UNREACHABLE after all tries.
    """
    return persist(lambda: _stat(uri, params), target(uri).host, params)


def fetch(uri: str, start: int, end: int, version: str, params: Params) -> bytes:
    """The bytes [start, end) of a version.

    Raises:
        MediaError: CHANGED if another version lies there now, and what `stat` raises.
    """
    held = http_cache.read(uri, version, start, end)
    return persist(lambda: _range(uri, start, end, version, params), target(uri).host, params) if held is None else held


def whole(uri: str, params: Params, max_bytes: int) -> bytes:
    """All that lies at an address, in memory.

    Raises:
        MediaError: TOO_LARGE over `max_bytes`, and what `stat` raises.
    """
    found = stat(uri, params)
    if found.size > max_bytes:
        raise MediaError("TOO_LARGE", f"{found.size} bytes, over {max_bytes}")
    return fetch(uri, 0, found.size, found.version, params) if found.size else b""


def _stat(uri: str, params: Params) -> Stat:
    with answer(uri, {"Range": "bytes=0-0"}, params, time.monotonic() + params.http_total_s) as got:
        headers = _checked(got)
        if got.response.status == 200:
            return _stated(uri, headers, params) or _download(uri, got, params)
        for piece in got.pieces():  # read to its end, the line is good for another question
            if len(piece) > 1:
                break
        size = int(_sent(headers)["size"])
    return Stat(_bounded(size, params), _version(headers, size))


def _range(uri: str, start: int, end: int, version: str, params: Params) -> bytes:
    with answer(uri, {"Range": f"bytes={start}-{end - 1}"}, params, time.monotonic() + params.http_total_s) as got:
        headers = _checked(got)
        if got.response.status != 200:
            sent = _sent(headers)
            # By what every answer states, and not by If-Match or If-Range, which are not for weak tags and dates.
            _same(_version(headers, int(sent["size"])), version)
            if (sent["start"], sent["last"]) != (str(start), str(end - 1)):
                raise BusyError("another range than was asked for")
            return _exactly(got, end - start)
        found = _stated(uri, headers, params)
        if found is not None:
            _same(found.version, version)
        _same(_download(uri, got, params).version, version)
    data = http_cache.read(uri, version, start, end)
    if data is None:
        raise BusyError("no room on disk for long")
    return data


def _stated(uri: str, headers: Message, params: Params) -> Stat | None:
    """What a server without ranges says of its file; None if it does not say how large it is, and it is not on disk."""
    length = headers.get("Content-Length")
    if length is None:
        return http_cache.stat(uri, _tag(headers)) if _tag(headers) else None
    return Stat(_bounded(_number(length), params), _version(headers, _number(length)))


def _download(uri: str, got: Answer, params: Params) -> Stat:
    headers = got.response.headers
    length = headers.get("Content-Length")
    size = http_cache.keep(uri, _tag(headers), got.pieces(), None if length is None else _number(length), params)
    return Stat(_bounded(size, params), _version(headers, size))


def _checked(got: Answer) -> Message:
    """The headers of an answer that has something to say of the file.

    Raises:
        MediaError: what its status or its coding amounts to.
        BusyError: a status that may pass.
    """
    status, headers = got.response.status, got.response.headers
    if status in BUSY or status >= 500:
        raise BusyError(f"status {status}", _seconds(headers.get("Retry-After")))
    if status in (401, 403, 407):
        raise MediaError("DENIED", f"the server says status {status}")
    if status not in (200, 206, 416):
        raise MediaError("NOT_FOUND", f"status {status}")
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise MediaError("UNSUPPORTED", "the server sends it encoded, though asked not to")  # sizes and ranges mean nothing then
    return headers


def _sent(headers: Message) -> re.Match[str]:
    found = RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if found is None:
        raise MediaError("UNSUPPORTED", "the server does not say what part of how much it sends")
    return found


def _exactly(got: Answer, size: int) -> bytes:
    data = bytearray()
    for piece in got.pieces():
        data += piece
        if len(data) > size:
            raise BusyError("a longer answer than was asked for")
    if len(data) < size:
        raise BusyError(f"{len(data)} of {size} bytes came")
    return bytes(data)


def _version(headers: Message, size: int) -> str:
    return f"{size}-{_tag(headers)}"


def _tag(headers: Message) -> str:
    """What changes when the file does: its ETag, else when it was changed."""
    return str(headers.get("ETag") or headers.get("Last-Modified") or "").strip().strip('"')[:200]


def _same(seen: str, version: str) -> None:
    if seen != version:
        raise MediaError("CHANGED", f"was {version} when ingested, is {seen}")


def _bounded(size: int, params: Params) -> int:
    if size > params.max_bytes:
        raise MediaError("TOO_LARGE", f"{size} bytes, over sources.max_bytes")
    return size


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise MediaError("UNSUPPORTED", "the server states no number for its size")
    return int(text)


def _seconds(text: str | None) -> float:
    """Of a Retry-After in seconds; of one with a date 0."""
    return float(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 6 else 0.0
