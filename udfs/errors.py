"""A fault of one input -> MediaError, which becomes one row of `failures`; every other exception is a bug and stays loud."""

from __future__ import annotations

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
]
CODES: tuple[str, ...] = get_args(Code)
PASSING: tuple[Code, ...] = ("UNREACHABLE",)  # no fault of the input: such a failure is no reason to leave it out the next time


class MediaError(Exception):
    """One input could not be used: a code of CODES and what was seen."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(code, message)  # both in args, so that it survives the pickling out of the child
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class StoreError(Exception):
    """A store cannot be used as asked: credentials, region, or the right to write. Its text is one line without secrets."""
