"""Words in messages and settings: numbers with their nouns, names as users spell them, the nearest right name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType

NO_ALIASES: Mapping[str, str] = MappingProxyType({})


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 row`, `2 rows`; `plural` is for a noun that takes more than an s."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def duration(seconds: float | None) -> str:
    """A length of time in the unit in which it is easiest to read; empty if it is unknown."""
    if seconds is None:
        return ""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.{1 if unit > 1 and seconds < 10 * unit else 0}f} {name}"
    return f"{seconds / 86_400:.1f} d"


def spelled(name: str) -> str:
    """A name in the one spelling by which names are compared: lower case, with - in place of _."""
    return name.strip().lower().replace("_", "-")


def known_name(name: str, known: Iterable[str], aliases: Mapping[str, str] = NO_ALIASES) -> str | None:
    """The known name that a user means by a name or an alias in any spelling; None if there is none."""
    by_spelling = {spelled(word): word for word in known}
    return by_spelling.get(spelled(aliases.get(spelled(name), name)))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The right word that is nearest to a wrong one, as the end of a sentence; empty if none is near."""
    close = get_close_matches(word, [*known], n=1)
    return f"; did you mean {close[0]}?" if close else ""


def right_names(name: str, known: Iterable[str]) -> str:
    """What to write in place of a wrong name: the nearest known one, or else all of them."""
    words = [*known]
    close = get_close_matches(spelled(name), words, n=1, cutoff=0.4)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(words)}"
