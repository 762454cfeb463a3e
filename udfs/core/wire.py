"""Messages between the decoding process and its parent: plain values as JSON, with arrays and bytes beside it.

What the child sends is data, never code: the parent makes nothing of it but values of a closed
list of types, and exceptions of a closed list of classes.
"""

from __future__ import annotations

import builtins
import json
import re
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from udfs.core import errors
from udfs.core.errors import CODES, MediaError, RunError

HEAD = struct.Struct("=cIQ")  # kind of the message, bytes of JSON, bytes of arrays after it
RESULT, ERROR, REQUEST, READY = b"R", b"E", b"Q", b"S"
MAX_JSON = 16 << 20  # bytes; parsed, they take some twenty times as much memory
MAX_NAME = 100  # characters of the name of an exception's class
MAX_NOTE = 100_000  # characters of a traceback
NUMBERS = re.compile(r"[<>|=]?[biufc]\d{1,2}")  # types of arrays; numpy itself parses far more in such a text
TAG = "$"  # the only key of an object that stands for a value that JSON lacks
RUN_ERRORS = {
    name: each for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, RunError)
}
BUILTIN_ERRORS = {
    name: each for name, each in vars(builtins).items() if isinstance(each, type) and issubclass(each, Exception)
}
Wait = Callable[[bool], None]  # until a socket can be read (False) or written to (True); raises TimeoutError


class WireError(Exception):
    """Bytes that are no message; the text says why."""


class Message(NamedTuple):
    """A message: its kind, and the value in it."""

    kind: bytes
    value: Any


def encode(kind: bytes, value: Any) -> list[bytes | memoryview]:
    """A message as its head with JSON, and the buffers that follow.

    Raises:
        TypeError: the value holds something of a type that cannot be sent.
    """
    buffers: list[memoryview] = []
    plain = _plain(value, buffers)
    text = json.dumps([plain, [len(each) for each in buffers]], separators=(",", ":")).encode()
    if len(text) > MAX_JSON:
        raise TypeError(f"an answer of {len(text)} bytes beside its arrays is too long to be sent: {MAX_JSON} at most")
    return [HEAD.pack(kind, len(text), sum(map(len, buffers))) + text, *buffers]


def decode(kind: bytes, text: bytes | memoryview, rest: memoryview) -> Message:
    """The message of its JSON and the bytes that followed; arrays share the memory of these.

    Raises:
        WireError: it is no message.
    """
    try:
        plain, lengths = json.loads(bytes(text))
        if sum(lengths) != len(rest) or any(length < 0 for length in lengths):
            raise WireError("the lengths of its arrays are wrong")
        ends = accumulate(lengths)
        buffers = [rest[end - length : end] for end, length in zip(ends, lengths, strict=True)]
        return Message(kind, _value(plain, buffers))
    except (ValueError, TypeError, KeyError, IndexError, RecursionError, OverflowError, AttributeError) as e:
        raise WireError(f"{type(e).__name__}: {str(e)[:MAX_NAME]}") from e


def send(sock: socket.socket, parts: Sequence[bytes | memoryview], wait: Wait | None = None) -> None:
    """Send a message; `wait` is called where a socket that does not block is full."""
    for part in parts:
        view = memoryview(part)
        while len(view):
            try:
                view = view[sock.send(view) :]
            except BlockingIOError:
                assert wait is not None
                wait(True)


def receive(sock: socket.socket, max_bytes: int, wait: Wait | None = None) -> Message:
    """Receive a message of at most `max_bytes`; `wait` is called wherever no byte is there yet.

    Raises:
        EOFError: the other process has closed its end.
        WireError: what came is no message, or too long.
        TimeoutError: from `wait`.
    """
    kind, num_text, num_rest = HEAD.unpack(_exactly(sock, HEAD.size, wait))
    if num_text > MAX_JSON or num_text + num_rest > max_bytes:
        raise WireError(f"{num_text + num_rest} bytes, which is too long")
    return decode(kind, _exactly(sock, num_text, wait), _exactly(sock, num_rest, wait))


def error_value(error: Exception, notes: Sequence[str]) -> dict[str, Any]:
    """An exception as a value: its class's name, the nearest class that the parent knows, and its arguments."""
    known = next(name for each in type(error).__mro__ if (name := each.__name__) in _known_errors())
    if isinstance(error, MediaError):
        args: list[Any] = [error.code, error.message]
    elif isinstance(error, OSError) and error.errno is not None:
        args = [error.errno, error.strerror, *([str(error.filename)] if error.filename is not None else [])]
    else:
        args = [*error.args] if type(error).__name__ == known else [_text(error)]
        args = args if all(isinstance(arg, str | int | float | None) for arg in args) else [_text(error)]
    return {"name": type(error).__name__, "known": known, "args": args, "notes": [note[:MAX_NOTE] for note in notes]}


def error_of(value: Any) -> Exception:
    """The exception of an `error_value`; of a class that is not known here, one of its name.

    Raises:
        WireError: it is none.
    """
    if not isinstance(value, dict):
        raise WireError("no error")
    try:
        name, known, args, notes = (value[key] for key in ("name", "known", "args", "notes"))
        if not (isinstance(args, list) and isinstance(notes, list)):
            raise WireError("an error without arguments")
        base = _known_errors()[known]
        if base is MediaError and (len(args) != 2 or args[0] not in CODES or not isinstance(args[1], str)):
            raise WireError("an error of no known code")
        if not (isinstance(name, str) and name.isidentifier() and len(name) <= MAX_NAME):
            raise WireError("an error without a name")
        if not all(isinstance(arg, str | int | float | None) for arg in args):
            raise WireError("an error with strange arguments")
        own = next((each for each in _subclasses(RunError) if each.__name__ == name and issubclass(each, base)), None)
        made: type[Exception] = base if name == known else own or type(name, (base,), {})
        try:
            error = made(*args)
        except Exception:  # noqa: BLE001 - a built-in class that takes other arguments
            error = RuntimeError(f"{name}: {args[0] if args else ''}")
        for note in notes:
            error.add_note(note)
    except (TypeError, KeyError, ValueError) as e:
        raise WireError(f"no error: {type(e).__name__}") from e
    return error


def _known_errors() -> dict[str, type[Exception]]:
    return BUILTIN_ERRORS | RUN_ERRORS | {"MediaError": MediaError}


def _subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    """The classes below one that this process has imported."""
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


def _text(error: Exception) -> str:
    try:
        return str(error)
    except Exception as e:  # noqa: BLE001 - the exception's own code may raise anything
        return f"an exception whose text cannot be read: {type(e).__name__}"


def _exactly(sock: socket.socket, num_bytes: int, wait: Wait | None) -> memoryview:
    view = memoryview(bytearray(num_bytes))
    at = 0
    while at < num_bytes:
        try:
            count = sock.recv_into(view[at:])
        except BlockingIOError:
            assert wait is not None
            wait(False)
            continue
        if not count:
            raise EOFError("the other process has closed its end")
        at += count
    return view


def _plain(value: Any, buffers: list[memoryview]) -> Any:
    """A value as JSON has it; what it lacks becomes an object with the key TAG."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is list:
        return [_plain(each, buffers) for each in value]
    if kind is dict:
        if all(type(key) is str for key in value) and TAG not in value:
            return {key: _plain(each, buffers) for key, each in value.items()}
        return {TAG: ["dict", [[_plain(key, buffers), _plain(each, buffers)] for key, each in value.items()]]}
    if kind in (tuple, set, frozenset):
        return {TAG: [kind.__name__, [_plain(each, buffers) for each in value]]}
    if kind in (bytes, bytearray):
        buffers.append(memoryview(value))
        return {TAG: ["bytes", len(buffers) - 1]}
    if isinstance(value, str | int | float):  # a subclass, such as numpy's float64 or an enumeration
        return str.__str__(value) if isinstance(value, str) else int(value) if isinstance(value, int) else float(value)
    return _plain_array(value, buffers)


def _plain_array(value: Any, buffers: list[memoryview]) -> Any:
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    is_tensor = torch is not None and isinstance(value, torch.Tensor)
    array = value.detach().cpu().numpy() if is_tensor else value
    if numpy is None or not isinstance(array, numpy.ndarray | numpy.generic) or array.dtype.kind not in "biufc":
        raise TypeError(f"a value of type {type(value).__qualname__} cannot be sent: make it numbers, text or arrays")
    name = "tensor" if is_tensor else "array" if isinstance(array, numpy.ndarray) else "number"
    array = numpy.ascontiguousarray(array)
    buffers.append(memoryview(array.reshape(-1).view(numpy.uint8)))
    return {TAG: [name, array.dtype.str, [*(value.shape if name != "number" else ())], len(buffers) - 1]}


def _value(plain: Any, buffers: list[memoryview]) -> Any:
    if isinstance(plain, list):
        return [_value(each, buffers) for each in plain]
    if not isinstance(plain, dict):
        return plain
    if TAG not in plain:
        return {key: _value(each, buffers) for key, each in plain.items()}
    name, *parts = plain[TAG]
    if name in ("tuple", "set", "frozenset"):
        return {"tuple": tuple, "set": set, "frozenset": frozenset}[name](_value(each, buffers) for each in parts[0])
    if name == "dict":
        return {_value(key, buffers): _value(each, buffers) for key, each in parts[0]}
    if name == "bytes":
        return bytes(buffers[parts[0]])
    dtype, shape, number = parts
    return _array(name, str(dtype), shape, buffers[number])


def _array(name: str, dtype: str, shape: list[int], data: memoryview) -> Any:
    import numpy as np  # here, because most messages have no array

    if name not in ("array", "tensor", "number") or not NUMBERS.fullmatch(dtype):
        raise WireError("a value of no known type")
    array = np.frombuffer(data, np.dtype(dtype)).reshape(shape)
    if name == "tensor":
        import torch

        return torch.from_numpy(array)
    return array if name == "array" else array[()]
