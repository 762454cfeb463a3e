"""Unexpected exceptions: one that few inputs meet becomes a BUG failure of each, one that many meet stops the run."""

from __future__ import annotations

import errno
import logging
import re
import traceback
from collections import defaultdict
from functools import cache
from pathlib import Path

from udfs.errors import MediaError, OutputError, RunError

log = logging.getLogger("reelmill")

FRAMES = 3  # of the traceback that a failure's message names
MAX_TEXT = 300  # characters of the exception's own text in it
# Twenty videos are more than one odd library brings by chance, and cost minutes where a run of millions would cost a night.
# Videos are counted and not clips: all clips of one film may meet the same bug, and one film is to end no run.
MANY_VIDEOS = 20
MOST = 0.5  # of the videos that this process has worked on
PLACE_NOTE = "raised at "  # begins the note by which an exception out of the decoding process says where it was raised
# Errors of the machine or of the place that is written to: no other input would fare better.
MACHINE_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE}
MET_BY = ", met by "  # stands in a failure's message before the file
ADDRESS = re.compile(r"(?P<shown>https?://)(?:[^/\s'\"@]*@)?(?P<place>[^\s'\"?#]*)[^\s'\"]*")


def run_error(error: Exception) -> Exception | None:
    """What to raise for an exception that concerns the run and not one input; None for all others."""
    if isinstance(error, OSError) and error.errno in MACHINE_ERRNOS:
        return OutputError(f"{error.strerror}: {error.filename or 'the output, or the temporary directory'}")
    return error if isinstance(error, RunError | MemoryError) else None


def places(error: BaseException) -> list[str]:
    """The last frames of an exception's traceback, the innermost first; of the decoding process where it comes from there."""
    for note in getattr(error, "__notes__", []):
        if note.startswith(PLACE_NOTE):
            return str(note).removeprefix(PLACE_NOTE).split(" < ")
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    return [f"{'/'.join(Path(f.filename).parts[-2:])}:{f.lineno} in {f.name}" for f in reversed(frames)]


def as_failure(error: Exception, name: str) -> MediaError:
    """The failure of an input that met an unexpected exception: its type, its text, where it was raised, and by whose file."""
    lines = str(error).strip().splitlines() or ["no message"]
    what = f"{type(error).__name__}: {lines[0][:MAX_TEXT]} ({' < '.join(places(error))}){MET_BY}{name}"
    return MediaError("BUG", ADDRESS.sub(r"\g<shown>\g<place>", what))


class Watch:
    """The videos that one kind of work has met in this process, and which of them met which bug."""

    def __init__(self) -> None:
        self.videos: set[str] = set()
        self.hit: defaultdict[tuple[str, str], set[str]] = defaultdict(set)

    def take(self, video: str) -> None:
        """Note that the work goes on to an input of a video."""
        self.videos.add(video)

    def failure(self, error: Exception, name: str, video: str) -> MediaError:
        """The failure of an input, named for people, that met an unexpected exception.

        Raises:
            Exception: the exception itself if most of many videos met it, or what concerns the run and not one input.
        """
        if (concern := run_error(error)) is not None:
            raise concern from error
        found = as_failure(error, name)
        hit = self.hit[type(error).__name__, next(iter(places(error)), "")]
        hit.add(video)
        log.error("BUG: %s\n%s", found.message, "".join(traceback.format_exception(error)))
        if len(hit) >= MANY_VIDEOS and len(hit) > MOST * len(self.videos):
            error.add_note(f"{len(hit)} of the last {len(self.videos)} videos met this bug, so the run stops")
            raise error
        return found


@cache
def watch(work: str) -> Watch:
    """The watch over a kind of work in this process, which is kept from task to task."""
    return Watch()
