"""Decoded sound, frame by frame -> the samples of one stretch of time, at one rate and layout, each at its time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
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

TOLERANCE_S = 0.01  # a frame this close to the end of the one before follows it: times are rounded, and clocks jitter
LOOK_AHEAD = 8  # frames that have to agree before a gap is filled or an overlap is cut
MOST_CHANNELS = 8  # that libswresample mixes down


@dataclass(frozen=True)
class Shape:
    """How samples are given out, as 32-bit floats in planes."""

    rate: int
    layout: str  # mono or stereo


def lay_out(frames: Iterable[AudioFrame], shape: Shape, start_s: float, end_s: float) -> Iterator[Samples]:
    """The samples from `start_s` on: gaps are silence, overlaps are cut, and the sound ends with its last frame or at `end_s`.

    The frames' times are on the clock of `start_s` and `end_s`; a frame without one follows the frame before it.
    """
    length, reached = round((end_s - start_s) * shape.rate), 0
    for at, samples in _placed(_conformed(frames, shape), start_s, shape.rate):
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
    for start in range(0, number, rate):  # not an hour of it at once
        yield np.zeros((channels, min(rate, number - start)), np.float32)


def _placed(pieces: Iterator[tuple[float, Samples]], start_s: float, rate: int) -> Iterator[tuple[int, Samples]]:
    """Pieces with their first sample's number: end to end, unless the times of several say that something lies between.

    `ahead` holds each piece with how far its time says it lies behind the sum of the pieces before it.
    """
    ahead: deque[tuple[int, Samples]] = deque()
    summed = reached = 0
    offset: int | None = None
    for at_s, samples in pieces:
        ahead.append((round((at_s - start_s) * rate) - summed, samples))
        summed += samples.shape[1]
        if len(ahead) > LOOK_AHEAD:
            offset = _offset(offset, [by for by, _ in ahead], TOLERANCE_S * rate)
            first = ahead.popleft()[1]
            yield reached + offset, first
            reached += first.shape[1]
    while ahead:
        offset = _offset(offset, [by for by, _ in ahead], TOLERANCE_S * rate)
        first = ahead.popleft()[1]
        yield reached + offset, first
        reached += first.shape[1]


def _offset(now: int | None, ahead: list[int], tolerance: float) -> int:
    if now is None:
        return min(ahead)  # some fragmented files give every other frame the time of the next
    steps = [by - now for by in ahead]
    if all(step > tolerance for step in steps) or all(step < -tolerance for step in steps):
        return now + min(steps, key=abs)
    return now


def _conformed(frames: Iterable[AudioFrame], shape: Shape) -> Iterator[tuple[float, Samples]]:
    """Frames of whatever rate, format and layout, which may change midway, as pieces of one shape with their times."""
    converter: _Converter | None = None
    for frame in _stamped(frames):
        if converter is None or converter.takes != _kind(frame):
            if converter is not None:
                yield from converter.convert(None)
            converter = _Converter(frame, shape)
        yield from converter.convert(frame)
    if converter is not None:
        yield from converter.convert(None)


def _stamped(frames: Iterable[AudioFrame]) -> Iterator[AudioFrame]:
    """Frames with times in units of their own samples; those before the first that has one are left out."""
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
    """Frames of one kind -> pieces of a shape."""

    def __init__(self, first: AudioFrame, shape: Shape) -> None:
        self.takes = _kind(first)
        self.graph: Graph | None = None
        if first.layout.nb_channels > MOST_CHANNELS:
            self.graph = _first_two(first, shape)
        else:
            self.resampler = AudioResampler("fltp", shape.layout, shape.rate)

    def convert(self, frame: AudioFrame | None) -> Iterator[tuple[float, Samples]]:
        """The pieces that come of a frame, or at the end."""
        for piece in self._pulled(frame) if self.graph else self.resampler.resample(frame):
            if piece is not None and piece.samples and piece.pts is not None and piece.time_base is not None:
                yield float(piece.pts * piece.time_base), cast(Samples, piece.to_ndarray())

    def _pulled(self, frame: AudioFrame | None) -> Iterator[AudioFrame]:
        assert self.graph is not None
        self.graph.push(frame)
        while True:
            try:
                yield cast(AudioFrame, self.graph.pull())
            except (av.error.BlockingIOError, av.error.EOFError):
                return


def _first_two(first: AudioFrame, shape: Shape) -> Graph:
    """Of a microphone array or ambisonics the first two channels."""
    graph = Graph()
    source = graph.add_abuffer(
        format=first.format.name, sample_rate=first.sample_rate, layout=first.layout.name, time_base=first.time_base
    )
    pan = graph.add("pan", "stereo|c0=c0|c1=c1")
    conform = graph.add("aformat", f"sample_fmts=fltp:sample_rates={shape.rate}:channel_layouts={shape.layout}")
    graph.link_nodes(source, pan, conform, graph.add("abuffersink")).configure()
    return graph
