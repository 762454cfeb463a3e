"""Numbers, lengths and times as a report writes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup, escape

from udfs.storage import media_store

UNKNOWN = "\N{EN DASH}"
CODE = re.compile("`([^`]*)`")


def count(value: int | None) -> str:
    """A whole number with its thousands set apart."""
    return UNKNOWN if value is None else f"{value:,}"


def counted(number: int, noun: str) -> str:
    """A whole number with its noun."""
    return f"{count(number)} {noun if number == 1 else f'{noun}s'}"


def length(hours: float | None) -> str:
    """Hours of video, in the unit that gives a handy number."""
    if hours is None:
        return UNKNOWN
    seconds = hours * 3600
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if hours < 1 else f"{hours:,.1f} h"


def number(value: float | None) -> str:
    """A number of three significant digits, or more before the point."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def change(share: float | None) -> str:
    """A change in percent with its sign; empty if there is nothing to compare with."""
    return "" if share is None else f"{share:+.0%}"


def moment(milliseconds: int) -> str:
    """A time of Unix in milliseconds, in UTC."""
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def with_code(text: str) -> Markup:
    """A text whose parts in backticks are code."""
    return Markup(CODE.sub(r"<code>\1</code>", str(escape(text))))


def media_path(uri: str | None) -> str:
    """A media file's path below the media folder."""
    return "" if uri is None else media_store.path_in_root(uri)


def place(video: str, start_s: float | None) -> str:
    """A video and the second in it."""
    return video if start_s is None else f"{video}, {start_s:.1f} s"


FILTERS: Mapping[str, Callable[..., Any]] = {
    "count": count,
    "counted": counted,
    "hours": length,
    "number": number,
    "change": change,
    "moment": moment,
    "with_code": with_code,
    "media_path": media_path,
    "place": place,
}
