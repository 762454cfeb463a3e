"""Remember for all processes of this machine which hosts are down: they are asked once a minute, not for every file."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from udfs.core.errors import MediaError
from udfs.core.host_files import boot_id, lock, user_folder

FILES = 3  # so many files in a row must have failed: one that is slow is not the fault of its host
PROBE_S = 60.0  # between requests to a host that is down
FORGET_S = 600.0  # without a request, after which a host is taken to be up
NO_FAILURE: dict[str, Any] = {"since": 0.0, "last": 0.0, "files": [], "probe": 0.0, "down": False, "boot": ""}


def must_be_probe(host: str) -> bool:
    """Whether the next request is the one by which a host that is down is tried again; False for a host that is up.

    Raises:
        MediaError: UNREACHABLE, if it is down and was tried within the last minute.
    """
    path = _path(host)
    try:
        noted = _read(path.read_bytes())  # without the lock, which each of many requests would wait for
    except FileNotFoundError:
        return False
    if not noted["down"]:
        return False
    with _state(path) as state:
        now = time.monotonic()
        if state["down"] and now < state["probe"]:
            raise MediaError("UNREACHABLE", f"{host} does not answer; it is asked once a minute")
        state["probe"] = now + PROBE_S
        return bool(state["down"])


def note_failure(host: str, file: str, patience_s: float) -> bool:
    """Note that a host did not answer when asked for a file; whether it is down.

    It is once FILES files have failed in a row, and none has succeeded for `patience_s`.
    """
    name = hashlib.blake2b(file.encode(errors="surrogateescape"), digest_size=8).hexdigest()
    with _state(_path(host)) as state:
        now = time.monotonic()
        if not state["files"]:
            state["since"] = now
        state["last"] = now
        state["files"] = list(dict.fromkeys([*state["files"], name]))[:FILES]
        if len(state["files"]) == FILES and now - state["since"] >= patience_s:
            state["down"] = True
            state["probe"] = max(state["probe"], now + PROBE_S)
        return bool(state["down"])


def note_answer(host: str) -> None:
    """Note that a host answered."""
    path = _path(host)
    with suppress(FileNotFoundError):
        if path.stat().st_size:
            with _state(path) as state:
                state.update(NO_FAILURE)


def _path(host: str) -> Path:
    return user_folder("hosts") / hashlib.blake2b(host.encode(), digest_size=16).hexdigest()


def _read(content: bytes) -> dict[str, Any]:
    try:
        state = NO_FAILURE | json.loads(content)
    except ValueError:  # empty, or half written by a process that was killed
        return dict(NO_FAILURE)
    # Long ago, or by the clock from before the machine started again.
    is_old = state["boot"] != boot_id() or not 0 <= time.monotonic() - state["last"] < FORGET_S
    return dict(NO_FAILURE) if is_old else state


@contextmanager
def _state(path: Path) -> Iterator[dict[str, Any]]:
    """The state of a host, which is stored again at the end, and which no other process changes meanwhile."""
    with lock(path) as handle:
        state = _read(os.pread(handle, 4096, 0))
        try:
            yield state
        finally:
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(state | {"boot": boot_id()}).encode() if state["files"] else b"", 0)
