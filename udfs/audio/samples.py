"""Arrange decoded audio frames on a time line, as samples without gaps or overlaps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.filter.graph import Graph
from numpy.typing import NDArray

from udfs.core import filter_graph

Samples = NDArray[np.float32]  # channels x samples

TOLERANCE_S = 0.01  # a frame this close to the end of the one before follows it: times are rounded, clocks jitter
LOOK_AHEAD = 8  # a gap is filled or an overlap cut only if the times of so many more frames agree on it
MAX_CHANNELS = 8  # the most that libswresample can mix down


@dataclass(frozen=True)
class SampleFormat:
    """The format of samples, which are 32-bit floats in one plane per channel."""

    rate_hz: int
    layout: str  # mono or stereo


def lay_out_frames(
    frames: Iterable[AudioFrame], target: SampleFormat, start_s: float, end_s: float
) -> Iterator[Samples]:
    """Yield the samples from `start_s` to `end_s` in arrays of channels x samples.

    They end earlier if the frames do. Gaps become silence, and overlaps are cut. The times of the
    frames are on the same clock as `start_s` and `end_s`; a frame without a time follows the frame
    before it.
    """
    length, reached = round((end_s - start_s) * target.rate_hz), 0  # in samples
    for at, samples in _positions(_resample(frames, target), start_s, target.rate_hz):
        if at >= length:
            return
        if at > reached:
            yield from _silence(at - reached, samples.shape[0], target.rate_hz)
            reached = at
        kept = samples[:, reached - at : length - at]
        if kept.shape[1]:
            yield kept
            reached += kept.shape[1]


def _silence(num_samples: int, channels: int, rate_hz: int) -> Iterator[Samples]:
    for start in range(0, num_samples, rate_hz):  # one second at a time: an hour would take much memory
        yield np.zeros((channels, min(rate_hz, num_samples - start)), np.float32)


def _positions(pieces: Iterator[tuple[float, Samples]], start_s: float, rate_hz: int) -> Iterator[tuple[int, Samples]]:
    """Pieces, each with the position of its first sample, in samples after `start_s`.

    Pieces lie end to end unless the times of several agree that there is a gap or an overlap.
    """
    reached = 0
    offset: int | None = None
    for ahead in _look_ahead(_with_offsets(pieces, start_s, rate_hz)):
        offset = _next_offset(offset, [own for own, _ in ahead], TOLERANCE_S * rate_hz)
        samples = ahead[0][1]
        yield reached + offset, samples
        reached += samples.shape[1]


def _with_offsets(
    pieces: Iterator[tuple[float, Samples]], start_s: float, rate_hz: int
) -> Iterator[tuple[int, Samples]]:
    """Pieces, each with its distance in samples from the end of the piece before it."""
    reached = 0
    for at_s, samples in pieces:
        yield round((at_s - start_s) * rate_hz) - reached, samples
        reached += samples.shape[1]


def _look_ahead(pieces: Iterator[tuple[int, Samples]]) -> Iterator[Sequence[tuple[int, Samples]]]:
    """Each piece with the LOOK_AHEAD pieces after it; fewer at the end."""
    window: deque[tuple[int, Samples]] = deque()
    for piece in pieces:
        window.append(piece)
        if len(window) > LOOK_AHEAD:
            yield window
            window.popleft()
    while window:
        yield window
        window.popleft()


def _next_offset(last: int | None, ahead: list[int], tolerance: float) -> int:
    """The offset of the next piece in samples; it changes only if all pieces ahead agree."""
    if last is None:
        return min(ahead)  # some fragmented files give every other frame the time of the next
    steps = [own - last for own in ahead]
    if all(step > tolerance for step in steps) or all(step < -tolerance for step in steps):
        return last + min(steps, key=abs)
    return last


def _resample(frames: Iterable[AudioFrame], target: SampleFormat) -> Iterator[tuple[float, Samples]]:
    """Convert frames, whose format may change midway, to samples of one format, with times in s."""
    converter: _Converter | None = None
    for frame in _with_times(frames):
        if converter is None or converter.source != _format_of(frame):
            if converter is not None:
                yield from converter.convert(None)
            converter = _Converter(frame, target)
        yield from converter.convert(frame)
    if converter is not None:
        yield from converter.convert(None)


def _with_times(frames: Iterable[AudioFrame]) -> Iterator[AudioFrame]:
    """Frames with times in units of their own samples.

    Frames before the first one with a time are left out.
    """
    end_s: Fraction | None = None
    for frame in frames:
        if frame.pts is not None and frame.time_base is not None:
            end_s = frame.pts * frame.time_base
        if end_s is None or not frame.samples or not frame.sample_rate:
            continue
        frame.time_base = Fraction(1, frame.sample_rate)
        frame.pts = round(end_s * frame.sample_rate)
        end_s += Fraction(frame.samples, frame.sample_rate)
        yield frame


def _format_of(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


class _Converter:
    """Converts frames of one format to samples of another."""

    def __init__(self, first: AudioFrame, target: SampleFormat) -> None:
        self.source = _format_of(first)
        self.graph: Graph | None = None
        if first.layout.nb_channels > MAX_CHANNELS:
            self.graph = _two_channel_filter(first, target)
        else:
            self.resampler = AudioResampler("fltp", target.layout, target.rate_hz)

    def convert(self, frame: AudioFrame | None) -> Iterator[tuple[float, Samples]]:
        """The samples that are ready after a frame, or at the end (None), with their time in s."""
        for piece in self._filter(frame) if self.graph else self.resampler.resample(frame):
            if piece is not None and piece.samples and piece.pts is not None and piece.time_base is not None:
                yield float(piece.pts * piece.time_base), cast(Samples, piece.to_ndarray())

    def _filter(self, frame: AudioFrame | None) -> Iterator[AudioFrame]:
        assert self.graph is not None
        self.graph.push(frame)
        while True:
            try:
                yield cast(AudioFrame, self.graph.pull())
            except (av.error.BlockingIOError, av.error.EOFError):
                return


def _two_channel_filter(first: AudioFrame, target: SampleFormat) -> Graph:
    """A filter graph that takes the first two channels of a microphone array or of ambisonics."""
    graph = filter_graph.new()
    source = graph.add_abuffer(
        format=first.format.name, sample_rate=first.sample_rate, layout=first.layout.name, time_base=first.time_base
    )
    pan = graph.add("pan", "stereo|c0=c0|c1=c1")
    conform = graph.add("aformat", f"sample_fmts=fltp:sample_rates={target.rate_hz}:channel_layouts={target.layout}")
    graph.link_nodes(source, pan, conform, graph.add("abuffersink")).configure()
    return graph
