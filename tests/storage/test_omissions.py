"""What an ingest leaves out: by which names, and how the summary counts it."""

from __future__ import annotations

import pytest

from udfs.storage import omissions


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("film.mp4", None),
        ("trash.mp4", None),
        ("Recycler of plastics", None),
        (".film.mp4", "hidden"),
        ("._film.mp4", "hidden"),  # a resource fork of macOS on another file system
        (".git", "hidden"),
        (".Trash-1000", "trash"),
        (".trashes", "trash"),
        ("$RECYCLE.BIN", "trash"),
        ("$Recycle.Bin", "trash"),
        ("#recycle", "trash"),
        ("@eaDir", "trash"),
        ("__MACOSX", "trash"),
        ("System Volume Information", "trash"),
        ("lost+found", "trash"),
    ],
)
def test_what_is_left_out_by_its_name(name: str, reason: str | None) -> None:
    assert omissions.reason(name) == reason


@pytest.mark.parametrize(
    ("taken", "left_out", "summary"),
    [
        (0, {}, "0 files found, 0 left out"),
        (1, {}, "1 file found, 0 left out"),
        (3, {"duplicate": 1, "hidden": 1}, "3 files found, 2 left out (1 hidden, 1 duplicate row)"),
        (2, {"duplicate": 2, "blank": 1}, "2 files found, 3 left out (2 duplicate rows, 1 blank row)"),
        (1, {"unreadable": 1}, "1 file found, 1 left out (1 folder unreadable)"),
        (9, {"unreadable": 2, "link": 0}, "9 files found, 2 left out (2 folders unreadable)"),
    ],
)
def test_a_summary_counts_by_reason_in_one_and_many(taken: int, left_out: dict[str, int], summary: str) -> None:
    assert omissions.summary(taken, left_out) == summary


def test_every_reason_has_its_words() -> None:
    reasons = {value for name, value in vars(omissions).items() if name.isupper() and isinstance(value, str)}
    assert reasons == set(omissions.WORDS)
    counted = omissions.summary(0, dict.fromkeys(omissions.WORDS, 2))
    assert counted.startswith("0 files found, 20 left out (2 not a video by their suffix, ")
    assert counted.count(", 2 ") == len(omissions.WORDS) - 1
