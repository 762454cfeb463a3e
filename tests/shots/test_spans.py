"""Spans cover a video in order, keep to the length bounds, and name their frames."""

from __future__ import annotations

import math
import uuid
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from udfs.runtime.context import Row
from udfs.shots.spans import COLUMNS, Span, span_rows, strided_spans

EIGHTHS = st.integers(1, 2000).map(lambda n: n / 8)  # sums of eighths are exact
VIDEO_ID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"


def accumulated_spans(duration_s: float, length_s: float, stride_s: float, min_length_s: float) -> list[Span]:
    """The loop of the published fixed-stride extractor, word for word."""
    spans, start = [], 0.0
    while start < duration_s:
        end = min(start + length_s, duration_s)
        if end - start >= min_length_s:
            spans.append((start, end))
        start += stride_s
    return spans


def video(num_frames: int, fps: float) -> Row:
    """The facts of an even video that spans need."""
    return {"video_id": VIDEO_ID, "num_frames": num_frames, "framerate": fps, "duration_s": num_frames / fps}


@given(EIGHTHS, EIGHTHS, EIGHTHS, EIGHTHS)
def test_spans_are_those_of_the_accumulating_loop(
    duration_s: float, length_s: float, stride_s: float, min_length_s: float
) -> None:
    arguments = length_s, min(stride_s, length_s), min(min_length_s, length_s)
    assert strided_spans(0.0, duration_s, *arguments) == accumulated_spans(duration_s, *arguments)


@given(st.integers(1, 100_000), st.sampled_from([12.5, 24.0, 24_000 / 1001, 29.97, 30.0, 60.0]))
@example(60_000, 30_000 / 1001)
def test_accumulating_tenths_of_seconds_loses_under_a_microsecond(num_frames: int, fps: float) -> None:
    arguments = num_frames / fps, 5.1, 4.7, math.sqrt(5)  # no span misses this length by a rounding error
    pairs = zip(strided_spans(0.0, *arguments), accumulated_spans(*arguments), strict=True)
    assert all(math.isclose(a, b, abs_tol=1e-6) for ours, loop in pairs for a, b in zip(ours, loop, strict=True))


@given(EIGHTHS, EIGHTHS, EIGHTHS)
def test_spans_without_a_minimum_cover_everything_in_order(start_s: float, duration_s: float, length_s: float) -> None:
    spans = strided_spans(start_s, start_s + duration_s, length_s, length_s, 0.0)
    assert (spans[0][0], spans[-1][1]) == (start_s, start_s + duration_s)
    assert all(end == next_start for (_, end), (next_start, _) in pairwise(spans))


@given(EIGHTHS, EIGHTHS, EIGHTHS, EIGHTHS)
def test_no_span_is_longer_or_shorter_than_allowed(
    duration_s: float, length_s: float, stride_s: float, min_length_s: float
) -> None:
    lengths = [end - start for start, end in strided_spans(0.0, duration_s, length_s, stride_s, min_length_s)]
    assert all(min_length_s <= length <= length_s for length in lengths)


def test_a_span_that_misses_the_minimum_by_a_rounding_error_is_kept() -> None:
    assert strided_spans(0.0, 2.9999999, 1.0, 1.0, 1.0)[-1] == (2.0, 2.9999999)


@given(st.integers(1, 500), st.sampled_from([10.0, 25.0, 30_000 / 1001]), EIGHTHS)
def test_rows_of_consecutive_spans_hold_every_frame_once(num_frames: int, fps: float, length_s: float) -> None:
    facts = video(num_frames, fps)
    rows = span_rows(facts, strided_spans(0.0, facts["duration_s"], length_s, length_s, 0.0), "fixed_stride")
    frames = [k for row in rows for k in range(row["start_frame"], row["end_frame"])]
    assert frames == list(range(num_frames))
    assert all(row["num_frames"] == row["end_frame"] - row["start_frame"] for row in rows)


def test_a_row_has_the_columns_of_the_table_and_its_method() -> None:
    (row,) = span_rows(video(60, 30.0), [(0.0, 2.0)], "content")
    assert list(row) == COLUMNS
    assert (row["start_s"], row["end_s"], row["start_frame"], row["end_frame"], row["method"]) == (
        0,
        2,
        0,
        60,
        "content",
    )


def test_clip_id_is_made_of_the_video_and_the_frames() -> None:
    (row,) = span_rows(video(90, 30.0), [(0.0, 3.0)], "fixed_stride")
    assert row["clip_id"] == str(uuid.uuid5(uuid.UUID(VIDEO_ID), "0_90"))


def test_a_span_between_two_frames_has_no_row() -> None:
    (row,) = span_rows(video(40, 10.0), [(0.02, 0.08), (1.0, 2.0)], "content")
    assert (row["start_frame"], row["end_frame"]) == (10, 20)


@pytest.mark.parametrize("stride_s", [0.01, 0.03])
def test_spans_of_the_same_frames_give_one_row(stride_s: float) -> None:
    spans = strided_spans(0.0, 4.0, 1.0, stride_s, 1.0)
    rows = span_rows(video(40, 10.0), spans, "fixed_stride")
    assert len({row["clip_id"] for row in rows}) == len(rows) < len(spans)
