"""Batches of rows and a function of one row -> batches of its results, with a failure row wherever it raised MediaError."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import pandas as pd

from udfs import checkpoints, sandbox, source
from udfs.device import Task
from udfs.errors import MediaError
from udfs.media import Limits

T = TypeVar("T")
Row = dict[str, Any]
Work = Callable[[Row], list[Row]]
Rescue = Callable[[Row, MediaError], Row | None]
Rows = Callable[[Iterable[pd.DataFrame]], Iterator[pd.DataFrame]]


class Counter(Protocol):
    """What can be added to: an accumulator of Spark's."""

    def add(self, term: int) -> None:
        """Count so many more."""


# Beside a table's own columns a batch carries these; the driver takes them off again (jobs/stage.py).
FAILURE = ("failed_key", "failed_code", "failed_message")
COST, GPU_COST = "cpu_s", "gpu_s"
PIECE = 200  # inputs whose rows are handed on together: an Arrow batch of 10,000 may stand for hours of work


@dataclass(frozen=True)
class Env:
    """What a stage's work needs beside its own settings."""

    media_root: str  # <output>/media
    fingerprint: str  # of the stage, part of the names of the files it writes
    limits: Limits = field(default_factory=Limits)
    sources: source.Params = field(default_factory=source.Params)
    models: checkpoints.Params = field(default_factory=checkpoints.Params)
    task: Task = field(default_factory=Task)  # the one that runs; known on the executor only


def each(
    batches: Iterable[pd.DataFrame],
    work: Work,
    *,
    key: str,
    columns: list[str],
    limits: Limits,
    isolated: bool = True,
    parts: Work | None = None,
    rescue: Rescue | None = None,
) -> Iterator[pd.DataFrame]:
    """Call `work` for every row, in the sandbox if `isolated`, and give its rows in the order of `columns`, with its fingerprint.

    A MediaError becomes one row that holds nothing but the failure of that input, named by its column `key`. Work that opens
    no file may do without the sandbox. `parts` splits a row that stands for several inputs into rows of one input each: if
    such a row fails, its parts are done one by one, so that only the guilty one fails. `rescue` gives what to try in place of
    a row that failed alone, if there is something.
    """
    for batch in batches:
        for start in range(0, len(batch), PIECE):
            piece = records(batch.iloc[start : start + PIECE])
            done = [
                result | {"fingerprint": row.get("fingerprint")}
                for row in piece
                for result in _outcome(row, work, key, limits, isolated, parts, rescue)
            ]
            yield frame(done, columns)


def frame(rows: list[Row], columns: list[str]) -> pd.DataFrame:
    """Results as a batch, a column of None where they lack one."""
    names = [*columns, "fingerprint", *FAILURE, COST, GPU_COST]
    # As objects: a NaN would turn whole numbers into floats, and is no map or list.
    return pd.DataFrame([[row.get(name) for name in names] for row in rows], columns=names, dtype=object)


def counted(batches: Iterable[pd.DataFrame], rows: Rows, done: Counter) -> Iterator[pd.DataFrame]:
    """What `rows` makes of the batches, telling a counter of every input that it took."""

    def told() -> Iterator[pd.DataFrame]:
        for batch in batches:
            yield batch
            done.add(len(batch))

    return rows(told())


def failure(key: str, error: MediaError) -> Row:
    """The row of an input that failed."""
    return dict(zip(FAILURE, (key, error.code, error.message), strict=True))


def _outcome(
    row: Row, work: Work, key: str, limits: Limits, isolated: bool, parts: Work | None, rescue: Rescue | None
) -> list[Row]:
    timeout_s = timeout(row, limits)
    started = time.monotonic()
    try:
        if isolated:
            results, cpu_s = sandbox.call(measured, work, row, timeout_s=timeout_s, memory_mb=limits.memory_mb)
        else:
            results, cpu_s = measured(work, row)
    except MediaError as e:
        spent = time.monotonic() - started  # the child that could have told its CPU seconds may be gone
        split = parts(row) if parts else [row]
        again = split
        if len(split) == 1:
            spare = rescue(split[0], e) if rescue else None
            if spare is None:
                return [failure(split[0][key], e) | {COST: spent}]
            again, rescue = [spare], None
        results = [result for part in again for result in _outcome(part, work, key, limits, isolated, parts, rescue)]
        results[0][COST] += spent
        return results
    return [result | {COST: cpu_s / len(results)} for result in results]


def timeout(row: Row, limits: Limits) -> float:
    """Seconds that an input may take, by its length."""
    return limits.timeout_s + limits.timeout_per_s * float(row.get("duration_s") or 0.0)


def measured(work: Callable[..., T], *args: Any) -> tuple[T, float]:
    """What a call returns, and the CPU seconds it took."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    result = work(*args)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return result, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def records(batch: pd.DataFrame) -> list[Row]:
    """The rows of a batch, NULL as None."""
    return [{str(name): _known(value) for name, value in record.items()} for record in batch.to_dict("records")]


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value  # pandas' NULL of a number
