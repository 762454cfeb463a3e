"""Unexpected exceptions: a failure that says what and where, and none that every input would meet."""

from __future__ import annotations

import errno
import os

import pytest

from udfs.core import bugs
from udfs.core.errors import MediaError, OutputError, RunError
from udfs.core.redaction import without_secrets


def raised(error: Exception) -> Exception:
    """The error with a traceback, as a bug in a stage has one."""
    try:
        raise error
    except type(error) as e:
        return e


def test_a_failure_says_what_was_raised_where_and_by_which_file() -> None:
    failure = bugs.as_failure(raised(KeyError("no such column")), "/videos/a.mp4")
    assert failure.code == "BUG"
    what, _, place = failure.message.partition(" (")
    assert what == "KeyError: 'no such column'"
    assert place.startswith("core/test_bugs.py:")
    assert place.endswith(" in raised), met by /videos/a.mp4")


@pytest.mark.parametrize(
    ("text", "shown"),
    [("", "no message"), ("first\nsecond", "first"), ("x" * 1000, "x" * bugs.MAX_TEXT)],
)
def test_a_failure_shows_the_first_line_of_a_text_and_no_more_than_so_much(text: str, shown: str) -> None:
    assert bugs.as_failure(raised(ValueError(text)), "f").message.startswith(f"ValueError: {shown} (")


def test_the_place_is_that_of_the_decoding_process() -> None:
    error = raised(ValueError("odd"))
    error.add_note("in the decoding process:\nTraceback ...")
    error.add_note(f"{bugs.PLACE_NOTE}video/decode.py:7 in frames < frames/extract.py:9 in one")
    assert bugs.places(error) == ["video/decode.py:7 in frames", "frames/extract.py:9 in one"]


def test_the_place_is_the_innermost_three_frames() -> None:
    def deep(levels: int) -> None:
        if levels == 0:
            raise ValueError
        deep(levels - 1)

    with pytest.raises(ValueError) as error:  # noqa: PT011 - only its place is looked at
        deep(5)
    assert [place.rpartition(" in ")[2] for place in bugs.places(error.value)] == ["deep"] * bugs.FRAMES
    assert bugs.places(ValueError("never raised")) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:s3cret@host/v.mp4?sig=A#t", "https://host/v.mp4"),
        ("'http://host/v.mp4?sig=A', twice http://h/?x", "'http://host/v.mp4', twice http://h/"),
        ("s3://bucket/a@b.mp4 and /a?b.mp4", "s3://bucket/a@b.mp4 and /a?b.mp4"),
    ],
)
def test_addresses_are_shown_without_their_secrets(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_a_bug_says_no_secret_of_an_address(caplog: pytest.LogCaptureFixture) -> None:
    error = KeyError("https://me:secret@host/v.mp4?sig=secret")
    failure = bugs.Watch().failure(error, "http://host/v.mp4?sig=secret", "v")
    for text in (failure.message, caplog.text):
        assert "secret" not in text
        assert "https://host/v.mp4" in text


def test_a_full_disk_concerns_the_run_and_a_missing_file_does_not() -> None:
    full = bugs.run_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/out/a.mp4"))
    assert isinstance(full, OutputError)
    assert str(full) == "No space left on device: /out/a.mp4"
    assert str(bugs.run_error(OSError(errno.EMFILE, "Too many open files"))).endswith("or the temporary directory")
    stops = RunError("no model")
    assert bugs.run_error(stops) is stops
    for error in (FileNotFoundError(errno.ENOENT, "gone"), KeyError("x"), MediaError("CORRUPT", "x")):
        assert bugs.run_error(error) is None


def test_two_bugs_are_counted_apart() -> None:
    watch = bugs.Watch()
    for number in range(3 * bugs.MANY_VIDEOS):
        kind = (KeyError, IndexError, TypeError)[number % 3]
        watch.take(f"v{number}")
        assert watch.failure(raised(kind("odd")), "f", f"v{number}").code == "BUG"


def test_each_kind_of_work_has_its_own_watch() -> None:
    assert bugs.watch("one of test_bugs") is bugs.watch("one of test_bugs")
    assert bugs.watch("one of test_bugs") is not bugs.watch("other of test_bugs")
