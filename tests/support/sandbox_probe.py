"""The result of ingesting or decoding a file in the sandbox."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av

from tests.support.footage import read_number
from udfs import ingest
from udfs.core.errors import MediaError
from udfs.core.limits import Limits, Tally
from udfs.runtime import sandbox
from udfs.runtime.context import Env, Row
from udfs.storage.remote_file import RemotePath, Stat
from udfs.video import container, decode

SMALL = (160, 120)


def probed_row(path: Path | str, limits: Limits | None = None, memory_mb: int = 1024) -> Row:
    """The row of table `videos` for a file, probed in the sandbox."""
    env = Env(media_root="unused", fingerprint="0" * 16, limits=limits or Limits())
    (row,) = sandbox.call(ingest.facts, {"uri": str(path), "attributes": None}, env, timeout_s=20, memory_mb=memory_mb)
    assert isinstance(row, dict)
    return row


def probe(path: Path) -> Row:
    """The facts of a file, probed in this process."""
    return container.probe(str(path), Limits())


def frame_times_s(path: Path) -> list[float]:
    """When each frame is shown, by PyAV's own decode of the whole file, in seconds after the first one."""
    with av.open(str(path)) as file:
        stamps = [frame.time for frame in file.decode(video=0) if frame.time is not None]
    return [at - stamps[0] for at in stamps]


def code_of(path: Path | str, limits: Limits | None = None, memory_mb: int = 1024) -> str | None:
    """The error code that ingesting a file gives; None if it succeeds."""
    try:
        probed_row(path, limits, memory_mb)
    except MediaError as e:
        return e.code
    return None


def decode_tally(path: Path) -> Tally:
    """The tally of decoding a whole file in the sandbox."""
    return Tally(*sandbox.call(_decode, str(path), timeout_s=60, memory_mb=1024))


def call_here(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in this process, where a stage would call it in the sandbox."""
    return function(*args)


def _decode(path: str) -> tuple[int, int, int]:
    with container.open_video(path, Limits()) as video:
        for _ in decode.frames(video):
            pass
        return video.tally.frames, video.tally.corrupt, video.tally.errors


class RemoteCopy:
    """A file that is read as if it lay on another machine; counts the bytes that are fetched."""

    def __init__(self, path: Path) -> None:
        self.data, self.num_bytes = path.read_bytes(), 0
        self.path = RemotePath(f"s3://bucket/{path}", Stat(len(self.data), "1"), self.fetch)

    def fetch(self, uri: str, start: int, end: int, version: str) -> bytes:
        self.num_bytes += end - start
        return self.data[start:end]


def timed_numbers(path: Path, start_s: float = 0.0, end_s: float = 1e9) -> list[tuple[float, int]]:
    """The time in s and the number of each frame shown in [start_s, end_s)."""
    with container.open_video(str(path), Limits()) as video:
        return [(at, read_number(frame)) for at, frame in decode.frames(video, start_s, end_s)]
