"""Messages of the decoding process: values and exceptions come back as they were, and nothing else comes."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from udfs.core import wire
from udfs.core.errors import MediaError, OutputError, RunError, StoreError
from udfs.video.encoder_options import EncoderError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
KEYS = st.text() | st.integers() | st.just(wire.TAG)
VALUES = st.recursive(
    SCALARS, lambda each: st.lists(each) | st.tuples(each, each) | st.dictionaries(KEYS, each), max_leaves=20
)


def there(value: Any) -> Any:
    """A value after it was sent."""
    head, *buffers = wire.encode(wire.RESULT, value)
    data = bytes(head) + b"".join(buffers)
    _, num_text, num_rest = wire.HEAD.unpack(data[: wire.HEAD.size])
    at = wire.HEAD.size + num_text
    assert num_rest == len(data) - at
    return wire.decode(wire.RESULT, data[wire.HEAD.size : at], memoryview(bytearray(data[at:]))).value


@given(VALUES)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    assert there(value) == value


def test_text_that_is_no_utf8_comes_back() -> None:
    assert there({"a\udcff": ("\udc80", float("inf"), {1, 2})}) == {"a\udcff": ("\udc80", float("inf"), {1, 2})}


@pytest.mark.parametrize("dtype", ["u1", "<i8", "<f4", "<f8", "?", "<c8"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3, 4)])
def test_arrays_keep_type_and_shape(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.ones(shape, dtype)
    [came] = there([array])
    assert (came.dtype, came.shape) == (array.dtype, shape)
    assert (came == array).all()


def test_arrays_that_are_not_contiguous_and_tensors_come_back() -> None:
    assert (there(np.arange(12).reshape(3, 4).T) == np.arange(12).reshape(3, 4).T).all()
    assert torch.equal(there(torch.arange(6).reshape(2, 3)), torch.arange(6).reshape(2, 3))
    assert there(np.float32(0.5)).dtype == np.float32


@pytest.mark.parametrize("value", [Decimal(1), object(), np.array(["a"]), np.array([None]), len, Exception("x")])
def test_other_types_are_not_sent(value: object) -> None:
    with pytest.raises(TypeError, match="cannot be sent: make it numbers, text or arrays"):
        wire.encode(wire.RESULT, [value])


@pytest.mark.parametrize(
    "plain",
    [
        {wire.TAG: ["object", 1]},
        {wire.TAG: "tuple"},
        {wire.TAG: ["array", "O", [1], 0]},
        {wire.TAG: ["array", "<f8", [2], 0]},
        {wire.TAG: ["array", "<f8", [1], 7]},
        {wire.TAG: ["array", "V8", [1], 0]},
        {wire.TAG: ["array", "(1,f8", [1], 0]},
        {wire.TAG: ["array", "f8,f8", [1], 0]},
        {wire.TAG: ["set", [[1]]]},
        {wire.TAG: []},
    ],
)
def test_what_is_no_value_is_refused(plain: object) -> None:
    with pytest.raises(wire.WireError):
        wire.decode(wire.RESULT, json.dumps([plain, [8]]).encode(), memoryview(bytes(8)))


def test_lengths_must_add_up() -> None:
    for lengths in ([7], [9], [-8, 16], [], ["8"], None):
        with pytest.raises(wire.WireError):
            wire.decode(wire.RESULT, json.dumps([1, lengths]).encode(), memoryview(bytes(8)))


def test_a_message_of_many_arrays_is_read_in_seconds() -> None:
    text, begun = json.dumps([1, [0] * 100_000]).encode(), time.monotonic()
    assert wire.decode(wire.RESULT, text, memoryview(b"")).value == 1
    assert time.monotonic() - begun < 10


class Odd(ValueError):
    """An exception of a class that the other process does not know."""


@pytest.mark.parametrize(
    "error",
    [
        MediaError("CORRUPT", "no frame"),
        StoreError("no bucket"),
        OutputError("full"),
        KeyError("key"),
        FileNotFoundError(2, "No such file", "/a.mp4"),
        MemoryError(),
        Odd("odd"),
    ],
)
def test_exceptions_keep_class_name_and_text(error: Exception) -> None:
    came = wire.error_of(there(wire.error_value(error, ["a note"])))
    assert (type(came).__name__, str(came), came.__notes__) == (type(error).__name__, str(error), ["a note"])
    for known in (MediaError, RunError, OSError, ValueError, MemoryError):
        assert isinstance(came, known) == isinstance(error, known)


def test_an_error_of_the_run_is_of_the_class_that_is_caught() -> None:
    came = wire.error_of(there(wire.error_value(EncoderError("no encoder"), [])))
    assert (type(came), str(came)) == (EncoderError, "no encoder")


@pytest.mark.parametrize(
    "change",
    [
        *(
            {"known": "SystemExit"},
            {"known": "Popen"},
            {"name": "a b"},
            {"name": "x" * 101},
            {"args": [["CORRUPT"], "x"]},
        ),
        *({"known": "MediaError", "args": ["ODD", "x"]}, {"args": None}, {"notes": [1]}),
        *({"args": np.ones(2)}, {"notes": "ab"}, {"known": ["MediaError"]}),
    ],
)
def test_an_exception_that_is_none_is_refused(change: dict[str, object]) -> None:
    value = wire.error_value(MediaError("CORRUPT", "no frame"), []) | change
    with pytest.raises(wire.WireError):
        wire.error_of(value)


@pytest.mark.parametrize("value", [np.ones(4), None, 1, "name", ["name"], (1, 2)])
def test_another_value_is_no_exception(value: object) -> None:
    with pytest.raises(wire.WireError, match="no error"):
        wire.error_of(value)


def test_an_answer_of_too_much_text_is_an_error_where_it_is_made() -> None:
    with pytest.raises(TypeError, match="too long to be sent"):
        wire.encode(wire.RESULT, "x" * (wire.MAX_JSON + 1))


def test_a_long_message_goes_through_a_socket_and_a_longer_one_is_refused() -> None:
    array = np.arange(1 << 20)
    own, other = socket.socketpair()
    with own, other, ThreadPoolExecutor(1) as thread:
        sent = thread.submit(wire.send, other, wire.encode(wire.RESULT, array))
        assert (wire.receive(own, 1 << 24).value == array).all()
        sent.result()
        sent = thread.submit(wire.send, other, wire.encode(wire.RESULT, array))
        with pytest.raises(wire.WireError, match="too long"):
            wire.receive(own, 1 << 20)
        own.close()
        assert isinstance(sent.exception(), BrokenPipeError)
