"""A file -> what ingest or a decoder in the sandbox makes of it."""

from __future__ import annotations

from pathlib import Path

from udfs import ingest
from udfs.core.errors import MediaError
from udfs.core.limits import Limits, Tally
from udfs.runtime import sandbox
from udfs.runtime.context import Env, Row
from udfs.video import container, decode

SMALL = (160, 120)


def look(path: Path | str, limits: Limits | None = None, memory_mb: int = 1024) -> Row:
    """The facts of a file, found out in the sandbox."""
    env = Env(media_root="unused", fingerprint="0" * 16, limits=limits or Limits())
    (row,) = sandbox.call(ingest.facts, {"uri": str(path), "attributes": None}, env, timeout_s=20, memory_mb=memory_mb)
    assert isinstance(row, dict)
    return row


def code_of(path: Path | str, limits: Limits | None = None, memory_mb: int = 1024) -> str | None:
    """The code that a file fails with, None if it does not."""
    try:
        look(path, limits, memory_mb)
    except MediaError as e:
        return e.code
    return None


def decoded(path: Path) -> Tally:
    """What a decode of a whole file met, in the sandbox."""
    tally = sandbox.call(_decode, str(path), timeout_s=60, memory_mb=1024)
    assert isinstance(tally, Tally)
    return tally


def _decode(path: str) -> Tally:
    with container.open_video(path, Limits()) as video:
        for _ in decode.frames(video):
            pass
        return video.tally
