"""Small real videos in which frame k shows the number k and second s hums note s."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]

COLUMNS, ROWS = 8, 3  # black and white blocks in the upper half: 16 bits of number, 8 check bits
COLOURS = ((200, 60, 40), (30, 90, 190), (60, 160, 60), (190, 170, 50), (120, 50, 140))
RATE_HZ = 48_000
LOWEST_HZ, STEP_HZ = 300, 100  # second s hums at LOWEST_HZ + s * STEP_HZ
FAST = {
    "libx264": {"preset": "veryfast"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "libsvtav1": {"preset": "8", "crf": "20"},  # faster presets skip blocks that did change
    "mpeg4": {"qscale": "3", "flags": "+qscale"},
}


def write_four_and_a_broken_one(folder: Path) -> Path:
    """Four numbered videos of six seconds, and the first one cut short."""
    for i in range(4):
        write_numbered(folder / f"{i}.mp4", 180, size=(640, 480), first=200 * i)
    (folder / "broken.mp4").write_bytes((folder / "0.mp4").read_bytes()[:20_000])
    return folder


def write_numbered(
    path: Path,
    num_frames: int = 60,
    fps: int | Fraction = 30,
    size: tuple[int, int] = (320, 240),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    audio: str | None = None,
    times_s: Sequence[float] | None = None,
    rotation: int = 0,
    gop: int | None = None,
    options: dict[str, str] | None = None,
    full_range: bool = False,
    first: int = 0,
    cuts: Sequence[int] = (),
) -> Path:
    """Encode a numbered video into the container of the suffix.

    `size` is width x height as coded. With `rotation` (degrees by which a player turns it,
    counter-clockwise) the numbers are upright after the turn. `times_s` are the times of the frames
    (VFR), `first` is the number of the first frame, a new scene begins at each frame of `cuts`, and
    `gop` is the distance of key frames.
    """
    times = list(times_s) if times_s is not None else [k / float(fps) for k in range(num_frames)]
    base = Fraction(1, 12_800) if times_s is not None else 1 / Fraction(fps)
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=fps, options=FAST.get(codec, {}) | (options or {}))
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt, video.thread_count = *size, pix_fmt, 1
        video.codec_context.time_base = base
        video.gop_size = gop or video.gop_size
        video.color_range = ColorRange.JPEG if full_range else ColorRange.MPEG
        if rotation:
            video.set_display_rotation(rotation)
        hum = _Hum(out, audio) if audio else None
        for k, at in enumerate(times):
            frame = _frame(draw(first + k, size, rotation, cuts), pix_fmt, full_range)
            frame.pts, frame.time_base = round(at / base), base
            out.mux(video.encode(frame))
            if hum:
                hum.until(times[k + 1] if k + 1 < len(times) else at + 1 / float(fps))
        out.mux(video.encode(None))
        if hum:
            hum.close()
    return path


def write_looped(path: Path, target: Path, times: int, *, in_front: bool = False) -> Path:
    """Repeat the packets of a video without coding anything; `in_front` puts the header first."""
    flags = {"movflags": "+faststart"} if in_front else {}
    with av.open(str(path)) as source, av.open(str(target), "w", options=flags) as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in source.streams}
        video, last = source.streams.video[0], dict[int, int]()
        length_s = Fraction(video.frames) / (video.average_rate or 1)
        for number in range(times):
            source.seek(0)
            for packet in source.demux():
                if packet.dts is None or packet.pts is None or packet.time_base is None:
                    continue
                later = int(number * length_s / packet.time_base)
                packet.dts, packet.pts, index = packet.dts + later, packet.pts + later, packet.stream.index
                if packet.dts > last.get(index, packet.dts - 1):  # the sound is longer than the picture
                    last[index], packet.stream = packet.dts, streams[index]
                    out.mux(packet)
    return target


def draw(number: int, size: tuple[int, int], rotation: int = 0, cuts: Sequence[int] = ()) -> Rgb:
    """The picture of one frame, height x width x 3: blocks above, a moving box on waves below."""
    width, height = size if rotation % 180 == 0 else size[::-1]
    scene = sum(cut <= number for cut in cuts)
    waves = np.sin((np.arange(width)[None, :] + 3 * number) / 20) + np.cos(
        (np.arange(height)[:, None] - 2 * number) / 15
    )
    image = np.array(COLOURS[scene % len(COLOURS)]) + 25 * waves[:, :, None]
    side = height // 6
    left = (7 * number) % max(1, width - side)
    image[-side - 4 : -4, left : left + side] = 255 - np.array(COLOURS[scene % len(COLOURS)])
    for at, bit in zip(_blocks(width, height), _bits(number), strict=True):
        image[at] = 235 if bit else 20
    return np.ascontiguousarray(np.rot90(image.clip(0, 255).astype(np.uint8), -rotation // 90))


def read_number(frame: VideoFrame | Rgb) -> int:
    """The number in an upright frame.

    Raises:
        ValueError: the check bits do not match: the picture is damaged, turned, or another one.
    """
    image = rgb(frame) if isinstance(frame, VideoFrame) else frame
    means = [float(_middle(image[at]).mean()) for at in _blocks(image.shape[1], image.shape[0])]
    middle = (min(means) + max(means)) / 2
    bits = [mean > middle for mean in means]
    number = sum(bit << i for i, bit in enumerate(bits[:16]))
    if bits != _bits(number):
        raise ValueError(f"no number in this picture: {bits}")
    return number


def numbers(path: Path | str) -> list[int]:
    """The numbers of all frames of a file, in display order and turned as a player turns them."""
    with av.open(str(path)) as container:
        return [read_number(np.rot90(rgb(frame), frame.rotation // 90)) for frame in container.decode(video=0)]


def rgb(frame: VideoFrame) -> Rgb:
    """A decoded frame as height x width x 3, not turned."""
    return frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)


def seconds_heard(path: Path | str, every_s: float = 0.5) -> list[int]:
    """The second whose note each `every_s` of the first audio stream carries; -1 for silence."""
    with av.open(str(path)) as container:
        resampler = AudioResampler("s16", "mono", RATE_HZ)
        pieces = [r.to_ndarray()[0] for f in container.decode(audio=0) for r in resampler.resample(f)]
    sound = np.concatenate(pieces).astype(float)
    size = int(every_s * RATE_HZ)
    return [_note(sound[i : i + size]) for i in range(0, len(sound) - size + 1, size)]


class _Hum:
    """An audio stream that is written beside the video."""

    def __init__(self, out: OutputContainer, codec: str) -> None:
        layout = "stereo" if codec == "vorbis" else "mono"  # the only layout that encoder takes
        stream = out.add_stream(codec, rate=RATE_HZ, layout=layout, options={"strict": "experimental"})
        assert isinstance(stream, AudioStream)
        stream.bit_rate = 96_000
        self.out, self.stream, self.written = out, stream, 0
        context = stream.codec_context
        context.open()
        self.resampler = AudioResampler(context.format, context.layout, RATE_HZ, frame_size=context.frame_size or None)

    def until(self, at_s: float) -> None:
        t = np.arange(self.written, round(at_s * RATE_HZ)) / RATE_HZ
        wave = np.sin(2 * np.pi * (LOWEST_HZ + STEP_HZ * np.floor(t)) * t) * 12_000
        if not t.size:
            return
        frame = AudioFrame.from_ndarray(wave.astype(np.int16)[None, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, self.written, Fraction(1, RATE_HZ)
        self.written += t.size
        for piece in self.resampler.resample(frame):
            self.out.mux(self.stream.encode(piece))

    def close(self) -> None:
        for piece in self.resampler.resample(None):
            self.out.mux(self.stream.encode(piece))
        self.out.mux(self.stream.encode(None))


def _frame(image: Rgb, pix_fmt: str, full_range: bool) -> VideoFrame:
    to = ColorRange.JPEG if full_range else ColorRange.MPEG
    return VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt, dst_color_range=to)


def _blocks(width: int, height: int) -> list[tuple[slice, slice]]:
    xs = [round(i * width / COLUMNS) for i in range(COLUMNS + 1)]
    ys = [round(i * height / 2 / ROWS) for i in range(ROWS + 1)]
    return [(slice(ys[r], ys[r + 1]), slice(xs[c], xs[c + 1])) for r in range(ROWS) for c in range(COLUMNS)]


def _bits(number: int) -> list[bool]:
    check = ~(number ^ number >> 8) & 0xFF
    return [bool((number | check << 16) >> i & 1) for i in range(COLUMNS * ROWS)]


def _middle(block: Rgb) -> Rgb:
    """A block without its edges, which coding and scaling smear."""
    h, w = block.shape[:2]
    return block[h // 4 : h - h // 4, w // 4 : w - w // 4]


def _note(sound: NDArray[np.float64]) -> int:
    if np.abs(sound).max(initial=0) < 500:
        return -1
    loudest = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))).argmax()
    return round((float(loudest) * RATE_HZ / len(sound) - LOWEST_HZ) / STEP_HZ)
