"""Times of --since and --deadline, by this machine's clock or an offset."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from jobs.config.times import deadline, since

NOW = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock is an hour ahead of UTC in winter."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("36h", NOW - timedelta(hours=36)),
        ("7d", NOW - timedelta(days=7)),
        ("90m", NOW - timedelta(minutes=90)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-03-01", datetime(2026, 2, 28, 23, 0, tzinfo=UTC)),
        ("2026-03-01T12:00:00", datetime(2026, 3, 1, 11, 0, tzinfo=UTC)),
        ("2026-03-01T12:00:00Z", datetime(2026, 3, 1, 12, 0, tzinfo=UTC)),
        ("2026-03-01T12:00:00-05:00", datetime(2026, 3, 1, 17, 0, tzinfo=UTC)),
    ],
)
def test_since(text: str, meant: datetime) -> None:
    assert since(text, NOW) == meant


@pytest.mark.parametrize(
    ("text", "next_one"),
    [
        ("05:30", datetime(2026, 3, 10, 4, 30, tzinfo=UTC)),
        ("05:00", datetime(2026, 3, 11, 4, 0, tzinfo=UTC)),  # this one is now
        ("04:59", datetime(2026, 3, 11, 3, 59, tzinfo=UTC)),
        ("05:30Z", datetime(2026, 3, 10, 5, 30, tzinfo=UTC)),
        ("23:00-08:00", datetime(2026, 3, 10, 7, 0, tzinfo=UTC)),  # there it is still the day before
    ],
)
def test_a_deadline_is_the_next_such_time(text: str, next_one: datetime) -> None:
    assert deadline(text, NOW) == next_one


@pytest.mark.parametrize("text", ["", "yesterday", "7 d", "-3h", "2026-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"Invalid isoformat string|must be in"):
        since(text, NOW)


@pytest.mark.parametrize("text", ["", "25:00", "tonight"])
def test_what_no_clock_shows_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"Invalid isoformat string|must be in"):
        deadline(text, NOW)
