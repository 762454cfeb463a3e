"""Apply a function to every row of batches; an exception becomes the failure row of its input."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from udfs.core import bugs
from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.runtime import sandbox
from udfs.runtime.context import COST, FAILURE, GPU_COST, Counter, Row
from udfs.runtime.sandbox import NOTHING, Needs

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
Work = Callable[[Row], list[Row]]
Rescue = Callable[[Row, MediaError], Row | None]
Rows = Callable[["Iterable[pd.DataFrame]"], "Iterator[pd.DataFrame]"]

MAX_MESSAGE = 2000  # characters of a failure's message: an exception may quote a whole file
PIECE = 200  # inputs per batch of results: an Arrow batch of 10,000 inputs may take hours


@dataclass(frozen=True)
class _Call:
    """The arguments of `each` that apply to a row."""

    work: Work
    key: str
    limits: Limits
    isolated: bool
    needs: Needs
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
    needs: Needs = NOTHING,
    parts: Work | None = None,
    rescue: Rescue | None = None,
) -> Iterator[pd.DataFrame]:
    """Call `work` for every row; yield its rows with these columns and the input's fingerprint.

    If `isolated`, the calls run in the sandbox; `needs` says what its jail must let through.

    A MediaError becomes one row that holds nothing but the failure of that input, named by its
    column `key`. So does any other exception, as BUG, unless it concerns the run (`bugs.run_error`)
    or most videos raise it. Work that opens no file may do without the sandbox.

    `parts` splits a row that stands for several inputs into rows of one input each: if such a row
    fails, its parts are done one by one, so that only the faulty one fails. `rescue` returns a row
    to try in place of a single input that failed, or None. A BUG of several inputs that none of
    them meets alone stays in the `failed_message` of the first one's result, without a key.
    """
    call, watch = _Call(work, key, limits, isolated, needs, parts, rescue), bugs.watch(qualified_name(work))
    for batch in batches:
        for start in range(0, len(batch), PIECE):
            inputs = records(batch.iloc[start : start + PIECE])
            results = [
                result | {"fingerprint": row.get("fingerprint")}
                for row in inputs
                for result in _outcome(row, call, watch)
            ]
            yield frame(results, columns)


def frame(rows: list[Row], columns: list[str]) -> pd.DataFrame:
    """Results as a batch: a table's columns, None where a row lacks one, and those of failures and costs."""
    import pandas as pd  # here, because the decoding process imports this module and makes no batches

    names = [*columns, "fingerprint", *FAILURE, COST, GPU_COST]
    # As objects: a NaN would turn whole numbers into floats, and is no map or list.
    return pd.DataFrame([[_encodable(row.get(name)) for name in names] for row in rows], columns=names, dtype=object)


def _encodable(value: Any) -> Any:
    """A value that Arrow can encode: bytes of a title or file name that are no UTF-8 become escapes."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "backslashreplace").decode()
    return value


def count_inputs(batches: Iterable[pd.DataFrame], rows: Rows, done: Counter, failed: Counter) -> Iterator[pd.DataFrame]:
    """The results of `rows` for the batches; `done` counts the inputs that it has consumed, `failed` its failures."""

    def counting() -> Iterator[pd.DataFrame]:
        for batch in batches:
            yield batch
            done.add(len(batch))

    for results in rows(counting()):
        failed.add(int(results[FAILURE[0]].notna().sum()))
        yield results


def failure(key: str, error: MediaError) -> Row:
    """The row of an input that failed."""
    return dict(zip(FAILURE, (key, error.code, error.message[:MAX_MESSAGE]), strict=True))


def qualified_name(work: Callable[..., Any]) -> str:
    """The qualified name of a function, or of the function within a partial."""
    function = getattr(work, "func", work)
    return f"{function.__module__}.{function.__qualname__}"


def video_id_of(row: Row, key: str) -> str:
    """The video_id of an input's row; its key if it has none yet."""
    return str(row.get("video_id") or row.get(key))


def display_name(row: Row, key: str) -> str:
    """The uri of an input's file if its row has one; else its key."""
    return str(row.get("uri") or row.get(key))


def _outcome(row: Row, call: _Call, watch: bugs.Watch) -> list[Row]:
    started = time.monotonic()
    video_id = video_id_of(row, call.key)
    watch.take(video_id)
    try:
        if call.isolated:
            results, cpu_s = sandbox.call(
                with_cpu_seconds, call.work, row, **sandbox.bounds(call.limits), needs=call.needs
            )
        else:
            results, cpu_s = with_cpu_seconds(call.work, row)
        return [result | {COST: cpu_s / len(results)} for result in results]
    except MediaError as e:
        error = e
    except Exception as e:  # noqa: BLE001 - the border at which a bug that one input meets becomes its failure
        error = watch.failure(e, display_name(row, call.key), video_id)
    seconds = time.monotonic() - started  # the child that knows its CPU seconds may have died
    retries = call.parts(row) if call.parts else [row]
    if len(retries) == 1:
        substitute = call.rescue(retries[0], error) if call.rescue else None
        if substitute is None:
            return [failure(retries[0][call.key], error) | {COST: seconds}]
        retries, call = [substitute], replace(call, rescue=None)
    results = [result for part in retries for result in _outcome(part, call, watch)]
    results[0][COST] += seconds
    if error.code == "BUG" and len(retries) > 1:
        _keep_message(results, error)
    return results


def _keep_message(results: list[Row], bug: MediaError) -> None:
    key, _, message = FAILURE
    if not any(result.get(key) and result[FAILURE[1]] == "BUG" for result in results):
        done = next((result for result in results if not result.get(key)), {})
        done[message] = bug.message[:MAX_MESSAGE]


def with_cpu_seconds(work: Callable[..., T], *args: Any) -> tuple[T, float]:
    """The result of a call, and the CPU seconds it took."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    result = work(*args)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return result, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def records(batch: pd.DataFrame) -> list[Row]:
    """The rows of a batch, NULL as None."""
    return [{str(name): _none_if_nan(value) for name, value in record.items()} for record in batch.to_dict("records")]


def _none_if_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value  # pandas' NULL in a column of numbers
