"""The declarations of all tables, one per file, and those of the user's own stages while a run knows them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from schemas import (
    addresses,
    aesthetics,
    alignments,
    assignments,
    captions,
    centroids,
    clips,
    copies,
    copy_keys,
    custom,
    duplicates,
    embeddings,
    enhanced,
    failures,
    labels,
    runs,
    signals,
    spans,
    takedowns,
    verdicts,
    videos,
)
from schemas.table import Table

TABLES: dict[str, Table] = {
    module.TABLE.name: module.TABLE
    for module in (
        videos,
        spans,
        clips,
        signals,
        copies,
        copy_keys,
        aesthetics,
        embeddings,
        centroids,
        assignments,
        duplicates,
        verdicts,
        captions,
        enhanced,
        alignments,
        failures,
        runs,
        takedowns,
        labels,
    )
}

# Tables of secrets, which no query, view or export sees: they lie apart, and no catalog has them.
PRIVATE: dict[str, Table] = {addresses.TABLE.name: addresses.TABLE}


def declaration(name: str) -> Table:
    """The declaration of a table, private ones included."""
    return TABLES[name] if name in TABLES else PRIVATE[name]


def custom_tables() -> list[Table]:
    """The tables of the user's own stages."""
    return [table for table in TABLES.values() if table.is_custom]


@contextmanager
def knowing(tables: Iterable[Table]) -> Iterator[None]:
    """Know these tables of the user's own stages, too, until the block ends; `verdicts` has their scores."""
    before = {**TABLES}
    TABLES.update((table.name, table) for table in tables)
    TABLES["verdicts"] = custom.with_scores(verdicts.TABLE, custom_tables())
    try:
        yield
    finally:
        TABLES.clear()
        TABLES.update(before)
