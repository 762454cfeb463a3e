"""Numbers with their nouns, as messages write them."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 row`, `2 rows`; `plural` is for a noun that takes more than an s."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"
