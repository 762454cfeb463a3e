"""The time in UTC, which never goes back within a run, whatever happens to the machine's clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_latest: tuple[datetime, float] | None = None  # the last answer, and when it was given by a clock that no one sets


def restart() -> None:
    """Begin with what the machine's clock shows, as a run does."""
    global _latest
    _latest = None


def now() -> datetime:
    """The time by the machine's clock; where that was set back, the time that it would show without."""
    global _latest
    shown, steady_s = datetime.fromtimestamp(time.time(), UTC), time.monotonic()
    if _latest is not None:
        shown = max(shown, _latest[0] + timedelta(seconds=steady_s - _latest[1]))
    _latest = shown, steady_s
    return shown


def seconds_since(started: datetime) -> float:
    """How long ago that was."""
    return (now() - started).total_seconds()
