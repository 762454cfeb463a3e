"""The parts of an http(s) address that a request needs, and whether it lies below a root."""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote, unquote, unquote_to_bytes, urljoin, urlsplit

from udfs.core.errors import MediaError

MAX_ESCAPES = 5  # how often a path may be escaped
UNICODE_ESCAPE = re.compile("%u([0-9a-fA-F]{4})")  # of Microsoft's servers
# Dots and slashes in more bytes than UTF-8 allows, which old decoders take.
OVERLONG = {b"\xc0\xae": b".", b"\xe0\x80\xae": b".", b"\xc0\xaf": b"/", b"\xe0\x80\xaf": b"/", b"\xc1\x9c": b"\\"}
IGNORED = re.compile("[\x00-\x20\x7f\u200b-\u200d\u2060\ufeff]")  # what some servers skip in a path


class Target(NamedTuple):
    """The parts of an address that a request needs.

    Error texts show the host and nothing else of it.
    """

    secure: bool
    host: str
    port: int
    path: str  # and query
    auth: str  # value of the header Authorization; empty: no such header

    @property
    def origin(self) -> tuple[bool, str, int]:
        """Where a connection leads, and where a password may be sent."""
        return self.secure, self.host, self.port


def parse_target(url: str) -> Target:
    """Split an address into its parts, with every character escaped that a request must not contain.

    Raises:
        MediaError: UNSUPPORTED if it is not an http(s) address with a host.
    """
    try:
        parts = urlsplit(url)
        secure = {"http": False, "https": True}[parts.scheme]
        host = (parts.hostname or "").encode("ascii" if (parts.hostname or "").isascii() else "idna").decode()
        path, query = _escape(parts.path or "/"), _escape(parts.query)
        port, auth = parts.port or (443 if secure else 80), _auth(parts.username, parts.password)
    except (ValueError, KeyError):
        host = ""
    if not host or not re.fullmatch(r"[\w.:%-]+", host):
        raise MediaError("UNSUPPORTED", "not an http(s) address") from None  # the cause could show the query
    return Target(secure, host, port, f"{path}?{query}" if query else path, auth)


def join(url: str, location: str) -> str:
    """The address to which a redirect of an address leads."""
    try:
        return urljoin(url, location)
    except ValueError:
        raise MediaError("UNSUPPORTED", "a redirect to an address that is not http(s)") from None


def is_inside(at: Target, roots: Iterable[str]) -> bool:
    """Whether an address lies below one of these roots, however a server may read its path; not for a root itself."""
    path = at.path.partition("?")[0]
    if _has_parent_step(path):
        return False
    for root in roots:
        if root.lower().startswith(("http://", "https://")):
            top = parse_target(root)
            if at.origin == top.origin and path.startswith(top.path.partition("?")[0].rstrip("/") + "/"):
                return True
    return False


def _has_parent_step(path: str) -> bool:
    """Whether a server may find `..` in a path: escaped, with a backslash, with parameters or in odd characters."""
    for _ in range(MAX_ESCAPES):
        before, path = path, _unescaped(path)
        if path == before:
            break
    else:
        return True
    steps = re.split(r"[/\\]", IGNORED.sub("", unicodedata.normalize("NFKC", path)))
    return any(step.partition(";")[0] == ".." for step in steps)


def _unescaped(path: str) -> str:
    text = UNICODE_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), path)
    data = unquote_to_bytes(text.encode(errors="replace"))
    for odd, plain in OVERLONG.items():
        data = data.replace(odd, plain)
    return data.decode(errors="replace")


def _escape(text: str) -> str:
    """Escape what a path or query must not contain; escapes that are there stay."""
    return quote(re.sub("%(?![0-9A-Fa-f]{2})", "%25", text), safe="/%:@!$&'()*+,;=~?")


def _auth(user: str | None, password: str | None) -> str:
    if not user:
        return ""
    return "Basic " + base64.b64encode(f"{unquote(user)}:{unquote(password or '')}".encode()).decode()
