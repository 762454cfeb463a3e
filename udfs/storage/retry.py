"""Retries of requests to a busy store with growing waits, and a request rate per host and store."""

from __future__ import annotations

import hashlib
import os
import random
import struct
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import NamedTuple, TypeVar

from udfs.core.errors import MediaError
from udfs.core.heartbeat import beat
from udfs.core.host_files import boot_id, lock, user_folder
from udfs.storage import breaker
from udfs.storage.settings import Params

T = TypeVar("T")
# Between attempts, at most. The wait itself is random, so that the processes of a host do not all
# repeat at the same time.
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 10.0
BURST_S = 1.0  # a pause allows as many requests at once as this many seconds would
TURN = struct.Struct("d36s")  # the time from which a request is allowed, and the boot by whose clock it is
OTHER_BOOT_S = 3600.0  # a stored time further ahead is from before a reboot; for a kernel that states no boot


class BusyError(Exception):
    """A store did not answer, or not completely; the next attempt may succeed.

    The text has no address and no key.
    """

    def __init__(self, message: str, after_s: float = 0.0, *, answered: bool = False) -> None:
        super().__init__(message)
        self.after_s = after_s  # how long the store asks to wait
        self.answered = answered  # an answer began, so that the store is not down


class Asked(NamedTuple):
    """A host, with its port, and the file that it is asked for."""

    host: str
    file: str


def with_retries(attempt: Callable[[], T], store: str, params: Params, asked: Asked | None = None) -> T:
    """The result of `attempt`, which is repeated for `retry_s` while it raises BusyError.

    A host that answers none of the processes of this machine is `asked` once a minute.

    Raises:
        MediaError: UNREACHABLE, and whatever else the attempt raises.
    """
    until = time.monotonic() + params.retry_s
    is_probe = asked is not None and breaker.must_be_probe(asked.host)
    for tries in count(1):
        wait_for_turn(store, params.requests_per_s)
        beat()
        try:
            result = attempt()
        except BusyError as e:
            if asked is not None and e.answered:
                breaker.note_answer(asked.host)
                is_probe = False
            elif asked is not None and (breaker.note_failure(*asked, params.retry_s) or is_probe):
                raise MediaError("UNREACHABLE", f"{e}, as for other files of its host") from e
            wait_s = e.after_s + random.uniform(0, min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(tries, 16)))
            if time.monotonic() + wait_s > until:
                raise MediaError("UNREACHABLE", f"{e}, at the last of {tries} tries") from e
            time.sleep(wait_s)
        except MediaError:
            if asked is not None:
                breaker.note_answer(asked.host)
            raise
        else:
            if asked is not None:
                breaker.note_answer(asked.host)
            return result
    raise AssertionError("count ends")


def wait_for_turn(store: str, per_s: float, folder: Path | None = None) -> None:
    """Wait until one more request to a store keeps this host below `per_s` requests per second.

    0 means no limit. The token bucket of a store is a file that all processes of the host share: it
    holds a TURN.
    """
    if not per_s:
        return
    name = hashlib.blake2b(store.encode(), digest_size=8).hexdigest()
    with lock((folder or user_folder("turns")) / name) as handle:
        now, boot, stored = time.monotonic(), boot_id().encode(), os.pread(handle, TURN.size, 0)
        next_s, boot_of_it = TURN.unpack(stored) if len(stored) == TURN.size else (0.0, b"")
        is_of_now = boot_of_it.rstrip(b"\0") == boot and next_s < now + OTHER_BOOT_S
        own_s = max(next_s if is_of_now else 0.0, now - BURST_S)
        os.pwrite(handle, TURN.pack(own_s + 1 / per_s, boot), 0)
    time.sleep(max(0.0, own_s - now))
