"""A request to a store that is now and then too busy -> its answer, asked for in turn and again after a while."""

from __future__ import annotations

import hashlib
import os
import random
import struct
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TypeVar

from udfs.core.errors import MediaError
from udfs.core.heartbeat import beat
from udfs.core.host_files import lock, user_folder
from udfs.storage.settings import Params

T = TypeVar("T")
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 10.0  # between attempts, at most; the wait is by chance, so that a host's do not coincide
BURST_S = 1.0  # of requests that may be made at once after a pause
OTHER_BOOT_S = 3600.0  # a turn that is further off was dealt by a clock that has started anew


class BusyError(Exception):
    """A store did not answer, or not in full; it may the next time. Its text holds no address and no key."""

    def __init__(self, message: str, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.after_s = after_s  # what it asks to be left alone for


def persist(attempt: Callable[[], T], store: str, params: Params) -> T:
    """What an attempt gives, tried again for `retry_s` while it raises BusyError.

    Raises:
        MediaError: UNREACHABLE, and whatever else the attempt raises.
    """
    until = time.monotonic() + params.retry_s
    for tries in count(1):
        await_turn(store, params.requests_per_s)
        beat()
        try:
            return attempt()
        except BusyError as e:
            wait_s = e.after_s + random.uniform(0, min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(tries, 16)))
            if time.monotonic() + wait_s > until:
                raise MediaError("UNREACHABLE", f"{e}, at the last of {tries} tries") from e
            time.sleep(wait_s)
    raise AssertionError("count ends")


def await_turn(store: str, per_s: float, folder: Path | None = None) -> None:
    """Wait until one more request to a store keeps all processes of this host together below their rate; 0: no rate.

    A bucket of tokens, kept in a file as the time from which on the next one may be made.
    """
    if not per_s:
        return
    name = hashlib.blake2b(store.encode(), digest_size=8).hexdigest()
    with lock((folder or user_folder("turns")) / name) as handle:
        now, stored = time.monotonic(), os.pread(handle, 8, 0)
        taken = struct.unpack("d", stored)[0] if len(stored) == 8 else 0.0
        mine = max(taken if taken < now + OTHER_BOOT_S else 0.0, now - BURST_S)
        os.pwrite(handle, struct.pack("d", mine + 1 / per_s), 0)
    time.sleep(max(0.0, mine - now))
