"""Files that the decoding process asks its parent for: it opens none itself, and connects to nothing."""

from __future__ import annotations

import io
import os
import pickle
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from udfs.core import wire
from udfs.core.heartbeat import beat

if TYPE_CHECKING:  # the decoding process starts in half the time without
    from udfs.storage.settings import Params


class Stat(NamedTuple):
    """What a store states about a file without sending it.

    That is its size in bytes, and a text that changes when the file does.
    """

    size: int
    version: str


_socket: socket.socket | None = None  # to the parent, in the decoding process
_folder = ""  # of this process, the only one that it may write to
_lock = threading.Lock()  # one request at a time


def connect(sock: socket.socket, folder: str) -> None:
    """Make this process ask its parent for files; `folder` is what it may write to."""
    global _socket, _folder
    _socket, _folder = sock, folder


def connected() -> bool:
    """Whether this process is a decoding process, whose files come from its parent."""
    return _socket is not None


def open_file(path: str) -> io.BufferedReader:
    """Open a local file for reading.

    Raises:
        OSError: as `open`; PermissionError if the parent's call did not name the file.
    """
    if path.startswith(f"{_folder}/"):
        return open(path, "rb")
    handle = _ask("open", path)
    file = io.FileIO(handle)
    file.name = path  # FFmpeg looks at the suffix
    return io.BufferedReader(file)


def stat(uri: str, params: Params) -> Stat:
    """Size and version of a remote file, as its store states them; the parent has its own settings."""
    return Stat(*_ask("stat", uri))


def fetch(uri: str, start: int, end: int, version: str, params: Params) -> bytes:
    """The bytes [start, end) of a version of a remote file; the parent has its own settings."""
    data: bytes = _ask("fetch", uri, start, end, version)
    return data


def put(path: str, uri: str) -> None:
    """Let the parent move a finished file or folder of this process to its place in the output."""
    _ask("put", os.path.relpath(path, _folder), uri)


@contextmanager
def own_folder() -> Iterator[str]:
    """A folder for unfinished files, which is deleted when the block ends."""
    with tempfile.TemporaryDirectory(dir=_folder) as folder:
        yield folder


def _ask(name: str, *args: Any) -> Any:
    """The parent's answer to a request; its error is raised."""
    assert _socket is not None
    with _lock:
        wire.send(_socket, wire.encode(wire.REQUEST, (name, *args)))
        data, handles = receive_reply(_socket)
    beat()
    result, error = data if isinstance(data, tuple) else (data, None)
    if error is not None:
        raise error
    return handles[0] if handles else result


def receive_reply(sock: socket.socket) -> tuple[Any, list[int]]:
    """What the parent sends, with the open file that comes along; the parent is trusted."""
    head, handles, _, _ = socket.recv_fds(sock, 9, 1, socket.MSG_WAITALL)
    if len(head) < 9:
        raise EOFError("the parent has ended")
    data = bytearray(int.from_bytes(head[1:], "big"))
    view = memoryview(data)
    while view:
        count = sock.recv_into(view)
        if not count:
            raise EOFError("the parent has ended")
        view = view[count:]
    return (bytes(data) if head[:1] == b"B" else pickle.loads(data)), handles


def send_reply(sock: socket.socket, reply: Any, handle: int | None, wait: wire.Wait) -> None:
    """Send a call, an answer (bytes as they are, all else pickled), and an open file along with it."""
    body = reply if isinstance(reply, bytes) else pickle.dumps(reply)
    head = (b"B" if isinstance(reply, bytes) else b"P") + len(body).to_bytes(8, "big")
    while True:
        try:
            sent = socket.send_fds(sock, [head], [] if handle is None else [handle])
            break
        except BlockingIOError:
            wait(True)
    wire.send(sock, [head[sent:], body], wait)
