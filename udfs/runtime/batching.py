"""Apply a function to every row of batches; an exception becomes the failure row of its input."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import pandas as pd

from udfs.core import bugs
from udfs.core.errors import MediaError
from udfs.core.gpu_device import Task
from udfs.core.limits import Limits
from udfs.models import checkpoints
from udfs.runtime import sandbox
from udfs.storage.settings import Params as Sources

T = TypeVar("T")
Row = dict[str, Any]
Work = Callable[[Row], list[Row]]
Rescue = Callable[[Row, MediaError], Row | None]
Rows = Callable[[Iterable[pd.DataFrame]], Iterator[pd.DataFrame]]


class Counter(Protocol):
    """What can be added to: an accumulator of Spark's."""

    def add(self, term: int) -> None:
        """Count so many more."""


# Beside a table's own columns a batch carries these; the driver takes them off again (jobs/flow/stage.py).
FAILURE = ("failed_key", "failed_code", "failed_message")
COST, GPU_COST = "cpu_s", "gpu_s"
MAX_MESSAGE = 2000  # characters of a failure's message: an exception may quote a whole file
PIECE = 200  # inputs whose rows are handed on together: an Arrow batch of 10,000 may stand for hours of work


@dataclass(frozen=True)
class Env:
    """What a stage's work needs beside its own settings."""

    media_root: str  # <output>/media
    fingerprint: str  # of the stage, part of the names of the files it writes
    limits: Limits = field(default_factory=Limits)
    sources: Sources = field(default_factory=Sources)
    models: checkpoints.Params = field(default_factory=checkpoints.Params)
    task: Task = field(default_factory=Task)  # the one that runs; known on the executor only


@dataclass(frozen=True)
class _Call:
    """The arguments of `each` that apply to a row."""

    work: Work
    key: str
    limits: Limits
    isolated: bool
    parts: Work | None
    rescue: Rescue | None


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

    A MediaError becomes one row that holds nothing but the failure of that input, named by its column `key`; so does any other
    exception, as BUG, unless it concerns the run (`bugs.run_error`) or most videos meet it. Work that opens no file may do
    without the sandbox. `parts` splits a row that stands for several inputs into rows of one input each: if such a row fails,
    its parts are done one by one, so that only the guilty one fails. `rescue` gives a row to try in place of one that failed
    alone, or None.
    """
    call, watch = _Call(work, key, limits, isolated, parts, rescue), bugs.watch(name_of(work))
    for batch in batches:
        for start in range(0, len(batch), PIECE):
            piece = records(batch.iloc[start : start + PIECE])
            done = [result | {"fingerprint": row.get("fingerprint")} for row in piece for result in _outcome(row, call, watch)]
            yield frame(done, columns)


def frame(rows: list[Row], columns: list[str]) -> pd.DataFrame:
    """Results as a batch, a column of None where they lack one."""
    names = [*columns, "fingerprint", *FAILURE, COST, GPU_COST]
    # As objects: a NaN would turn whole numbers into floats, and is no map or list.
    return pd.DataFrame([[_encodable(row.get(name)) for name in names] for row in rows], columns=names, dtype=object)


def _encodable(value: Any) -> Any:
    """A value that Arrow can encode: in text such as a title or a file name, bytes that are no UTF-8 become escapes."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "backslashreplace").decode()
    return value


def counted(batches: Iterable[pd.DataFrame], rows: Rows, done: Counter) -> Iterator[pd.DataFrame]:
    """What `rows` makes of the batches, telling a counter of every input that it took."""

    def told() -> Iterator[pd.DataFrame]:
        for batch in batches:
            yield batch
            done.add(len(batch))

    return rows(told())


def failure(key: str, error: MediaError) -> Row:
    """The row of an input that failed."""
    return dict(zip(FAILURE, (key, error.code, error.message[:MAX_MESSAGE]), strict=True))


def name_of(work: Callable[..., Any]) -> str:
    """The qualified name of a function or of the function within a partial."""
    function = getattr(work, "func", work)
    return f"{function.__module__}.{function.__qualname__}"


def video_of(row: Row, key: str) -> str:
    """The video_id of an input's row; its key if it has none yet."""
    return str(row.get("video_id") or row.get(key))


def display_name(row: Row, key: str) -> str:
    """The uri of an input's file if its row has one; else its key."""
    return str(row.get("uri") or row.get(key))


def _outcome(row: Row, call: _Call, watch: bugs.Watch) -> list[Row]:
    started = time.monotonic()
    video = video_of(row, call.key)
    watch.take(video)
    try:
        if call.isolated:
            results, cpu_s = sandbox.call(measured, call.work, row, **sandbox.bounds(call.limits))
        else:
            results, cpu_s = measured(call.work, row)
    except MediaError as e:
        failed = e
    except Exception as e:  # noqa: BLE001 - the border at which a bug that one input meets becomes its failure
        failed = watch.failure(e, display_name(row, call.key), video)
    else:
        return [result | {COST: cpu_s / len(results)} for result in results]
    spent = time.monotonic() - started  # the child that could have told its CPU seconds may be gone
    retries = call.parts(row) if call.parts else [row]
    if len(retries) == 1:
        substitute = call.rescue(retries[0], failed) if call.rescue else None
        if substitute is None:
            return [failure(retries[0][call.key], failed) | {COST: spent}]
        retries, call = [substitute], replace(call, rescue=None)
    results = [result for part in retries for result in _outcome(part, call, watch)]
    results[0][COST] += spent
    return results


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
