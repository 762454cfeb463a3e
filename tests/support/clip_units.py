"""Cut clips out of test videos by the stage's own code, and read their frames, samples and signals."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from PIL import Image

from tests.support import clips
from tests.support.footage import Rgb, draw
from udfs import analyze, clip
from udfs.clip import Params
from udfs.core.limits import Limits
from udfs.runtime.context import Env, Row
from udfs.storage import access
from udfs.video import container, encoder_options, mp4_writer

Frames = tuple[int, int]  # first, and the one after the last


def unit(path: Path, *spans: Frames, **changed: Any) -> Row:
    """The work of cutting spans, given in frames, out of a file; a clip is called after its span."""
    facts = container.probe(str(path), Limits())
    fps = facts["framerate"]
    cuts = [
        {"clip_id": f"{first}-{end}", "start_s": first / fps, "end_s": end / fps, "num_frames": end - first}
        for first, end in spans
    ]
    return (
        facts
        | {"video_id": "v", "uri": str(path), "source_version": access.version(str(path)), "spans": cuts}
        | changed
    )


def only_clip(row: Row, env: Env, **settings: Any) -> Row:
    """The only clip of a unit."""
    (made,) = clip.cut_unit(row, Params(**settings), env)
    return made


def failure_codes(rows: list[Row]) -> list[str | None]:
    return [row.get("failed_code") for row in rows]


def samples_48khz(path: Path | str) -> NDArray[np.float64]:
    """The samples of the first audio stream at 48 kHz, in one channel, from the first shown frame on."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        first_s = float((video.start_time or 0) * (video.time_base or 0))
        resampler = AudioResampler("s16", "mono", 48_000)
        frames = [piece for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
    assert frames[0].time is not None
    late = round((frames[0].time - first_s) * 48_000)
    samples = np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(float)
    return np.concatenate([np.zeros(max(0, late)), samples[max(0, -late) :]])


def overwrite_packets(path: Path, stream: str, share: slice, keep: int) -> Path:
    """Replace some packets of a stream by noise, but for their first bytes."""
    with av.open(str(path)) as container:
        found = [p for p in container.demux(next(s for s in container.streams if s.type == stream)) if p.size and p.pos]
        places = [(packet.pos or 0, packet.size) for packet in found[share]]
    noise = np.random.default_rng(0)
    with path.open("r+b") as f:
        for at, size in places:
            f.seek(at + min(keep, size))
            f.write(noise.bytes(max(0, size - keep)))
    return path


def delay_s(whole: NDArray[np.float64], start_s: float, part: NDArray[np.float64]) -> float:
    """How much later than it should the sound of a part comes."""
    most = 4800  # samples: it is looked for 0.1 s on either side
    middle = part[most : 48_000 + most]
    start = round(start_s * 48_000)
    around = whole[start : start + 48_000 + 2 * most]
    return (most - float(np.argmax(np.correlate(around, middle, "valid")))) / 48_000


def whole_clip(path: Path, folder: Path, **settings: Any) -> Row:
    """The row of the only clip of a whole file."""
    facts = container.probe(str(path), Limits())
    span = {"clip_id": path.name.replace(".", "_"), "start_s": 0.0, "end_s": facts["duration_s"], "start_frame": None}
    unit = facts | {"video_id": "v", "uri": str(path), "source_version": access.version(str(path))}
    (row,) = clip.cut_unit(unit | {"spans": [span | {"end_frame": None}]}, Params(**settings), clips.env(folder))
    return row


def decoded_frames(uri: str) -> list[VideoFrame]:
    with av.open(uri) as container:
        return list(container.decode(video=0))


def sample_aspect(uri: str) -> Fraction | None:
    with av.open(uri) as container:
        return container.streams.video[0].sample_aspect_ratio


def signals_of(made: Row, folder: Path) -> Row:
    (row,) = analyze.measure_clip(made, analyze.Settings(), clips.env(folder))
    return row


def preview_picture(row: Row) -> Rgb:
    with Image.open(row["previews"][0]["uri"]) as image:
        return np.asarray(image.convert("RGB"))


def write_frames(
    path: Path,
    params: encoder_options.Params,
    times_s: list[float],
    fps: Fraction = Fraction(30),
    end_s: float = 0.0,
    bit_rate_k: int | None = None,
) -> Path:
    """Encode numbered pictures that are shown at the given times."""
    pictures = [VideoFrame.from_ndarray(draw(k, (320, 240)), format="rgb24") for k in range(len(times_s))]
    writer = mp4_writer.Writer(str(path), params, pictures[0], fps, bit_rate_k)
    for at_s, picture in zip(times_s, pictures, strict=True):
        writer.add(at_s, picture)
    writer.close(end_s)
    return path


def frame_times(path: Path) -> list[float | None]:
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]
