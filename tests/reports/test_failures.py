"""Failures by stage and code, with examples and what to do."""

from __future__ import annotations

from pathlib import Path

from jobs.reports import failures
from jobs.reports.failures import Example
from jobs.reports.selection import Selection
from tests.reports.conftest import asking
from udfs.core.errors import CODES
from udfs.core.failure_codes import ADVICE


def test_the_most_frequent_come_first_with_their_newest_inputs(library: Path) -> None:
    corrupt, timeout = failures.read(asking(library), Selection())
    assert (corrupt.stage, corrupt.code, corrupt.number) == ("ingest", "CORRUPT", 5)
    assert corrupt.examples == [
        Example(f"/videos/broken-{number}.mp4", None, "moov atom not found") for number in (4, 3, 2)
    ]
    assert corrupt.advice == "Get another copy; the message says what the decoder saw."
    assert (timeout.stage, timeout.number, len(timeout.examples)) == ("analyze", 2, 2)


def test_there_is_advice_for_every_code() -> None:
    assert tuple(ADVICE) == CODES
