"""The file in an output in which a run says what it is doing, for `status` in another process."""

from __future__ import annotations

import json
import logging
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from udfs.core.errors import MediaError, RunError
from udfs.core.host_files import boot_id
from udfs.storage import media_store
from udfs.storage.settings import Params as Sources
from udfs.storage.uris import is_remote

log = logging.getLogger("reelmill")

NAME = ".progress.json"
EVERY_S, STORE_EVERY_S = 2.0, 15.0  # between two writes to a folder, and to a store
SILENT = 6.0  # intervals without a write, after which a run on another host counts as ended
Progress = dict[str, Any]


def every_s(output: str) -> float:
    """Seconds between two writes."""
    return STORE_EVERY_S if is_remote(output) else EVERY_S


def process() -> Progress:
    """What identifies this process: its host, its number there, and when it began."""
    return {"host": _host(), "pid": os.getpid(), "pid_started": _started(os.getpid())}


def write(output: str, sources: Sources, progress: Progress) -> bool:
    """Put the file in place of the last one, whole; a run goes on where that is impossible, and False is returned."""
    try:
        with media_store.write_to(f"{output}/{NAME}", sources, f"{output}/media") as path:
            Path(path).write_text(json.dumps(progress), encoding="utf-8")
    except (OSError, MediaError, RunError) as e:
        log.debug("progress: %s", e)
        return False
    return True


def read(output: str, sources: Sources) -> Progress | None:
    """What the last run said last; None where there is no such file, or one of another release."""
    with suppress(OSError, MediaError, RunError, ValueError), media_store.open_uri(f"{output}/{NAME}", sources) as file:
        found = json.loads(file.read())
        return found if isinstance(found, dict) and {"run_id", "updated_at", "stages"} <= set(found) else None
    return None


def is_at_work(progress: Progress, now: datetime) -> bool:
    """Whether the run goes on: on this host by its process, elsewhere by how long ago it was heard of."""
    if progress.get("ended_at"):
        return False
    if progress.get("host") == _host():
        return _started(int(progress["pid"])) == str(progress.get("pid_started"))
    return silent_s(progress, now) <= SILENT * float(progress.get("every_s", EVERY_S))


def silent_s(progress: Progress, now: datetime) -> float:
    """Seconds since the run was last heard of."""
    return (now - datetime.fromisoformat(progress["updated_at"])).total_seconds()


def now_text() -> str:
    """The time in UTC, as ISO text."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _host() -> str:
    """The name of this host and the id of its present boot."""
    return f"{socket.gethostname()} {boot_id()}".rstrip()


def _started(pid: int) -> str | None:
    """When a process of this host began, in ticks since it booted; None if there is no such process.

    The number of a process that is gone may be given to another one.
    """
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return fields[19] if fields[0] not in ("Z", "X") else None
    return None
