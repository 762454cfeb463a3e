"""Read files of web servers: by ranges, or by one download to this host's disk.

No error text contains an address: what follows its `?` may be a signature, and what precedes its
`@` a password.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from email.message import Message
from typing import TypeVar

from udfs.core.errors import MediaError
from udfs.core.signed_addresses import is_signed, unsigned
from udfs.storage import http_cache
from udfs.storage.http_connection import Answer, get
from udfs.storage.http_target import parse_target
from udfs.storage.remote_file import Stat
from udfs.storage.retry import Asked, BusyError, with_retries
from udfs.storage.settings import Params

REFUSED = "the server says status"  # of an answer that may be another with a newer signature
BUSY = (408, 425, 429)  # and 500 or above: errors of the server or of a proxy before it, not of the file
T = TypeVar("T")
RANGE = re.compile(r"bytes (?:(?P<start>\d+)-(?P<last>\d+)|\*)/(?P<size>\d+)")


def stat(uri: str, params: Params) -> Stat:
    """Size and version of the file at an address.

    Where a server does not state the size, the whole file goes to disk. The request is a GET of one
    byte: a signed address often permits GET alone, and an answer to HEAD does not tell whether the
    server has ranges.

    Raises:
        MediaError: NOT_FOUND, DENIED, TOO_LARGE, UNSUPPORTED, or UNREACHABLE after all tries.
    """
    return _with_retries(lambda: _stat(uri, params), uri, params)


def fetch(uri: str, start: int, end: int, version: str, params: Params) -> bytes:
    """The bytes [start, end) of a version.

    Raises:
        MediaError: CHANGED if the file has another version now, and whatever `stat` raises.
    """
    cached = http_cache.read(unsigned(uri), version, start, end)
    if cached is not None:
        return cached
    return _with_retries(lambda: _fetch(uri, start, end, version, params), uri, params)


def _with_retries(attempt: Callable[[], T], uri: str, params: Params) -> T:
    at = parse_target(uri)
    try:
        return with_retries(attempt, at.host, params, Asked(f"{at.host}:{at.port}", unsigned(uri)))
    except MediaError as e:
        if e.message.startswith(REFUSED) and is_signed(uri):  # the next run may bring a newer signature
            raise MediaError("UNREACHABLE", f"{e.message}: its signature or password may have expired") from None
        raise


def _stat(uri: str, params: Params) -> Stat:
    with get(uri, {"Range": "bytes=0-0"}, params, time.monotonic() + params.http_total_s) as answer:
        headers = _checked_headers(answer)
        if answer.response.status == 200:
            return _stated(uri, headers, params) or _download(uri, answer, params)
        for chunk in answer.chunks():  # once read to its end, the connection can be used again
            if len(chunk) > 1:
                break
        size = int(_content_range(headers)["size"])
    return Stat(_checked_size(size, params), _version(headers, size))


def _fetch(uri: str, start: int, end: int, version: str, params: Params) -> bytes:
    with get(uri, {"Range": f"bytes={start}-{end - 1}"}, params, time.monotonic() + params.http_total_s) as answer:
        headers = _checked_headers(answer)
        if answer.response.status != 200:
            return _range(answer, start, end, version)
        stated = _stated(uri, headers, params)
        if stated is not None:
            _check_version(stated.version, version)
        _check_version(_download(uri, answer, params).version, version)
    data = http_cache.read(unsigned(uri), version, start, end)
    if data is None:
        raise BusyError("other downloads have taken its room on disk", answered=True)
    return data


def _range(answer: Answer, start: int, end: int, version: str) -> bytes:
    headers = answer.response.headers
    part = _content_range(headers)
    # Compared by what every answer states, and not by If-Match or If-Range, which do not take weak
    # tags and dates.
    _check_version(_version(headers, int(part["size"])), version)
    if (part["start"], part["last"]) != (str(start), str(end - 1)):
        raise BusyError("another range than was asked for", answered=True)
    return _read_exactly(answer, end - start)


def _stated(uri: str, headers: Message, params: Params) -> Stat | None:
    """Size and version that a server without ranges states, or of its file on disk; None where there is neither."""
    length = headers.get("Content-Length")
    if length is None:
        return http_cache.stat(unsigned(uri), _tag(headers)) if _tag(headers) else None
    return Stat(_checked_size(_number(length), params), _version(headers, _number(length)))


def _download(uri: str, answer: Answer, params: Params) -> Stat:
    headers = answer.response.headers
    length = headers.get("Content-Length")
    size = http_cache.add(
        unsigned(uri), _tag(headers), answer.chunks(), None if length is None else _number(length), params
    )
    return Stat(_checked_size(size, params), _version(headers, size))


def _checked_headers(answer: Answer) -> Message:
    """The headers of an answer about the file.

    Raises:
        MediaError: for a status that is final, or an encoded body.
        BusyError: for a status that may pass.
    """
    status, headers = answer.response.status, answer.response.headers
    if status in BUSY or status >= 500:
        raise BusyError(f"status {status}", _retry_after_s(headers.get("Retry-After")))
    if status in (400, 401, 403, 407, 410):  # 400 and 410: stores say so of an expired signature
        raise MediaError("DENIED" if status in (401, 403, 407) else "NOT_FOUND", f"{REFUSED} {status}")
    if status not in (200, 206, 416):
        raise MediaError("NOT_FOUND", f"status {status}")
    if headers.get("Content-Encoding", "identity").lower() != "identity":  # whose sizes and ranges mean nothing
        raise MediaError("UNSUPPORTED", "the server encodes the body, although the request refuses that")
    return headers


def _content_range(headers: Message) -> re.Match[str]:
    match = RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if match is None:
        raise MediaError("UNSUPPORTED", "the server does not say which part of how many bytes it sends")
    return match


def _read_exactly(answer: Answer, size: int) -> bytes:
    data = bytearray()
    for chunk in answer.chunks():
        data += chunk
        if len(data) > size:
            raise BusyError("a longer answer than was asked for", answered=True)
    if len(data) < size:
        raise BusyError(f"{len(data)} of {size} bytes came", answered=True)
    return bytes(data)


def _version(headers: Message, size: int) -> str:
    return f"{size}-{_tag(headers)}"


def _tag(headers: Message) -> str:
    """What the server changes with the file: the ETag, else the time of change."""
    return str(headers.get("ETag") or headers.get("Last-Modified") or "").strip().strip('"')[:200]


def _check_version(current: str, version: str) -> None:
    if current != version:
        raise MediaError("CHANGED", f"was {version} when ingested, is {current}")


def _checked_size(size: int, params: Params) -> int:
    if size > params.max_bytes:
        raise MediaError("TOO_LARGE", f"{size} bytes, over sources.max_bytes")
    return size


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise MediaError("UNSUPPORTED", "the server states a size that is no number")
    return int(text)


def _retry_after_s(text: str | None) -> float:
    """Seconds of a Retry-After header; 0 for one with a date."""
    return float(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 6 else 0.0
