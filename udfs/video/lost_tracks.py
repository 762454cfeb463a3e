"""Picture or sound of a transport stream that goes on in a track of another id (PID), as in two broadcasts in one file.

FFmpeg makes a new track of it, which begins where the demuxer meets it, and PyAV gives none of its
packets.
"""

from __future__ import annotations

import io

import av
import av.error
import numpy as np

from udfs.audio import soundtrack
from udfs.demux.demuxer import Video
from udfs.storage.remote_file import AnyPath, read_range

# A hole in the picture is looked into if it has so many bytes, and this share of the file's; and how far.
MIN_HOLE_BYTES, MIN_HOLE_SHARE, PART_BYTES = 1 << 16, 0.001, 8 << 20
MB = 1_000_000
# Samples of the file, in which the ids of sound are looked up.
NUM_SAMPLES, MIN_SAMPLE_BYTES, MAX_SAMPLE_BYTES = 16, 1 << 16, 1 << 19
# Bytes per packet: ISO/IEC 13818-1, with the time stamps of Blu-ray discs, with the check bytes of DVB.
PACKET_SIZES, SYNC = (188, 192, 204), 0x47


def warning(path: AnyPath, num_bytes: int, hole: tuple[int, int], video: Video) -> str | None:
    """What is lost of a file with this hole (bytes from, to) in its picture; None if nothing is known to be."""
    if video.container.format.name != "mpegts":
        return None
    lost = (_lost_picture(path, num_bytes, hole, video), _lost_sound(path, num_bytes, video))
    return "; ".join(filter(None, lost)) or None


def _lost_picture(path: AnyPath, num_bytes: int, hole: tuple[int, int], video: Video) -> str | None:
    begin, end = hole
    if end - begin < max(MIN_HOLE_BYTES, MIN_HOLE_SHARE * num_bytes):
        return None
    part = read_range(path, begin, min(end - begin, PART_BYTES))
    ids = [n for n in _filled_tracks(part, "video") if n != video.stream.id]
    if not ids:
        return None
    lost = f"{(end - begin) / MB:.1f} of {num_bytes / MB:.1f} MB"
    return f"{lost} are in no clip: there the picture has the PID {ids[0]:#x} in place of {video.stream.id:#x}"


def _lost_sound(path: AnyPath, num_bytes: int, video: Video) -> str | None:
    """Found by samples of the file that hold the picture, and sound in another track than the one that clips take."""
    track = soundtrack.choose_track(video.container, video.stream)
    num_sample_bytes = max(MIN_SAMPLE_BYTES, min(MAX_SAMPLE_BYTES, num_bytes // NUM_SAMPLES))
    begins = np.linspace(0, max(0, num_bytes - num_sample_bytes), NUM_SAMPLES).astype(int).tolist()
    samples = [read_range(path, begin, num_sample_bytes) for begin in begins]
    ids_of_samples = [_packet_ids(sample) for sample in samples]
    silent = set() if track else ids_of_samples[0]  # of a file without sound at its beginning, what is there
    found = list[int]()
    for sample, ids in zip(samples, ids_of_samples, strict=True):
        if video.stream.id in ids and ids - silent and not (track and track.id in ids):
            found += _filled_tracks(sample, "audio")[:1]
    if not found:
        return None
    before = f"in place of {track.id:#x}" if track else "and at the beginning there is none"
    where = f"in {len(found)} of {NUM_SAMPLES} samples of the file"
    return f"the sound is not in all clips: {where} it has the PID {found[0]:#x} {before}"


def _packet_ids(sample: bytes) -> set[int]:
    """The ids of the packets of a part of a transport stream; none if it is none."""
    data = np.frombuffer(sample, np.uint8)
    for size in PACKET_SIZES:
        num = len(data) // size - 1
        begins = [first for first in range(size) if (data[first : first + num * size : size] == SYNC).all()]
        if num > 0 and begins:
            rows = data[begins[0] : begins[0] + num * size].reshape(num, size).astype(np.int64)
            return {*np.unique((rows[:, 1] & 0x1F) << 8 | rows[:, 2]).tolist()}
    return set()


def _filled_tracks(part: bytes, kind: str) -> list[int]:
    """The ids of the tracks of a kind of which a part of a transport stream has packets."""
    try:
        with av.open(io.BytesIO(part), format="mpegts", container_options={"protocol_whitelist": "none"}) as container:
            if kind == "video":
                return [stream.id for stream in container.streams.video if stream.width]
            return [stream.id for stream in container.streams.audio if soundtrack.has_decoder(stream) and stream.rate]
    except (av.error.FFmpegError, ValueError):
        return []
