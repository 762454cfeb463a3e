"""The program of the sandbox's child: jail itself, and answer the calls that arrive on a socket."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
import traceback
from typing import Any

from udfs.core import bugs, heap, heartbeat, jail, wire
from udfs.storage import parent_files


def _confine(setup: dict[str, Any]) -> None:
    """Tie this process to its parent, and limit and jail it, before it has threads or has seen a video."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C belongs to the driver
    jail.end_with_parent()
    if os.getppid() != setup["parent"]:
        sys.exit("the parent process has ended")
    jail.limit(*setup["limits"])
    jail.give_up_real_time()
    if setup["rules"] is not None:
        jail.close(setup["rules"])


def _serve(sock: socket.socket) -> None:
    wire.send(sock, wire.encode(wire.READY, None))
    while True:
        try:
            message, _ = parent_files.receive_reply(sock)
        except EOFError:
            return
        wire.send(sock, _answer(message))


def _answer(message: bytes) -> list[bytes | memoryview]:
    try:
        function, args = pickle.loads(message)
        heartbeat.beat()  # the imports are done
        return wire.encode(wire.RESULT, function(*args))
    except (Exception, SystemExit) as e:  # noqa: BLE001 - the parent raises it again
        error = bugs.of_exit(e) if isinstance(e, SystemExit) else bugs.run_error(e) or e
        notes = [
            f"in the decoding process:\n{traceback.format_exc()}",
            f"{bugs.PLACE_NOTE}{' < '.join(bugs.places(e))}",
        ]
        return wire.encode(wire.ERROR, wire.error_value(error, notes))


def main(handle: int, page: int) -> None:
    """Answer calls until the socket is closed."""
    with socket.socket(fileno=handle) as sock:
        setup, _ = parent_files.receive_reply(sock)
        heartbeat.raise_on(page)
        os.close(page)
        _confine(setup)
        heap.keep_freed()
        parent_files.connect(sock, setup["folder"])
        _serve(sock)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
