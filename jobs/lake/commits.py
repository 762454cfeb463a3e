"""Commits to Delta tables: made again where another writer's came in between, with their counts and errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from delta.tables import DeltaMergeBuilder
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

T = TypeVar("T")

COMMIT_ATTEMPTS = 5
CONFLICT = re.compile("DELTA_(CONCURRENT|METADATA_CHANGED|PROTOCOL_CHANGED)")  # by another writer's commit


class Committed(NamedTuple):
    """How many rows were changed in one commit."""

    total: int
    updated: int  # rows that were there before


def merged(name: str, merge: DeltaMergeBuilder) -> Committed:
    """Run a merge; how many rows it changed."""
    with naming(name):
        counts = retried(merge.execute).first()
    return Committed(counts["num_affected_rows"], counts["num_updated_rows"])


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Add the name of the table to an error of a write."""
    try:
        yield
    except (PySparkException, Py4JJavaError) as e:
        e.add_note(f"in table {name}")
        raise


def retried(commit: Callable[[], T]) -> T:
    """Commit, again where another writer's commit came in between."""
    for _ in range(COMMIT_ATTEMPTS - 1):
        try:
            return commit()
        except (PySparkException, Py4JJavaError) as e:  # which of them depends on the thread
            if not CONFLICT.search(str(e)):
                raise
    return commit()
