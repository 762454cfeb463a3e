"""A stretch of a file's sound -> packets for an mp4: copied where it may hold the codec, encoded as AAC where not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice

import av.error
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.filter.graph import Graph
from av.packet import Packet

from udfs.media import Video

COPYABLE = {"aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"}
AAC_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
RUN_UP_S = 0.5  # read before the stretch, for decoders that need what came before
TRIALS = 5  # packets that are decoded to tell whether a stream can be


@dataclass(frozen=True)
class Stretch:
    """Where the sound of a clip lies, in seconds on the clock of its container."""

    start_s: float
    end_s: float


def packets(source: Video, stretch: Stretch, out: OutputContainer) -> Iterator[Packet[AudioStream]] | None:
    """Add a stream to `out` and give its packets, whose time 0 is the start of the stretch; None if there is no sound.

    A copied stretch begins with a packet from before it, which a player decodes and does not play.

    Raises:
        FFmpegError: the sound is damaged.
    """
    stream = next((s for s in source.container.streams.audio if _has_decoder(s)), None)
    if stream is None:
        return None
    start = max(0.0, stretch.start_s - RUN_UP_S)
    with suppress(av.error.FFmpegError):  # without an index, from the beginning
        source.container.seek(int(start * av.time_base), backward=True)
    found = _until(stretch.end_s, source, stream)
    if stream.codec_context.codec.canonical_name in COPYABLE:
        return _copied(found, stream, stretch, out)
    return _encoded(found, stream, stretch, out)


def _has_decoder(stream: AudioStream) -> bool:
    context: object | None = stream.codec_context  # None without one, whatever the type says
    return context is not None


def _until(end_s: float, source: Video, stream: AudioStream) -> Iterator[Packet[AudioStream]]:
    for packet in _demuxed(source, stream):
        if packet.pts is None or not packet.size:
            continue
        if _time(packet) >= end_s:
            return
        yield packet


def _demuxed(source: Video, stream: AudioStream) -> Iterator[Packet[AudioStream]]:
    with suppress(av.error.FFmpegError):  # where the file cannot be read on, its sound ends
        while True:
            with suppress(IndexError):  # PyAV's answer to another stream that begins midway
                yield from source.container.demux(stream)
                return


def _time(packet: Packet[AudioStream], after: int = 0) -> float:
    return float(((packet.pts or 0) + after) * packet.time_base)


def _copied(
    found: Iterator[Packet[AudioStream]], stream: AudioStream, stretch: Stretch, out: OutputContainer
) -> Iterator[Packet[AudioStream]] | None:
    wanted = _with_one_before(found, stretch.start_s)
    trial = list(islice(wanted, TRIALS))
    if not any(_decodes(packet) for packet in trial):
        return None
    copy = out.add_stream_from_template(stream)
    return (_moved(packet, copy, stretch.start_s) for packet in chain(trial, wanted))


def _with_one_before(found: Iterator[Packet[AudioStream]], start_s: float) -> Iterator[Packet[AudioStream]]:
    """The packets that sound at or after a time, behind the last one that does not."""
    before: Packet[AudioStream] | None = None
    for packet in found:
        if _time(packet, after=packet.duration or 1) > start_s:
            if before is not None:
                yield before
                before = None
            yield packet
        else:
            before = packet


def _decodes(packet: Packet[AudioStream]) -> bool:
    try:
        packet.decode()
    except av.error.FFmpegError:
        return False
    return True


def _moved(packet: Packet[AudioStream], stream: AudioStream, start_s: float) -> Packet[AudioStream]:
    packet.pts = packet.dts = (packet.pts or 0) - round(start_s / packet.time_base)
    packet.stream = stream
    return packet


def _encoded(
    found: Iterator[Packet[AudioStream]], stream: AudioStream, stretch: Stretch, out: OutputContainer
) -> Iterator[Packet[AudioStream]] | None:
    decoded = _decoded(found)
    first = next(decoded, None)
    if first is None:
        return None
    rate = min(AAC_RATES_HZ, key=lambda hz: (abs(hz - first.sample_rate), -hz))
    layout = "stereo" if first.layout.nb_channels > 1 else "mono"
    encoder = out.add_stream("aac", rate=rate, layout=layout)
    return _encoding(chain([first], decoded), encoder, _trim(first, rate, layout, stretch))


def _decoded(found: Iterator[Packet[AudioStream]]) -> Iterator[AudioFrame]:
    for packet in found:
        try:
            yield from packet.decode()
        except av.error.FFmpegError:  # a damaged packet becomes silence
            continue


def _encoding(decoded: Iterator[AudioFrame], encoder: AudioStream, trim: Graph) -> Iterator[Packet[AudioStream]]:
    for frame in chain(decoded, [None]):
        trim.push(frame)
        for piece in _pulled(trim):
            yield from encoder.encode(piece)
    yield from encoder.encode(None)


def _pulled(graph: Graph) -> Iterator[AudioFrame]:
    while True:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        assert isinstance(frame, AudioFrame)
        yield frame


def _trim(first: AudioFrame, rate: int, layout: str, stretch: Stretch) -> Graph:
    """Frames like `first` -> exactly the samples of the stretch: gaps are filled with silence, the first sample is at 0."""
    graph = Graph()
    start, end = round(stretch.start_s * rate), round(stretch.end_s * rate)
    base = first.time_base or Fraction(1, first.sample_rate)
    source = graph.add_abuffer(format=first.format.name, sample_rate=first.sample_rate, layout=first.layout.name, time_base=base)
    nodes = [
        source,
        graph.add("aformat", f"sample_fmts=fltp:sample_rates={rate}:channel_layouts={layout}"),
        graph.add("aresample", f"async=1:first_pts={start}"),
        graph.add("atrim", f"start_pts={start}:end_pts={end}"),
        graph.add("asetpts", "PTS-STARTPTS"),
        graph.add("asetnsamples", "n=1024:p=0"),
        graph.add("abuffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    return graph
