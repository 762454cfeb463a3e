"""Real videos with odd times: hidden frames, clock breaks, wrong headers, frames that stay long."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tests.support import broken_files
from tests.support.footage import FAST, draw, write_numbered

SMALL = (160, 120)
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov"}
HYBRID = {"movflags": "frag_keyframe"}  # the moov counts only the first fragment
STRAY_S = 9000.0
WRAP_S = 2**33 / 90_000  # after which the clock of MPEG-TS begins again


def copy_packets(
    source: Path,
    path: Path,
    options: dict[str, str] | None = None,
    start_s: float = -math.inf,
    end_s: float = math.inf,
    offset_s: float = 0.0,
    kind: str | None = None,
    strays: Collection[int] = (),
) -> Path:
    """Copy the packets of a file to another container, without coding anything.

    Only packets with a decode time in [start_s, end_s) are copied, `offset_s` later. The video
    packets with the numbers of `strays` are shown STRAY_S later still.
    """
    with av.open(str(source)) as original, av.open(str(path), "w", format=kind, options=options or {}) as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in original.streams}
        number = 0
        for packet in original.demux():
            if packet.dts is None or packet.pts is None or not start_s <= float(packet.dts * packet.time_base) < end_s:
                continue
            again: Packet[Any] = Packet(bytes(packet))
            later = round(Fraction(offset_s) / packet.time_base)
            again.pts, again.dts, again.duration = packet.pts + later, packet.dts + later, packet.duration
            if packet.stream.type == "video":
                again.pts += round(STRAY_S / packet.time_base) * (number in strays)
                number += 1
            again.time_base, again.is_keyframe = packet.time_base, packet.is_keyframe
            again.stream = streams[packet.stream.index]
            out.mux(again)
    return path


def write_joined(folder: Path, source: Path, second_offset_s: float, at_s: float = 2.0) -> Path:
    """Write a transport stream of two concatenated halves, the clock of the second one shifted."""
    parts = [
        copy_packets(source, folder / "1.ts", {"muxdelay": "0"}, end_s=at_s),
        copy_packets(source, folder / "2.ts", {"muxdelay": "0"}, start_s=at_s, offset_s=second_offset_s),
    ]
    return broken_files.join_files(folder / "joined.ts", *parts)


def write_trimmed(source: Path, path: Path, from_s: float) -> Path:
    """Write an mp4 whose edit list hides what lies before `from_s`, as editors trim recordings."""
    return copy_packets(source, path, {"avoid_negative_ts": "disabled", "use_editlist": "1"}, offset_s=-from_s)


def write_uneven(path: Path, steps: Sequence[float], codec: str = "libx264", audio: str | None = None) -> Path:
    """Write numbered frames with `steps` seconds between them."""
    times = [sum(steps[:k]) for k in range(len(steps) + 1)]
    return write_numbered(path, times_s=times, size=SMALL, codec=codec, gop=30, audio=audio)


def write_held(path: Path, num_frames: int, hold_s: float, audio: str | None = None, codec: str = "libx264") -> Path:
    """Write slides: each frame stays on screen for `hold_s` seconds."""
    times = [k * hold_s for k in range(num_frames)]
    return write_numbered(path, times_s=times, fps=Fraction(1) / Fraction(hold_s), size=SMALL, codec=codec, audio=audio)


def hold_last(source: Path, path: Path, hold_s: float) -> Path:
    """Copy the picture of an mp4, whose last frame then stays for `hold_s` seconds."""
    with av.open(str(source)) as original, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(original.streams.video[0])
        packets = [packet for packet in original.demux(video=0) if packet.size]
        last = max(packets, key=lambda packet: packet.pts or 0)
        last.duration = round(hold_s / last.time_base)
        for packet in packets:
            packet.stream = stream
            out.mux(packet)
    return path


def write_repeats(path: Path, num_frames: int, every: int, codec: str = "mjpeg") -> Path:
    """Write an AVI with a frame every `every`; its muxer writes empty packets for the others."""
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=30, options=FAST.get(codec, {}))
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = *SMALL, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for k in range(0, num_frames, every):
            frame = VideoFrame.from_ndarray(draw(k, SMALL), format="rgb24").reformat(format=video.pix_fmt)
            frame.pts, frame.time_base = k, Fraction(1, 30)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path


def write_skipped(path: Path, num_frames: int, every: int) -> Path:
    """Write MPEG-4 of which each `every`-th frame is not coded, as encoders skip a picture that has not changed."""
    whole = write_numbered(path.with_name(f"whole-{path.name}"), num_frames, size=SMALL, codec="mpeg4", gop=num_frames)
    with av.open(str(whole)) as original, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(original.streams.video[0])
        for number, packet in enumerate(p for p in original.demux() if p.size):
            is_skipped = number % every == every - 1
            again: Packet[Any] = Packet(_not_coded(bytes(packet)) if is_skipped else bytes(packet))
            again.pts, again.dts, again.duration = packet.pts, packet.dts, packet.duration
            again.time_base, again.is_keyframe, again.stream = packet.time_base, packet.is_keyframe, stream
            out.mux(again)
    return path


def _not_coded(picture: bytes) -> bytes:
    """A P picture of MPEG-4 without content: its header, with vop_coded as 0 (ISO/IEC 14496-2, 6.2.5)."""
    at = picture.index(b"\x00\x00\x01\xb6") + 4
    bits = "".join(f"{byte:08b}" for byte in picture[at : at + 8])
    seconds = bits.index("0", 2)  # modulo_time_base: a 1 per second
    coded = seconds + 1 + 1 + 5 + 1  # a marker, the time in thirtieths, a marker
    header = bits[:coded] + "0"
    header += "0" + "1" * (-len(header) % 8 - 1)
    return picture[:at] + int(header, 2).to_bytes(len(header) // 8, "big")
