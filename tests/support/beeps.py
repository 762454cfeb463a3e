"""Videos that beep once per second, each time at another pitch, and where a file beeps."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

Wave = NDArray[np.float64]

SIZE, FPS = (64, 48), 25
BEEP_S, OFFSET_S = 0.08, 0.3  # length of a beep, and its start within its second
LOWEST_HZ, STEP_HZ = 500, 150
DECODED_HZ = 48_000
WINDOW_S = 0.002
PICTURES = {
    "webm": "libvpx",
    "ogv": "libvpx",
    "mpg": "mpeg2video",
    "avi": "mpeg4",
    "flv": "flv",
    "wmv": "wmv2",
    "3gp": "mpeg4",
}


@dataclass(frozen=True)
class Sound:
    """How the sound of a video is coded."""

    codec: str = "aac"
    rate: int = 48_000
    layout: str = "mono"
    bit_rate: int | None = None


def wave(length_s: float, rate: int, first: int = 0) -> Wave:
    """Samples of `length_s` seconds of beeps, the first of which has the number `first`."""
    t = np.arange(round(length_s * rate)) / rate
    second, within = np.floor(t), t % 1
    pitch = LOWEST_HZ + STEP_HZ * (second + first)
    shape = np.clip(np.minimum(within - OFFSET_S, OFFSET_S + BEEP_S - within) / 0.005, 0, 1)  # without a click
    return np.asarray(0.5 * shape * np.sin(2 * np.pi * pitch * within))


def write(
    path: Path,
    sound: Sound | tuple[Sound, ...] = Sound(),
    length_s: float = 10,
    options: dict[str, str] | None = None,
    first: int = 0,
    start_s: float = 0,
    late_s: float = 0,
    default: int | None = None,
    languages: Sequence[str] = (),
) -> Path:
    """Encode gray pictures and beeps into the container of the suffix.

    Several sounds become tracks. Both begin at `start_s` on the clock of the file. The sound begins
    `late_s` later, but its beeps do not move. `first` is the number of the first second.
    """
    sounds = sound if isinstance(sound, tuple) else (sound,)
    with av.open(str(path), "w", options=options or {}) as out:
        picture = _picture(out, PICTURES.get(path.suffix[1:], "libx264"))
        tracks = [_track(out, each) for each in sounds]
        for number, (track, language) in enumerate(zip(tracks, languages, strict=False)):
            track.stream.metadata["language"] = language
            track.stream.disposition = Disposition.default if number == default else Disposition(0)
        waves = [wave(length_s, each.rate, first) for each in sounds]
        for number in range(round(length_s * FPS)):
            frame = VideoFrame.from_ndarray(np.full((SIZE[1], SIZE[0], 3), 40 + number % 100, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number + round(start_s * FPS), Fraction(1, FPS)
            out.mux(picture.encode(frame.reformat(format="yuv420p")))
            for track, each, samples in zip(tracks, sounds, waves, strict=True):
                span = slice(*(round(n / FPS * each.rate) for n in (number, number + 1)))
                if number / FPS >= late_s:
                    _encode(out, track, samples[span], span.start + round(start_s * each.rate))
        out.mux(picture.encode(None))
        for track in tracks:
            for piece in track.resampler.resample(None):
                out.mux(track.stream.encode(piece))
            out.mux(track.stream.encode(None))
    return path


@dataclass
class _Track:
    stream: AudioStream
    resampler: AudioResampler
    layout: str


def _picture(out: OutputContainer, codec: str) -> VideoStream:
    stream = cast(
        VideoStream, out.add_stream(codec, rate=FPS, options={"preset": "ultrafast"} if codec == "libx264" else {})
    )
    stream.width, stream.height, stream.pix_fmt, stream.gop_size = *SIZE, "yuv420p", FPS
    stream.codec_context.thread_count, stream.codec_context.time_base = 1, Fraction(1, FPS)
    return stream


def _track(out: OutputContainer, sound: Sound) -> _Track:
    stream = cast(
        AudioStream,
        out.add_stream(sound.codec, rate=sound.rate, layout=sound.layout, options={"strict": "experimental"}),
    )
    if sound.bit_rate:
        stream.bit_rate = sound.bit_rate
    context = stream.codec_context
    context.open()
    return _Track(
        stream,
        AudioResampler(context.format, context.layout, sound.rate, frame_size=context.frame_size or None),
        sound.layout,
    )


def _encode(out: OutputContainer, track: _Track, samples: Wave, at: int) -> None:
    rate = track.stream.codec_context.sample_rate
    frame = AudioFrame.from_ndarray((samples * 32_000).astype(np.int16)[None, :], format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
    for piece in track.resampler.resample(frame):
        out.mux(track.stream.encode(piece))


def beeps(path: Path | str, track: int = 0) -> dict[int, float]:
    """The middle of each beep of a file by its number, in seconds after the first shown picture.

    PyAV alone decodes the whole file; the time of each decoded frame places its samples.
    """
    with av.open(str(path)) as container:
        zero_s = min(_time(frame) for frame in _first_pictures(container))
    with av.open(str(path)) as container:
        stream = container.streams.audio[track]
        samples = placed_samples(_frames(container, stream), zero_s)
    return beep_middles(samples)


def picture_times(path: Path | str) -> list[float]:
    """When each picture is shown, in seconds after the first."""
    with av.open(str(path)) as container:
        times = sorted(frame.time for frame in container.decode(video=0) if frame.time is not None)
    return [time - times[0] for time in times]


def placed_samples(frames: Iterator[AudioFrame], zero_s: float) -> Wave:
    """The samples of frames in one channel, each at its own time."""
    parts: list[tuple[float, Wave]] = []
    end_s: float | None = None
    for frame in frames:
        start_s = frame.time if frame.time is not None else end_s
        if start_s is None:
            continue
        mono = AudioResampler("dbl", "mono", DECODED_HZ)
        pieces = [p.to_ndarray()[0] for p in (*mono.resample(frame), *mono.resample(None))]
        parts.append((start_s - zero_s, np.concatenate(pieces)))
        end_s = start_s + frame.samples / frame.sample_rate
    whole = np.zeros(round(max((at + len(part) / DECODED_HZ for at, part in parts), default=0) * DECODED_HZ) + 1)
    for at, part in parts:
        first = round(at * DECODED_HZ)
        kept = part[max(0, -first) :]
        whole[max(0, first) : max(0, first) + len(kept)] = kept[: len(whole) - max(0, first)]
    return whole


def beep_middles(samples: Wave) -> dict[int, float]:
    """The middle of each whole beep by its number, in seconds."""
    size = round(WINDOW_S * DECODED_HZ)
    windows = samples[: len(samples) // size * size].reshape(-1, size)
    loud = np.sqrt((windows**2).mean(axis=1)) > 0.08
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(int), [0]])))
    middles: dict[int, float] = {}
    for start, end in _loud_intervals(edges.reshape(-1, 2)):
        if abs((end - start) * WINDOW_S - BEEP_S) < 0.03:
            middles[_number(samples[start * size : end * size])] = (start + end) / 2 * WINDOW_S
    return middles


def _loud_intervals(edges: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Loud intervals; those less than 20 ms apart count as one."""
    start = end = -1
    for first, last in edges:
        if start >= 0 and (first - end) * WINDOW_S < 0.02:
            end = int(last)
            continue
        if start >= 0:
            yield start, end
        start, end = int(first), int(last)
    if start >= 0:
        yield start, end


def _number(beep: Wave) -> int:
    spectrum = np.abs(np.fft.rfft(beep * np.hanning(len(beep)), 1 << 15))
    return round((float(spectrum.argmax()) * DECODED_HZ / (1 << 15) - LOWEST_HZ) / STEP_HZ)


def _first_pictures(container: InputContainer) -> Iterator[VideoFrame]:
    for number, frame in enumerate(container.decode(video=0)):
        if number == 5:
            return
        yield frame


def _time(frame: VideoFrame) -> float:
    return float("inf") if frame.time is None else frame.time


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    context = stream.codec_context
    context.layout = {1: "mono", 2: "stereo"}.get(context.channels, f"{context.channels} channels")
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.FFmpegError:
            continue


def rewrite_sound(
    path: Path, target: Path, change: Callable[[list[Packet[Any]]], list[Packet[Any]]], **options: str
) -> Path:
    """Copy the packets of a file to another, those of its sound as `change` returns them."""
    with av.open(str(path)) as source, av.open(str(target), "w", options=options) as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in source.streams}
        packets = [packet for packet in source.demux() if packet.size]
        sound = change([packet for packet in packets if packet.stream.type == "audio"])
        picture = [packet for packet in packets if packet.stream.type == "video"]
        for packet in heapq.merge(picture, sound, key=lambda p: float((p.dts or 0) * p.time_base)):
            packet.stream = streams[packet.stream.index]
            out.mux(packet)
    return target


def merge_packets(packets: list[Packet[Any]], at_once: int) -> list[Packet[Any]]:
    """The packets, each `at_once` of them merged into one."""
    merged = []
    for start in range(0, len(packets), at_once):
        some = packets[start : start + at_once]
        packet = Packet(b"".join(bytes(p) for p in some))
        packet.stream, packet.time_base = some[0].stream, some[0].time_base
        packet.pts, packet.dts, packet.duration = some[0].pts, some[0].dts, sum(p.duration or 0 for p in some)
        merged.append(packet)
    return merged


def shift_cues(path: Path, by_ms: int) -> Path:
    """Change the index of a Matroska file so that it states earlier times for its clusters."""
    data = bytearray(path.read_bytes())
    at = data.index(b"\x1c\x53\xbb\x6b", len(data) // 2)
    while (at := data.find(b"\xbb", at + 1)) >= 0:
        if data[at + 2] == 0xB3:
            size = data[at + 3] & 0x0F
            place = slice(at + 4, at + 4 + size)
            data[place] = max(0, int.from_bytes(data[place]) - by_ms).to_bytes(size)
    path.write_bytes(data)
    return path
