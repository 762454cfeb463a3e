"""Turn an unexpected exception into a BUG of its input, or stop the run if most videos raise it."""

from __future__ import annotations

import errno
import logging
import traceback
from collections import OrderedDict
from functools import cache
from pathlib import Path

from udfs.core.errors import MediaError, OutputError, RunError
from udfs.core.redaction import without_secrets

log = logging.getLogger("reelmill")

FRAMES = 3  # of the traceback that a failure's message names
MAX_TEXT = 300  # characters of the exception's own text in it
# Twenty videos are too many for chance, and cost minutes where a run of millions costs hours.
# Videos are counted and not clips, because all clips of one film may raise the same exception, and
# one film must not end a run.
MANY_VIDEOS = 20
MOST = 0.5  # of the last videos that this process has worked on
LAST_VIDEOS = 2 * MANY_VIDEOS  # so that a bug that begins late in a run stops it as well
PLACE_NOTE = "raised at "  # begins the note on an exception of the decoding process that says where it was raised
# Errors of the machine or of the output: every other input would meet them too.
MACHINE_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE}
MET_BY = ", met by "  # precedes the file in a failure's message


def run_error(error: Exception) -> Exception | None:
    """The error to raise for an exception that concerns the whole run; None if it concerns one input."""
    if isinstance(error, OSError) and error.errno in MACHINE_ERRNOS:
        return OutputError(f"{error.strerror}: {error.filename or 'the output, or the temporary directory'}")
    return error if isinstance(error, RunError | MemoryError) else None


def of_exit(error: SystemExit) -> RuntimeError:
    """The exception that stands for the end of a process by the user's own code, which may call sys.exit."""
    return RuntimeError(f"SystemExit: {error}").with_traceback(error.__traceback__)


def places(error: BaseException) -> list[str]:
    """The last frames of an exception's traceback, innermost first.

    They are those of the decoding process if the exception was raised there.
    """
    for note in getattr(error, "__notes__", []):
        if note.startswith(PLACE_NOTE):
            return str(note).removeprefix(PLACE_NOTE).split(" < ")
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    return [f"{'/'.join(Path(f.filename).parts[-2:])}:{f.lineno} in {f.name}" for f in reversed(frames)]


def as_failure(error: Exception, name: str) -> MediaError:
    """The failure for an unexpected exception, whose message has its type, its text, its place and the file `name`."""
    lines = str(error).strip().splitlines() or ["no message"]
    what = f"{type(error).__name__}: {lines[0][:MAX_TEXT]} ({' < '.join(places(error))}){MET_BY}{name}"
    return MediaError("BUG", without_secrets(what))


class Watch:
    """The last videos of one kind of work in this process, and the exceptions that each raised."""

    def __init__(self) -> None:
        self.bugs_by_video: OrderedDict[str, set[tuple[str, str]]] = OrderedDict()

    def take(self, video: str) -> None:
        """Record that the work begins an input of a video."""
        self.bugs_by_video.setdefault(video, set())
        self.bugs_by_video.move_to_end(video)
        if len(self.bugs_by_video) > LAST_VIDEOS:
            self.bugs_by_video.popitem(last=False)

    def failure(self, error: Exception, name: str, video: str) -> MediaError:
        """The failure of an input that raised an unexpected exception; `name` is its file, for the message.

        Raises:
            Exception: the exception itself if most of many videos raised it, or the error of the
                run behind it.
        """
        if (concern := run_error(error)) is not None:
            raise concern from error
        failure = as_failure(error, name)
        bug = type(error).__name__, next(iter(places(error)), "")
        self.bugs_by_video.setdefault(video, set()).add(bug)
        log.error("BUG: %s\n%s", failure.message, without_secrets("".join(traceback.format_exception(error))))
        number, last = sum(bug in met for met in self.bugs_by_video.values()), len(self.bugs_by_video)
        if number >= MANY_VIDEOS and number > MOST * last:
            error.add_note(f"{number} of the last {last} videos met this bug, so the run stops")
            raise error
        return failure


@cache
def watch(work: str) -> Watch:
    """The Watch of this process over one kind of work, kept from task to task."""
    return Watch()
