"""Spans: stretches of a video between two times, and their rows in the table `spans`."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from itertools import count, takewhile

from udfs.demux import timeline
from udfs.demux.timeline import Timeline
from udfs.runtime.context import Row

Span = tuple[float, float]  # start and end in seconds after the first shown frame, [start, end)

COLUMNS = ["clip_id", "video_id", "start_s", "end_s", "start_frame", "end_frame", "num_frames", "held_s", "method"]
ROUNDING_S = 1e-6  # a span that is shorter than the minimum by less than this passes


def strided_spans(start_s: float, end_s: float, length_s: float, stride_s: float, min_length_s: float) -> list[Span]:
    """Spans of `length_s`, one every `stride_s`, within the times.

    Spans that `end_s` shortens are kept down to `min_length_s`.
    """
    starts = takewhile(lambda start: start < end_s, (start_s + k * stride_s for k in count()))
    pairs = ((start, min(start + length_s, end_s)) for start in starts)
    return [(start, end) for start, end in pairs if end - start >= min_length_s - ROUNDING_S]


def span_rows(video: Row, spans: Iterable[Span], method: str) -> list[Row]:
    """The rows of table `spans` for spans of one row of `videos`.

    Spans that show no frame are left out. Two spans of the same frames have the same clip_id and
    give one row.
    """
    frame_times = timeline.timeline_of_row(video)
    rows = {row["clip_id"]: row for row in (_span_row(video, frame_times, span, method) for span in spans)}
    return [row for row in rows.values() if row["start_frame"] < row["end_frame"]]


def _span_row(video: Row, frame_times: Timeline, span: Span, method: str) -> Row:
    start_s, end_s = span
    held_s = frame_times.held_s(start_s)
    start_frame, end_frame = frame_times.first_frame(start_s) - (held_s > 0), frame_times.first_frame(end_s)
    # The start is part of the id, because several spans may show nothing but the same held frame.
    frames = f"{start_frame}_{end_frame}" + (f"_{start_s:.3f}" if held_s else "")
    clip_id = uuid.uuid5(uuid.UUID(video["video_id"]), frames)
    num_frames = None if video.get("timing") == "header" else min(end_frame, len(frame_times.times_s)) - start_frame
    values = (str(clip_id), video["video_id"], start_s, end_s, start_frame, end_frame, num_frames, held_s, method)
    return dict(zip(COLUMNS, values, strict=True))
