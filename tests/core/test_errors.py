"""Errors: which stop a run and which become a row, and what an error of reading a file means."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path

import pytest

from udfs.core.errors import CODES, PASSING, MediaError, OutputError, RunError, StoreError, read_fault


def test_a_media_error_shows_its_code_before_its_message() -> None:
    assert str(MediaError("CORRUPT", "no frame could be decoded")) == "CORRUPT: no frame could be decoded"


def test_a_media_error_survives_the_pipe_of_the_decoding_process() -> None:
    sent = pickle.loads(pickle.dumps(MediaError("TOO_LARGE", "9 bytes")))
    assert (type(sent), sent.code, sent.message) == (MediaError, "TOO_LARGE", "9 bytes")


@pytest.mark.parametrize("kind", [RunError, StoreError, OutputError])
def test_what_stops_a_run_is_never_taken_for_a_bad_input(kind: type[Exception]) -> None:
    assert issubclass(kind, RunError)
    assert not issubclass(kind, MediaError)
    assert not issubclass(MediaError, RunError)


def test_codes_that_the_next_run_tries_again_are_codes() -> None:
    assert len(set(CODES)) == len(CODES)
    assert set(PASSING) < set(CODES)
    assert "NOT_FOUND" not in PASSING


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOENT, "NOT_FOUND"),
        (errno.EACCES, "NOT_FOUND"),
        (errno.ENAMETOOLONG, "NOT_FOUND"),
        (errno.EIO, "UNREACHABLE"),  # a failing disk
        (errno.ESTALE, "UNREACHABLE"),  # an NFS server that was restarted
        (errno.ETIMEDOUT, "UNREACHABLE"),
        (errno.EHOSTDOWN, "UNREACHABLE"),
    ],
)
def test_a_device_that_fails_is_not_a_file_that_is_missing(number: int, code: str) -> None:
    fault = read_fault(OSError(number, os.strerror(number), "/videos/secret.mp4"))
    assert (fault.code, fault.message) == (code, os.strerror(number))  # the row has the path already


def test_an_error_without_a_text_is_named_by_its_type(tmp_path: Path) -> None:
    assert read_fault(TimeoutError()).message == "TimeoutError"
    with pytest.raises(OSError, match="Is a directory") as error:
        tmp_path.read_bytes()
    assert str(read_fault(error.value)) == "NOT_FOUND: Is a directory"
