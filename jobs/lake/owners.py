"""Which stage fills a table, and which rows its rows belong to."""

from __future__ import annotations

from typing import NamedTuple

from schemas import custom_tables


class Owner(NamedTuple):
    """The stage that fills a table, and the table of clips that its rows belong to."""

    stage: str
    upstream: str | None  # None: videos, whose older rows of one uri are superseded


BELONGS = {
    "spans": Owner("split", None),
    "clips": Owner("clip", "spans"),
    "signals": Owner("analyze", "clips"),
    "copies": Owner("copies", "clips"),
    "aesthetics": Owner("aesthetic", "clips"),
    "embeddings": Owner("embed", "clips"),
    "captions": Owner("caption", "clips"),
    "enhanced": Owner("enhance", "captions"),
    "alignments": Owner("align", "captions"),
}


def owners() -> dict[str, Owner]:
    """Those of BELONGS, and those of the user's own stages, whose tables bear their names."""
    return BELONGS | {table.name: Owner(table.name, "clips") for table in custom_tables()}
