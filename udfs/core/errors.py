"""Errors: MediaError is of one input and becomes a row of `failures`; RunError is of the run and stops it."""

from __future__ import annotations

import errno
from typing import Literal, get_args

Code = Literal[
    "EMPTY",  # no bytes
    "UNSUPPORTED",  # not a video container or codec that we accept
    "CORRUPT",  # a video whose data cannot be decoded
    "PARTIAL",  # decodes, but not to its end
    "NO_VIDEO",  # no video stream (audio only, cover art only)
    "TOO_SHORT",  # gives no clip with these settings
    "TOO_LARGE",  # over a limit on pixels, frames, seconds or bytes
    "TIMEOUT",  # the decoder did not come back in time
    "CRASH",  # the decoder's process died
    "OOM",  # the decoder's process hit its memory limit, or one input is more than the GPU holds
    "NOT_FOUND",  # no such file, or one that may not be read
    "DENIED",  # outside the allowed roots, protocols or formats
    "UNREACHABLE",  # its store did not answer in full, however often it was asked; the next run tries again
    "CHANGED",  # the file is not the one that was ingested
    "BAD_OUTPUT",  # a model's answer that cannot be used: NaN, a wrong shape, an empty text
    "BUG",  # an unexpected exception; the message has its type and place
]
CODES: tuple[str, ...] = get_args(Code)
# Not the input's fault, so the next run tries it again: a store that was down, a file that was being written, or a bug. A BUG is
# retried by every run and not only by another version of the code, because a checkout does not know its version.
PASSING: tuple[Code, ...] = ("UNREACHABLE", "CHANGED", "BUG")
DEVICE_ERRNOS = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.EREMOTEIO, errno.EBUSY}


class MediaError(Exception):
    """One input could not be used: a code of CODES and what was seen."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(code, message)  # both in args, so that it survives the pickling out of the child
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class RunError(Exception):
    """An error that stops the run, such as a missing model, a full disk or wrong credentials. Its text is one line."""


class StoreError(RunError):
    """A store cannot be used as asked: credentials, region, or the right to write. Its text is one line without secrets."""


class OutputError(RunError):
    """A file of the output cannot be written."""


def read_fault(error: OSError) -> MediaError:
    """The MediaError for an input whose file cannot be examined or read: UNREACHABLE or NOT_FOUND."""
    code: Code = "UNREACHABLE" if error.errno in DEVICE_ERRNOS else "NOT_FOUND"
    return MediaError(code, error.strerror or type(error).__name__)
