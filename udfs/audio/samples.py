"""Lay out decoded audio frames as the samples of one stretch of time, at one rate and channel layout."""

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

Samples = NDArray[np.float32]  # channels x samples

TOLERANCE_S = 0.01  # a frame this close to the end of the one before it follows directly: times are rounded, clocks jitter
LOOK_AHEAD = 8  # further frames that have to agree before a gap is filled or an overlap is cut
MOST_CHANNELS = 8  # that libswresample downmixes


@dataclass(frozen=True)
class Shape:
    """The format of the samples: 32-bit floats in planes, at `rate` Hz."""

    rate: int
    layout: str  # mono or stereo


def lay_out(frames: Iterable[AudioFrame], shape: Shape, start_s: float, end_s: float) -> Iterator[Samples]:
    """The samples from `start_s` to the end of the last frame or `end_s`; gaps become silence, overlaps are cut.

    The frames' times are on the clock of `start_s` and `end_s`; a frame without a time follows the
    frame before it.
    """
    length, reached = round((end_s - start_s) * shape.rate), 0
    for at, samples in _positions(_resample(frames, shape), start_s, shape.rate):
        if at >= length:
            return
        if at > reached:
            yield from _silence(at - reached, samples.shape[0], shape.rate)
            reached = at
        kept = samples[:, reached - at : length - at]
        if kept.shape[1]:
            yield kept
            reached += kept.shape[1]


def _silence(number: int, channels: int, rate: int) -> Iterator[Samples]:
    for start in range(0, number, rate):  # a second at a time: an hour would take much memory
        yield np.zeros((channels, min(rate, number - start)), np.float32)


def _positions(pieces: Iterator[tuple[float, Samples]], start_s: float, rate: int) -> Iterator[tuple[int, Samples]]:
    """Pieces, each with the position of its first sample, in samples after `start_s`.

    Pieces lie end to end, unless the times of several agree that there is a gap or an overlap.
    """
    reached = 0
    offset: int | None = None
    for ahead in _windows(_with_offsets(pieces, start_s, rate)):
        offset = _offset(offset, [own for own, _ in ahead], TOLERANCE_S * rate)
        samples = ahead[0][1]
        yield reached + offset, samples
        reached += samples.shape[1]


def _with_offsets(pieces: Iterator[tuple[float, Samples]], start_s: float, rate: int) -> Iterator[tuple[int, Samples]]:
    """Pieces, each with how far its time lies after the end of all samples before it, in samples."""
    reached = 0
    for at_s, samples in pieces:
        yield round((at_s - start_s) * rate) - reached, samples
        reached += samples.shape[1]


def _windows(pieces: Iterator[tuple[int, Samples]]) -> Iterator[Sequence[tuple[int, Samples]]]:
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


def _offset(now: int | None, ahead: list[int], tolerance: float) -> int:
    """The offset of the next piece in samples: it changes from `now` only if all pieces ahead agree."""
    if now is None:
        return min(ahead)  # some fragmented files give every other frame the time of the next
    steps = [own - now for own in ahead]
    if all(step > tolerance for step in steps) or all(step < -tolerance for step in steps):
        return now + min(steps, key=abs)
    return now


def _resample(frames: Iterable[AudioFrame], shape: Shape) -> Iterator[tuple[float, Samples]]:
    """Convert frames, whose rate, format and layout may change midway, to pieces of one shape, with times in s."""
    converter: _Converter | None = None
    for frame in _with_times(frames):
        if converter is None or converter.kind != _kind(frame):
            if converter is not None:
                yield from converter.convert(None)
            converter = _Converter(frame, shape)
        yield from converter.convert(frame)
    if converter is not None:
        yield from converter.convert(None)


def _with_times(frames: Iterable[AudioFrame]) -> Iterator[AudioFrame]:
    """Frames with times in units of their own samples; those before the first frame with a time are left out."""
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


def _kind(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


class _Converter:
    """Converts frames of one kind to pieces of a shape."""

    def __init__(self, first: AudioFrame, shape: Shape) -> None:
        self.kind = _kind(first)
        self.graph: Graph | None = None
        if first.layout.nb_channels > MOST_CHANNELS:
            self.graph = _two_channels(first, shape)
        else:
            self.resampler = AudioResampler("fltp", shape.layout, shape.rate)

    def convert(self, frame: AudioFrame | None) -> Iterator[tuple[float, Samples]]:
        """The pieces ready after a frame, or at the end (None)."""
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


def _two_channels(first: AudioFrame, shape: Shape) -> Graph:
    """A filter that takes the first two channels of a microphone array or ambisonics."""
    graph = Graph()
    source = graph.add_abuffer(
        format=first.format.name, sample_rate=first.sample_rate, layout=first.layout.name, time_base=first.time_base
    )
    pan = graph.add("pan", "stereo|c0=c0|c1=c1")
    conform = graph.add("aformat", f"sample_fmts=fltp:sample_rates={shape.rate}:channel_layouts={shape.layout}")
    graph.link_nodes(source, pan, conform, graph.add("abuffersink")).configure()
    return graph
