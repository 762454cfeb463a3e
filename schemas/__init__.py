"""The declarations of all tables, one per file, and those of the user's own stages while a run knows them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from schemas import (
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
