"""The result of ingesting or decoding a file in the sandbox."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from udfs import ingest
from udfs.core.errors import MediaError
from udfs.core.limits import Limits, Tally
from udfs.runtime import sandbox
from udfs.runtime.batching import Env, Row
from udfs.video import container, decode

SMALL = (160, 120)


def probed_row(path: Path | str, limits: Limits | None = None, memory_mb: int = 1024) -> Row:
    """The row of table `videos` for a file, probed in the sandbox."""
    env = Env(media_root="unused", fingerprint="0" * 16, limits=limits or Limits())
    (row,) = sandbox.call(ingest.facts, {"uri": str(path), "attributes": None}, env, timeout_s=20, memory_mb=memory_mb)
    assert isinstance(row, dict)
    return row


def code_of(path: Path | str, limits: Limits | None = None, memory_mb: int = 1024) -> str | None:
    """The error code that ingesting a file gives; None if it succeeds."""
    try:
        probed_row(path, limits, memory_mb)
    except MediaError as e:
        return e.code
    return None


def decode_tally(path: Path) -> Tally:
    """The tally of decoding a whole file in the sandbox."""
    tally = sandbox.call(_decode, str(path), timeout_s=60, memory_mb=1024)
    assert isinstance(tally, Tally)
    return tally


def call_here(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in this process, where a stage would call it in the sandbox."""
    return function(*args)


def _decode(path: str) -> Tally:
    with container.open_video(path, Limits()) as video:
        for _ in decode.frames(video):
            pass
        return video.tally
