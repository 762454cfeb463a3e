"""One GET of an http(s) address: allowed hosts only, few redirects, a deadline for the answer."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import NamedTuple

from udfs.core.errors import MediaError
from udfs.core.heartbeat import beat
from udfs.storage.http_target import Target, is_inside, join, parse_target
from udfs.storage.public_networks import is_public
from udfs.storage.retry import BusyError
from udfs.storage.settings import Params

REDIRECTS = (301, 302, 303, 307, 308)
CHUNK_BYTES = 1 << 18

_thread = threading.local()  # `connection`: that of this thread's last answer


# http.client and not urllib3, requests or httpx: those hide the socket below their pools, but this
# module chooses the IP address, sets a deadline for the whole answer and counts its bytes. Their
# pools, decoders and retries would all be turned off.
class Connection(HTTPConnection):
    """A connection to a host whose IP address is allowed, which another thread can abort."""

    def __init__(self, at: Target, params: Params) -> None:
        super().__init__(at.host, at.port, timeout=params.timeout_s)
        self.default_port = 443 if at.secure else 80  # the header Host leaves out the default port
        self.at, self.params, self.timed_out = at, params, False
        self.raw: socket.socket | None = None

    def connect(self) -> None:
        """Connect, with TLS for https.

        Raises:
            MediaError: DENIED for an IP address that is not allowed, or a certificate that is not
                trusted.
        """
        raw = _open_socket(self.at, self.params)
        self.raw = raw.dup()  # so that `abort` reaches it during the TLS handshake, which takes over the first one
        with ExitStack() as stack:
            stack.callback(raw.close)
            try:
                self.sock = _tls().wrap_socket(raw, server_hostname=self.at.host) if self.at.secure else raw
            except ssl.SSLCertVerificationError as e:
                raise MediaError(
                    "DENIED", f"the certificate of {self.at.host} is not trusted: {e.verify_message}"
                ) from e
            stack.pop_all()

    def abort(self) -> None:
        """Shut the connection down, from another thread; a read that waits then ends."""
        self.timed_out = True
        raw = self.raw
        if raw is not None:
            with suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close what `connect` opened."""
        super().close()
        if self.raw is not None:
            self.raw.close()
            self.raw = None


class Answer(NamedTuple):
    """A response whose headers have arrived."""

    connection: Connection
    response: HTTPResponse

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces, as they arrive.

        Raises:
            BusyError: the body broke off, or the deadline has passed.
        """
        while True:
            try:
                chunk = self.response.read1(CHUNK_BYTES)
            except (OSError, HTTPException, ValueError) as e:  # ValueError: a chunk's length is no number
                raise _busy_error(e, self.connection, answered=True) from e
            beat()
            if self.connection.timed_out:
                raise BusyError("the answer took too long", answered=True)
            if not chunk:
                break
            yield chunk
        if self.response.length == 0:
            # Python before 3.12 leaves the response open, so that its connection could not be
            # reused.
            self.response.close()


@contextmanager
def get(url: str, headers: dict[str, str], params: Params, deadline: float) -> Iterator[Answer]:
    """The answer to a GET, whose body can be read until `deadline` of time.monotonic().

    Every redirect is checked like the first address, and stays below the roots if there are any. A
    password goes to no other host, and https never becomes http.

    Raises:
        MediaError: DENIED for a host that is not allowed or too many redirects, UNSUPPORTED for an
            address of neither http nor https.
        BusyError: no answer, or none in time.
    """
    first = at = parse_target(url)
    for _ in range(params.http_redirects + 1):
        connection = _reused_or_new(at, params)
        response: HTTPResponse | None = None
        try:
            with _abort_at(deadline, connection):
                response = _send(connection, at, headers | ({"Authorization": at.auth} if at.auth else {}))
                if response.status not in REDIRECTS:
                    yield Answer(connection, response)
                    return
                url = join(url, _location(response))
                at = _after_redirect(first, parse_target(url), params)
        finally:
            _release(connection, response)
    raise MediaError("DENIED", f"more than {params.http_redirects} redirects")


def _location(response: HTTPResponse) -> str:
    """Where a redirect leads; servers send bytes beyond ASCII unescaped, which http.client decodes as Latin-1."""
    raw = response.headers.get("Location", "").encode("latin-1")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "".join(chr(byte) if byte < 0x80 else f"%{byte:02X}" for byte in raw)


def _after_redirect(first: Target, at: Target, params: Params) -> Target:
    if first.secure and not at.secure:
        raise MediaError("DENIED", "a redirect from https to http")
    if params.roots and not is_inside(at, params.roots):
        raise MediaError("DENIED", f"a redirect to {at.host} leads outside sources.roots")
    return at if at.auth or at.origin != first.origin else at._replace(auth=first.auth)


def _open_socket(at: Target, params: Params) -> socket.socket:
    """A socket connected to one of the host's IP addresses, which were checked.

    The host's name is not resolved again.
    """
    try:
        addresses = socket.getaddrinfo(at.host, at.port, type=socket.SOCK_STREAM)
    except socket.gaierror as e:
        if e.errno == socket.EAI_NONAME:
            raise MediaError("NOT_FOUND", f"there is no host {at.host}") from e
        raise
    allowed = [info for info in addresses if params.http_private or is_public(str(info[4][0]))]
    if not allowed:
        raise MediaError("DENIED", f"{at.host} has no public address (sources.http_private = true allows it)")
    last_error: OSError | None = None
    for family, kind, protocol, _, address in allowed:
        raw = socket.socket(family, kind, protocol)
        raw.settimeout(params.timeout_s)
        try:
            raw.connect(address)
        except OSError as e:
            raw.close()
            last_error = e
        else:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return raw
    assert last_error is not None
    raise last_error


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _send(connection: Connection, at: Target, headers: dict[str, str]) -> HTTPResponse:
    try:
        connection.request(
            "GET", at.path, headers={"User-Agent": "reelmill", "Accept": "*/*", "Accept-Encoding": "identity"} | headers
        )
        response = connection.getresponse()
    except (OSError, HTTPException, ValueError) as e:
        raise _busy_error(e, connection) from None  # an HTTPException may contain the address
    if connection.timed_out:  # while it connected, when there was no socket to shut down
        raise BusyError("the answer took too long")
    return response


@contextmanager
def _abort_at(deadline: float, connection: Connection) -> Iterator[None]:
    """Abort the connection at the deadline: a server may send single bytes in time for ever."""
    timer = threading.Timer(max(0.0, deadline - time.monotonic()), connection.abort)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _busy_error(error: Exception, connection: Connection, *, answered: bool = False) -> BusyError:
    if connection.timed_out:
        return BusyError("the answer took too long", answered=answered)
    if isinstance(error, TimeoutError):
        return BusyError("no answer in time", answered=answered)
    message = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
    return BusyError(message, answered=answered)


def _reused_or_new(at: Target, params: Params) -> Connection:
    """The connection of this thread's last answer if it leads to the same server, else a new one."""
    connection: Connection | None = getattr(_thread, "connection", None)
    _thread.connection = None
    if connection is not None and (connection.at.origin, connection.params) == (at.origin, params):
        return connection
    if connection is not None:
        connection.close()
    return Connection(at, params)


def _release(connection: Connection, response: HTTPResponse | None) -> None:
    """Keep a connection for the next request if its answer was read to the end, else close it."""
    if response is not None and response.isclosed() and connection.sock is not None and not connection.timed_out:
        _thread.connection = connection
    else:
        connection.close()
