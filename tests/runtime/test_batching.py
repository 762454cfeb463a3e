"""Every input becomes its results or its failure, and results are yielded in small batches."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.support import sandbox_calls
from udfs.core import bugs, gpu_device
from udfs.core.errors import MediaError, OutputError, RunError, StoreError
from udfs.core.limits import Limits
from udfs.models import registry
from udfs.runtime import batching
from udfs.runtime.batching import PIECE
from udfs.runtime.context import COST, FAILURE, GPU_COST, Row
from udfs.video import encoder_options

LIMITS = Limits(timeout_s=4, memory_mb=512)


def done(*values: str, isolated: bool = True) -> list[tuple[object, object, object]]:
    batch = pd.DataFrame({"n": list(values), "fingerprint": "f"})
    frames = batching.each(
        [batch], sandbox_calls.double, key="n", columns=["doubled"], limits=LIMITS, isolated=isolated
    )
    return [(r.doubled, r.failed_key, r.failed_code) for r in pd.concat(frames).itertuples()]


def test_31_32_33_only_the_guilty_rows_fail() -> None:
    assert done("1", "crash", "2", "hang", "3", "memory", "4") == [
        (2, None, None),
        (None, "crash", "CRASH"),
        (4, None, None),
        (None, "hang", "TIMEOUT"),
        (6, None, None),
        (None, "memory", "OOM"),
        (8, None, None),
    ]


def cut_group(group: Row) -> list[Row]:
    """Work that meets a bug in groups of several inputs, but in no input alone; one input is corrupt."""
    if len(group["spans"]) > 1:
        raise ValueError("The truth value of an array is ambiguous")
    if group["spans"] == ["corrupt"]:
        raise MediaError("CORRUPT", "no frame")
    return [{"n": group["n"]}]


def single(group: Row) -> list[Row]:
    """A group split into groups of one."""
    return [group | {"n": span, "spans": [span]} for span in group["spans"]]


def cut_groups(*groups: list[str]) -> list[tuple[object, object, object]]:
    """Input, failed input and message of each result."""
    batch = pd.DataFrame({"n": [spans[0] for spans in groups], "spans": groups})
    frames = batching.each([batch], cut_group, key="n", columns=["n"], limits=LIMITS, isolated=False, parts=single)
    return [(r.n, r.failed_key, r.failed_message) for r in pd.concat(frames).itertuples()]


def test_72_a_bug_that_only_a_group_of_inputs_meets_is_said_with_the_first_result() -> None:
    (first, second), alone = cut_groups(["a", "b"]), cut_groups(["a"], ["b"])
    assert first[:2] == ("a", None)
    assert second == ("b", None, None)
    assert str(first[2]).startswith("ValueError: The truth value of an array is ambiguous (runtime/test_batching.py:")
    assert alone == [("a", None, None), ("b", None, None)]


def test_72_the_bug_of_a_group_does_not_replace_the_failure_of_an_input() -> None:
    corrupt, good = cut_groups(["corrupt", "b"])
    assert corrupt == (None, "corrupt", "no frame")
    assert good[:2] == ("b", None)
    assert "ValueError" in str(good[2])


@pytest.fixture(autouse=True)
def _no_bug_met_before() -> None:
    bugs.watch.cache_clear()


@pytest.mark.parametrize("isolated", [True, False])
def test_72_a_bug_is_a_row_that_says_where_and_its_siblings_go_on(isolated: bool) -> None:
    assert done("1", "bug", "2", isolated=isolated) == [(2, None, None), (None, "bug", "BUG"), (4, None, None)]
    said = message_of("bug", isolated=isolated)
    place = r"support/sandbox_calls\.py:\d+"
    assert re.match(rf"KeyError: 'no such column' \({place} in raise_bug < {place} in double", said)
    assert said.endswith(", met by bug")


def message_of(value: str, *, isolated: bool) -> str:
    """What the failure of this input says."""
    batch = pd.DataFrame({"n": [value], "fingerprint": "f"})
    (frame,) = batching.each([batch], sandbox_calls.double, key="n", columns=[], limits=LIMITS, isolated=isolated)
    return str(frame[FAILURE[2]][0])


def rows_of(videos: list[str], work: batching.Work) -> list[object]:
    """The codes of as many inputs, each of the video named."""
    batch = pd.DataFrame({"n": [str(k) for k in range(len(videos))], "video_id": videos})
    frames = batching.each([batch], work, key="n", columns=[], limits=LIMITS, isolated=False)
    return [code for frame in frames for code in frame[FAILURE[1]]]


def stumbling(row: Row) -> list[Row]:
    """Work that meets a bug in every video but those named ok."""
    if row["video_id"].startswith("ok"):
        return [{}]
    raise IndexError(row["n"])


def test_72_a_bug_of_most_videos_stops_the_run() -> None:
    with pytest.raises(IndexError) as raised:
        rows_of([f"v{k}" for k in range(40)], stumbling)
    assert raised.value.args == (str(bugs.MANY_VIDEOS - 1),)
    assert "20 of the last 20 videos met this bug" in raised.value.__notes__[-1]


def test_72_a_bug_that_begins_late_stops_the_run_as_well() -> None:
    with pytest.raises(IndexError) as raised:
        rows_of([*(f"ok{k}" for k in range(500)), *(f"v{k}" for k in range(40))], stumbling)
    assert "21 of the last 40 videos met this bug" in raised.value.__notes__[-1]


def test_72_a_bug_of_some_videos_does_not() -> None:
    videos = [name for k in range(30) for name in (f"ok{k}", f"v{k}")]
    assert rows_of(videos, stumbling) == [None, "BUG"] * 30


def test_72_a_bug_of_all_clips_of_one_film_does_not() -> None:
    assert rows_of(["film"] * 60, stumbling) == ["BUG"] * 60


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/out"),
        OSError(errno.EROFS, "Read-only file system", "/out"),
        encoder_options.EncoderError("no"),
        registry.MissingModelError("no"),
        gpu_device.NoDeviceError("no"),
        StoreError("no"),
        OutputError("no"),
        MemoryError("no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_83_what_no_input_can_help_stops_the_run_at_once(error: Exception) -> None:
    def work(row: Row) -> list[Row]:
        raise error

    with pytest.raises((RunError, MemoryError)):
        rows_of(["v"], work)


def test_83_a_full_disk_in_the_child_names_the_place() -> None:
    batch = pd.DataFrame({"n": ["disk"]})
    with pytest.raises(OutputError, match=r"No space left on device: /out/media/a\.mp4"):
        list(batching.each([batch], sandbox_calls.double, key="n", columns=[], limits=LIMITS))


def test_text_that_is_no_utf8_and_a_message_without_end_can_be_sent() -> None:
    failed = batching.failure("k", MediaError("CORRUPT", "\udcff" + "x" * 10_000))
    frame = batching.frame([failed, {"title": "a\udc80b"}], ["title"])
    assert frame["title"].tolist() == [None, "a\\udc80b"]
    assert len(pa.Table.from_pandas(frame.astype("object")).to_pandas()[FAILURE[2]][0]) <= batching.MAX_MESSAGE + 5


def test_37_one_poison_pill_among_a_hundred_costs_one_row() -> None:
    rows = done(*map(str, range(50)), "crash", *map(str, range(49)))
    assert [row for row in rows if row[2]] == [(None, "crash", "CRASH")]
    assert len(rows) == 100


def test_work_without_the_sandbox_gives_the_same_rows() -> None:
    assert done("1", "2", isolated=False) == done("1", "2")


def test_a_batch_has_the_columns_in_order_and_none_where_nothing_is_known() -> None:
    (frame,) = batching.each(
        [pd.DataFrame({"n": ["1"], "fingerprint": ["f"]})],
        sandbox_calls.double,
        key="n",
        columns=["other", "doubled"],
        limits=LIMITS,
    )
    assert frame.columns.tolist() == ["other", "doubled", "fingerprint", *FAILURE, COST, GPU_COST]
    assert frame.iloc[0].drop([COST, GPU_COST]).tolist() == [None, 2, "f", None, None, None]


def test_large_batches_are_handed_on_in_pieces() -> None:
    taken: list[str] = []

    def noted(row: Row) -> list[Row]:
        taken.append(row["n"])
        return [{}]

    batch = pd.DataFrame({"n": [str(n) for n in range(3 * PIECE)]})
    pieces: Iterator[pd.DataFrame] = batching.each([batch], noted, key="n", columns=[], limits=LIMITS, isolated=False)
    assert len(next(pieces)) == PIECE
    assert len(taken) == PIECE


def test_numbers_that_pandas_has_no_value_for_arrive_as_none() -> None:
    seen: list[Row] = []
    batch = pd.DataFrame({"n": ["a", "b"], "duration_s": [1.5, np.nan]})

    def noted(row: Row) -> list[Row]:
        seen.append(row)
        return [{}]

    list(batching.each([batch], noted, key="n", columns=[], limits=LIMITS, isolated=False))
    assert [row["duration_s"] for row in seen] == [1.5, None]


def test_the_cost_of_a_row_is_the_cpu_time_of_its_input() -> None:
    batch = pd.DataFrame({"n": ["1"]})
    (frame,) = batching.each([batch], sandbox_calls.double, key="n", columns=[], limits=LIMITS)
    assert 0 <= frame[COST][0] < 1


class Count:
    """A counter, as an accumulator of Spark's is one to a task."""

    def __init__(self) -> None:
        self.value = 0

    def add(self, term: int) -> None:
        self.value += term


def test_inputs_are_counted_as_they_are_consumed_and_failures_as_they_come() -> None:
    read, failed = Count(), Count()

    def rows(batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for batch in batches:
            yield batching.frame([{"n": n, FAILURE[0]: None if n == "a" else n} for n in batch["n"]], ["n"])

    batches = [pd.DataFrame({"n": ["a", "b"]}), pd.DataFrame({"n": ["c"]})]
    counted = batching.count_inputs(iter(batches), rows, read, failed)
    next(counted)
    assert (read.value, failed.value) == (0, 1)  # the batch is in work
    assert len([*counted]) == 1
    assert (read.value, failed.value) == (3, 2)
