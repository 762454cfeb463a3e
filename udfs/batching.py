"""Batches of rows and a function of one row -> batches of its results, with a failure row wherever it raised MediaError."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from udfs import sandbox, source
from udfs.errors import MediaError
from udfs.media import Limits

Row = dict[str, Any]
Work = Callable[[Row], list[Row]]

# Beside a table's own columns a batch carries these; the driver takes them off again (jobs/stage.py).
FAILURE = ("failed_key", "failed_code", "failed_message")
COST = "cpu_s"


@dataclass(frozen=True)
class Env:
    """What a stage's work needs beside its own settings."""

    media_root: str  # <output>/media
    fingerprint: str  # of the stage, part of the names of the files it writes
    limits: Limits = field(default_factory=Limits)
    sources: source.Params = field(default_factory=source.Params)


def each(batches: Iterable[pd.DataFrame], work: Work, *, key: str, columns: list[str], limits: Limits) -> Iterator[pd.DataFrame]:
    """Call `work` in the sandbox for every row, and give its rows in the order of `columns`.

    A MediaError becomes one row that holds nothing but the failure of that input, named by its column `key`.
    """
    for batch in batches:
        done = [result for row in _records(batch) for result in _outcome(row, work, key, limits)]
        yield pd.DataFrame(done, columns=[*columns, *FAILURE, COST])


def _outcome(row: Row, work: Work, key: str, limits: Limits) -> list[Row]:
    timeout_s = limits.timeout_s + limits.timeout_per_s * float(row.get("duration_s") or 0.0)
    started = time.monotonic()
    try:
        results, cpu_s = sandbox.call(measured, work, row, timeout_s=timeout_s, memory_mb=limits.memory_mb)
    except MediaError as e:
        spent = time.monotonic() - started  # the child that could have told its CPU seconds may be gone
        return [dict(zip(FAILURE, (row[key], e.code, e.message), strict=True)) | {COST: spent}]
    return [result | {COST: cpu_s / len(results)} for result in results]


def measured(work: Work, row: Row) -> tuple[list[Row], float]:
    """The rows of one input and the CPU seconds they took."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    rows = work(row)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return rows, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _records(batch: pd.DataFrame) -> list[Row]:
    return [{str(name): value for name, value in record.items()} for record in batch.to_dict("records")]
