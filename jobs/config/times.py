"""The times that --since and --deadline mean, by this machine's clock if they have no offset."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta

AGO = re.compile(r"(\d+)([mhdw])")
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def since(text: str, now: datetime) -> datetime:
    """The moment that a date, an ISO time, or a length of time before now (90m, 36h, 7d, 2w) means.

    Raises:
        ValueError: it is none of these.
    """
    if ago := AGO.fullmatch(text):
        return now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    return datetime.fromisoformat(text).astimezone()


def deadline(text: str, now: datetime) -> datetime:
    """The next time that a clock shows 05:30, or 05:30+01:00 elsewhere.

    Raises:
        ValueError: no clock shows that.
    """
    at = time.fromisoformat(text)
    today = now.astimezone(at.tzinfo).date()
    moments = (datetime.combine(today + timedelta(days=days), at).astimezone() for days in (0, 1))
    return next(moment for moment in moments if moment > now)
