"""A good video -> files that are each wrong in one known way, the same in every run."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain, repeat
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tests.footage import draw

CONTAINERS_OF_BOXES = (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl", b"edts")


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """The boxes of an mp4, inner ones after their outer one: name, where the content begins, where it ends."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, name = struct.unpack_from(">I4s", data, start)
        yield name, start + 8, start + size
        if name in CONTAINERS_OF_BOXES:
            yield from boxes(data, start + 8, start + size)
        start += size


def box(data: bytes, wanted: bytes) -> tuple[int, int]:
    """Where the content of the first box of a name begins and ends."""
    return next((begin, end) for name, begin, end in boxes(data) if name == wanted)


def cut_to(source: Path, path: Path, num_bytes: int) -> Path:
    """The first bytes of a file; the last ones are gone if the number is negative."""
    path.write_bytes(source.read_bytes()[:num_bytes])
    return path


def flip_bits(source: Path, path: Path, where: tuple[int, int], flips: int, seed: int) -> Path:
    """A file with so many bits turned over between two offsets."""
    data, chance = bytearray(source.read_bytes()), random.Random(seed)
    for _ in range(flips):
        data[chance.randrange(*where)] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    return path


def patch(source: Path, path: Path, offset: int, new: bytes) -> Path:
    """A file with some bytes written over."""
    data = bytearray(source.read_bytes())
    data[offset : offset + len(new)] = new
    path.write_bytes(data)
    return path


def remux(source: Path, path: Path, options: dict[str, str], times: int = 1) -> Path:
    """The packets of a video's picture in another container, as they are, over and over."""
    with av.open(str(source)) as given, av.open(str(path), "w", options=options) as out:
        video = given.streams.video[0]
        copy = out.add_stream_from_template(video)
        packets = [p for p in given.demux(video) if p.pts is not None]
        base, duration = video.time_base, video.duration
        assert base is not None
        assert duration is not None
        for lap in range(times):
            for packet in packets:
                again = Packet(bytes(packet))
                again.time_base, again.stream, again.is_keyframe = base, copy, packet.is_keyframe
                again.pts, again.dts = (t + lap * duration for t in (packet.pts or 0, packet.dts or 0))
                out.mux(again)
    return path


def write_sound(path: Path, cover: bool = False) -> Path:
    """A second of noise in aac, with a picture attached as cover art if asked for."""
    with av.open(str(path), "w") as out:
        audio = out.add_stream("aac", rate=48_000, layout="mono")
        assert isinstance(audio, AudioStream)
        if cover:
            art = out.add_stream("mjpeg", rate=1)
            assert isinstance(art, VideoStream)
            art.width, art.height, art.pix_fmt, art.disposition = 64, 64, "yuvj420p", Disposition.attached_pic
            out.mux(art.encode(VideoFrame.from_ndarray(np.full((64, 64, 3), 99, np.uint8), format="rgb24")))
            out.mux(art.encode(None))
        noise = np.random.default_rng(0).integers(-9000, 9000, (1, 47 * 1024), dtype=np.int16)
        for start in range(0, noise.shape[1], 1024):
            frame = AudioFrame.from_ndarray(noise[:, start : start + 1024].copy(), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
            out.mux(audio.encode(frame))
        out.mux(audio.encode(None))
    return path


def write_flat(path: Path, size: tuple[int, int], codec: str, pix_fmt: str, num_frames: int = 3, grey: int = 16) -> Path:
    """Frames of one grey."""
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=10)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = *size, pix_fmt
        frame = VideoFrame.from_ndarray(np.full(size[::-1], grey, np.uint8), format="gray").reformat(format=pix_fmt)
        for k, _ in enumerate(repeat(None, num_frames)):
            frame.pts, frame.time_base = k, Fraction(1, 10)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path


def write_scenes(path: Path, times_s: Sequence[float], cuts: Sequence[int], size: tuple[int, int] = (160, 120)) -> Path:
    """Drifting colours, shown at these times, that are others from each frame of `cuts` on."""
    base = Fraction(1, 90_000)
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        assert isinstance(video, VideoStream)
        video.width, video.height, video.codec_context.time_base = *size, base
        for k, at in enumerate(times_s):
            lower_half = draw(k, (size[0], 2 * size[1]), cuts=cuts)[size[1] :]  # the upper one blinks
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(lower_half), format="rgb24")
            frame.pts, frame.time_base = round(at / base), base
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path


def join(path: Path, *parts: Path) -> Path:
    """Files one after the other, as `cat` joins them: MPEG-TS with times that jump."""
    path.write_bytes(bytes(chain.from_iterable(part.read_bytes() for part in parts)))
    return path
