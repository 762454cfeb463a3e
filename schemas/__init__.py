"""The declarations of all tables, one per file, and those of the user's own stages while a run knows them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import ParamSpec, TypeVar

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

P = ParamSpec("P")
R = TypeVar("R")
DECLARED: dict[str, Table] = {
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
_known: ContextVar[Mapping[str, Table]] = ContextVar("known", default=DECLARED)


class _Known(Mapping[str, Table]):
    """The tables that are known where this is asked."""

    def __getitem__(self, name: str) -> Table:
        return _known.get()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_known.get())

    def __len__(self) -> int:
        return len(_known.get())


TABLES = _Known()

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
    """Know these tables of the user's own stages, too, until the block ends; `verdicts` has their scores.

    Other threads do not know them, so that each may ask another output.
    """
    known = {**TABLES, **{table.name: table for table in tables}}
    own = [table for table in known.values() if table.is_custom]
    token = _known.set(known | {"verdicts": custom.with_scores(verdicts.TABLE, own)})
    try:
        yield
    finally:
        _known.reset(token)


def for_threads(work: Callable[P, R]) -> Callable[P, R]:
    """The same work for other threads, which then know the tables that this one knows."""
    here = copy_context()

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return here.copy().run(work, *args, **kwargs)

    return run
