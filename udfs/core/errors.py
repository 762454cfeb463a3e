"""Errors: a MediaError becomes a row of `failures`; a RunError stops the run."""

from __future__ import annotations

import errno
from typing import Literal, get_args

Code = Literal[
    "EMPTY",  # no bytes
    "UNSUPPORTED",  # not a video container or codec that is accepted
    "CORRUPT",  # a video whose data cannot be decoded
    "PARTIAL",  # decodes, but not to its end
    "NO_VIDEO",  # no video stream (audio only, cover art only)
    "TOO_SHORT",  # no clip fits into the video, or no caption's window into the clip, with these settings
    "TOO_LARGE",  # over a limit on pixels, frames, seconds or bytes
    "TIMEOUT",  # the decoder made no progress, or took too long in all
    "CRASH",  # the decoding process died, or the process of a model
    "OOM",  # the decoding process reached its memory limit, or one input does not fit into the GPU's memory
    "NOT_FOUND",  # no such file, a link to none, not a regular one, or no right to read it
    "DENIED",  # outside the allowed roots, protocols or formats
    "UNREACHABLE",  # its store, or an endpoint, gave no whole answer after all tries; the next run tries again
    "CHANGED",  # the file has changed since it was ingested
    "BAD_OUTPUT",  # a model refused its input, or returned something unusable: NaN, a wrong shape, an empty text
    "BUG",  # an unexpected exception; the message has its type and place
]
CODES: tuple[str, ...] = get_args(Code)
# Not the input's fault, so the next run tries again: a store was down, a file was being written, or
# the code has a bug. Every run retries a BUG, and not only a newer version of the code, because a
# checkout does not know its version.
PASSING: tuple[Code, ...] = ("UNREACHABLE", "CHANGED", "BUG")
DEVICE_ERRNOS = {
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ENOTCONN,
    errno.EHOSTDOWN,
    errno.EREMOTEIO,
    errno.EBUSY,
}


class MediaError(Exception):
    """One input could not be used: a code of CODES, and a message that says why."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(code, message)  # both in args, so that the error can be pickled in the child process
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class RunError(Exception):
    """An error that stops the run, such as a missing model, a full disk or wrong credentials.

    Its text is one line.
    """


class StoreError(RunError):
    """A store cannot be used as asked: credentials, region, or the right to write.

    Its text is one line without secrets.
    """


class OutputError(RunError):
    """A file of the output cannot be written."""


def read_fault(error: OSError) -> MediaError:
    """The MediaError for an input whose file cannot be examined or read: UNREACHABLE or NOT_FOUND."""
    code: Code = "UNREACHABLE" if error.errno in DEVICE_ERRNOS else "NOT_FOUND"
    return MediaError(code, error.strerror or type(error).__name__)
