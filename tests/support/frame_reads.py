"""The frames of a file as stages read them: the export of frames, embed, caption, and split by TransNet V2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support.sandbox_probe import call_here
from udfs import caption, embed, split
from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.core.task_resources import Resources
from udfs.exports import frames
from udfs.frames import extract, windows
from udfs.runtime.context import Env, Outputs, Row
from udfs.runtime.inference import Call
from udfs.storage import access
from udfs.video import container
from udfs.video.nvdec import Hwaccel

Arrays = list[NDArray[Any]]
Read = Callable[
    [Path, Hwaccel, Path, Call], Arrays
]  # a file, where to decode it, a folder to write to, and the sandbox

ENV = Env(media_root="unused", fingerprint="0123456789abcdef")
VIDEO_ID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
STEP_PX = 28


def row(path: Path) -> Row:
    """The columns of `videos` and of `clips` by which the stages read a file."""
    named = {"clip_id": path.stem, "video_id": VIDEO_ID, "key": path.stem, "uri": str(path), "shown_uri": path.name}
    version = access.version(str(path))
    given = {"source_version": version, "version": version, "is_source": False, "fingerprint": "f" * 16}
    return container.probe(str(path), Limits()) | named | given


def exported(path: Path, hwaccel: Hwaccel, work: Path, call: Call) -> Arrays:
    """What the export of frames writes, and the times that it lists."""
    params, to = frames.Params(fps=(5.0,), encoding="npz", hwaccel=hwaccel), work / hwaccel
    outputs = Outputs(str(to), str(work / "aside"))
    call(frames.write, row(path), params, replace(ENV, outputs=outputs), outputs.root, outputs.unfinished)
    with np.load(to / path.stem / "5fps" / "frames.npz") as written:
        return [written["times_s"], written["frames"]]


def embedded(path: Path, hwaccel: Hwaccel, work: Path, call: Call) -> Arrays:
    """What an embedding model sees, with the number of distinct frames."""
    ((distinct, pictures),) = embed.prepare(row(path), call, 8, extract.short_side(64), ENV, hwaccel)
    return [np.array(distinct), pictures]


def captioned(path: Path, hwaccel: Hwaccel, work: Path, call: Call) -> Arrays:
    """What a captioning model sees of each window."""
    chosen = caption.Params(hwaccel=hwaccel, resources=Resources(gpus=1.0))
    params = caption.Settings(chosen, windows.Params(window_size=32, remainder_threshold=16))
    requests = caption.prepare(row(path), call, params, STEP_PX, ENV)
    return [request.video.pictures for request in requests if request.video]


def split_by_network(path: Path, hwaccel: Hwaccel, work: Path, call: Call) -> Arrays:
    """What TransNet V2 sees: the times and the pictures of each window."""
    seen = split.transnet_windows(row(path), call, ENV, hwaccel)
    return [array for window in seen for array in (window.times, window.pictures)]


READS: dict[str, Read] = {
    "frames": exported,
    "embed": embedded,
    "caption": captioned,
    "split": split_by_network,
}


def outcome(stage: str, path: Path, hwaccel: Hwaccel, work: Path) -> list[bytes] | str:
    """The frames that a stage reads in this process, or why it reads none."""
    try:
        return [array.tobytes() for array in READS[stage](path, hwaccel, work, call_here)]
    except MediaError as e:
        return str(e)
