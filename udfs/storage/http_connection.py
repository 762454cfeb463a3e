"""An http(s) address -> one answer of its server: from a host that may be asked, after few redirects, in bounded time."""

from __future__ import annotations

import base64
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit

from udfs.core.errors import MediaError
from udfs.core.heartbeat import beat
from udfs.storage.retry import BusyError
from udfs.storage.settings import Params

REDIRECTS = (301, 302, 303, 307, 308)
PIECE_BYTES = 1 << 18
UNICAST = ipaddress.IPv6Network("2000::/3")
SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")  # names an IPv4 address, which anyone may choose
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # how a network without IPv4 reaches it

_mine = threading.local()  # the line that this thread's last answer came over


class Target(NamedTuple):
    """What an address asks of whom; no more of it than this is ever shown."""

    secure: bool
    host: str
    port: int
    path: str  # and query
    auth: str  # a header's value; empty: none

    @property
    def origin(self) -> tuple[bool, str, int]:
        """What a connection is good for, and a password."""
        return self.secure, self.host, self.port


# http.client and not urllib3, requests or httpx: the address that is connected to, a deadline over all of an answer and the
# count of its bytes lie below their pools, and what they bring beside, pools, codings and retries of their own, would be off.
class Line(HTTPConnection):
    """A connection to an address that may be asked."""

    def __init__(self, at: Target, params: Params) -> None:
        super().__init__(at.host, at.port, timeout=params.timeout_s)
        self.default_port = 443 if at.secure else 80  # which the header Host leaves out
        self.at, self.params, self.late = at, params, False
        self.wire: socket.socket | None = None

    def connect(self) -> None:
        """Connect, and by https shake hands.

        Raises:
            MediaError: DENIED for an address that may not be asked, or a certificate that is not trusted.
        """
        wire = _dial(self.at, self.params)
        self.wire = wire.dup()  # a TLS socket takes the first one over while it shakes hands
        with ExitStack() as stack:
            stack.callback(wire.close)
            try:
                self.sock = _tls().wrap_socket(wire, server_hostname=self.at.host) if self.at.secure else wire
            except ssl.SSLCertVerificationError as e:
                raise MediaError("DENIED", f"the certificate of {self.at.host} is not trusted: {e.verify_message}") from e
            stack.pop_all()

    def hang_up(self) -> None:
        """End what is under way, from another thread: reading then meets its end."""
        self.late = True
        wire = self.wire
        if wire is not None:
            with suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close what `connect` opened."""
        super().close()
        if self.wire is not None:
            self.wire.close()
            self.wire = None


class Answer(NamedTuple):
    """A response whose headers have come."""

    line: Line
    response: HTTPResponse

    def pieces(self) -> Iterator[bytes]:
        """Its body as it comes.

        Raises:
            BusyError: it broke off, or time is up.
        """
        while True:
            try:
                piece = self.response.read1(PIECE_BYTES)
            except (OSError, HTTPException, ValueError) as e:  # ValueError: of a chunk's length
                raise _lost(e, self.line) from e
            beat()
            if self.line.late:
                raise BusyError("the answer took too long")
            if not piece:
                break
            yield piece
        if self.response.length == 0:
            self.response.close()  # Python before 3.12 leaves it open, and the line with it


@contextmanager
def answer(url: str, headers: dict[str, str], params: Params, deadline: float) -> Iterator[Answer]:
    """The answer to a GET, its body yet to be read, until `deadline` of time.monotonic().

    Every redirect is looked at like the first address; a password goes to no other host, and what began with https stays so.

    Raises:
        MediaError: DENIED for an address that may not be asked or too many redirects, UNSUPPORTED for no address at all.
        BusyError: no answer, or none in time.
    """
    first = at = target(url)
    for _ in range(params.http_redirects + 1):
        line = _line(at, params)
        response: HTTPResponse | None = None
        try:
            with _until(deadline, line):
                response = _asked(line, at, headers | ({"Authorization": at.auth} if at.auth else {}))
                if response.status not in REDIRECTS:
                    yield Answer(line, response)
                    return
                url = _joined(url, response.headers.get("Location", ""))
                at = _redirected(first, target(url))
        finally:
            _keep(line, response)
    raise MediaError("DENIED", f"more than {params.http_redirects} redirects")


def target(url: str) -> Target:
    """An address in its parts, with everything escaped that may not stand in a request.

    Raises:
        MediaError: UNSUPPORTED if it names no host by http or https.
    """
    try:
        parts = urlsplit(url)
        secure = {"http": False, "https": True}[parts.scheme]
        host = (parts.hostname or "").encode("ascii" if (parts.hostname or "").isascii() else "idna").decode()
        path, query = _escaped(parts.path or "/"), _escaped(parts.query)
        port, auth = parts.port or (443 if secure else 80), _auth(parts.username, parts.password)
    except (ValueError, KeyError):
        host = ""
    if not host or not re.fullmatch(r"[\w.:%-]+", host):
        raise MediaError("UNSUPPORTED", "not an address of http or https") from None  # whose text could show its query
    return Target(secure, host, port, f"{path}?{query}" if query else path, auth)


def public(address: str) -> bool:
    """Whether an IP address is one of the open internet: not private, loopback, link-local, multicast or reserved."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in NAT64 else None)
        if inner is None:
            return ip.is_global and ip in UNICAST and ip not in SIX_TO_FOUR
        ip = inner
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)


def _escaped(text: str) -> str:
    """Escapes that are there stay; whatever else may not stand in a path or query becomes one."""
    return quote(re.sub("%(?![0-9A-Fa-f]{2})", "%25", text), safe="/%:@!$&'()*+,;=~?")


def _auth(user: str | None, password: str | None) -> str:
    if not user:
        return ""
    return "Basic " + base64.b64encode(f"{unquote(user)}:{unquote(password or '')}".encode()).decode()


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise MediaError("UNSUPPORTED", "a redirect to no address of http or https") from None


def _redirected(first: Target, at: Target) -> Target:
    if first.secure and not at.secure:
        raise MediaError("DENIED", "a redirect from https to http")
    return at if at.auth or at.origin != first.origin else at._replace(auth=first.auth)


def _dial(at: Target, params: Params) -> socket.socket:
    """A socket connected to one of the host's addresses: the ones looked at are the ones connected to."""
    try:
        found = socket.getaddrinfo(at.host, at.port, type=socket.SOCK_STREAM)
    except socket.gaierror as e:
        if e.errno == socket.EAI_NONAME:
            raise MediaError("NOT_FOUND", f"no host is called {at.host}") from e
        raise
    allowed = [one for one in found if params.http_private or public(str(one[4][0]))]
    if not allowed:
        raise MediaError("DENIED", f"{at.host} is no public address (sources.http_private allows it)")
    trouble: OSError | None = None
    for family, kind, protocol, _, address in allowed:
        wire = socket.socket(family, kind, protocol)
        wire.settimeout(params.timeout_s)
        try:
            wire.connect(address)
        except OSError as e:
            wire.close()
            trouble = e
        else:
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return wire
    assert trouble is not None
    raise trouble


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _asked(line: Line, at: Target, headers: dict[str, str]) -> HTTPResponse:
    try:
        line.request("GET", at.path, headers={"User-Agent": "reelmill", "Accept": "*/*", "Accept-Encoding": "identity"} | headers)
        response = line.getresponse()
    except (OSError, HTTPException, ValueError) as e:
        raise _lost(e, line) from None  # an HTTPException may hold the address
    if line.late:  # while it was being connected, when nothing could be hung up
        raise BusyError("the answer took too long")
    return response


@contextmanager
def _until(deadline: float, line: Line) -> Iterator[None]:
    """Hang up at the deadline: each byte may come in time and all of them never end."""
    timer = threading.Timer(max(0.0, deadline - time.monotonic()), line.hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _lost(error: Exception, line: Line) -> BusyError:
    if line.late:
        return BusyError("the answer took too long")
    if isinstance(error, TimeoutError):
        return BusyError("no answer in time")
    return BusyError((error.strerror if isinstance(error, OSError) else None) or type(error).__name__)


def _line(at: Target, params: Params) -> Line:
    """The line of the last answer, if it leads there and its answer was read to the end, else a new one."""
    line: Line | None = getattr(_mine, "line", None)
    _mine.line = None
    if line is not None and (line.at.origin, line.params) == (at.origin, params):
        return line
    if line is not None:
        line.close()
    return Line(at, params)


def _keep(line: Line, response: HTTPResponse | None) -> None:
    """Keep a line for the next question; one whose answer was not read to its end is closed."""
    if response is not None and response.isclosed() and line.sock is not None and not line.late:
        _mine.line = line
    else:
        line.close()
