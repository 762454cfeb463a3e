"""batching: every row is answered, a failure in its place, and what is done is handed on in pieces."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from tests.faults import hooks
from udfs import batching
from udfs.batching import COST, FAILURE, GPU_COST, PIECE
from udfs.media import Limits

LIMITS = Limits(timeout_s=2, memory_mb=512)


def done(*values: str, isolated: bool = True) -> list[tuple[object, object, object]]:
    batch = pd.DataFrame({"n": list(values), "fingerprint": "f"})
    frames = batching.each([batch], hooks.double, key="n", columns=["doubled"], limits=LIMITS, isolated=isolated)
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


@pytest.mark.parametrize("isolated", [True, False])
def test_a_bug_ends_the_batch(isolated: bool) -> None:
    with pytest.raises(KeyError, match="no such column"):
        done("1", "bug", isolated=isolated)


def test_37_one_poison_pill_among_a_hundred_costs_one_row() -> None:
    rows = done(*map(str, range(50)), "crash", *map(str, range(49)))
    assert [row for row in rows if row[2]] == [(None, "crash", "CRASH")]
    assert len(rows) == 100


def test_work_without_the_sandbox_gives_the_same_rows() -> None:
    assert done("1", "2", isolated=False) == done("1", "2")


def test_a_batch_has_the_columns_in_order_and_none_where_nothing_is_known() -> None:
    (frame,) = batching.each(
        [pd.DataFrame({"n": ["1"], "fingerprint": ["f"]})], hooks.double, key="n", columns=["other", "doubled"], limits=LIMITS
    )
    assert frame.columns.tolist() == ["other", "doubled", "fingerprint", *FAILURE, COST, GPU_COST]
    assert frame.iloc[0].drop([COST, GPU_COST]).tolist() == [None, 2, "f", None, None, None]


def test_large_batches_are_handed_on_in_pieces() -> None:
    taken: list[str] = []

    def noted(row: batching.Row) -> list[batching.Row]:
        taken.append(row["n"])
        return [{}]

    batch = pd.DataFrame({"n": [str(n) for n in range(3 * PIECE)]})
    pieces: Iterator[pd.DataFrame] = batching.each([batch], noted, key="n", columns=[], limits=LIMITS, isolated=False)
    assert len(next(pieces)) == PIECE
    assert len(taken) == PIECE


def test_numbers_that_pandas_has_no_value_for_arrive_as_none() -> None:
    seen: list[batching.Row] = []
    batch = pd.DataFrame({"n": ["a", "b"], "duration_s": [1.5, np.nan]})

    def noted(row: batching.Row) -> list[batching.Row]:
        seen.append(row)
        return [{}]

    list(batching.each([batch], noted, key="n", columns=[], limits=LIMITS, isolated=False))
    assert [row["duration_s"] for row in seen] == [1.5, None]


def test_the_cost_of_a_row_is_the_cpu_time_of_its_input() -> None:
    batch = pd.DataFrame({"n": ["1"]})
    (frame,) = batching.each([batch], hooks.double, key="n", columns=[], limits=LIMITS)
    assert 0 <= frame[COST][0] < 1
