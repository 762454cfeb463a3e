"""The one line of an error that a user can act on, whatever Spark and Java say around it."""

from __future__ import annotations

import importlib
import os
import re
import traceback
from collections.abc import Iterator

from udfs.core.errors import MediaError, RunError
from udfs.storage.uris import is_remote

# An error that a worker raised, in the text of Spark's error.
RAISED = re.compile(r"^(?:[\w.]*: )?(?P<module>udfs(?:\.\w+)+)\.(?P<name>\w+): (?P<text>.*)$", re.MULTILINE)
# An error of a store that a worker met outside its work on an input, unless a bug came after it.
UNANSWERED = re.compile(
    r"^(?:[\w.]*: )?udfs\.core\.errors\.MediaError: (?P<text>(?:UNREACHABLE|DENIED): .*)$"
    r"(?![\s\S]*During handling of the above exception)",
    re.MULTILINE,
)
NEEDED = "a file or store that is needed: "
# Java's messages on file systems and stores.
REFUSED = re.compile(
    r"No space left on device|Disk quota exceeded|File too large|Read-only file system|Input/output error|"
    r"Stale file handle|Transport endpoint is not connected|Too many open files|Permission denied|"
    r"AccessDenied|ExpiredToken|InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|NoAuthWithAWSException|"
    r"Unable to load credentials|Status Code: 403"
)
JAVA = re.compile(r"^(?:Caused by: |: )?(?:[\w.$]+(?:Error|Exception): )*")  # class names before the message
MAX_LINE = 400
LOST_JVM = (
    "Spark's JVM has ended, killed perhaps for memory (the system's log says so); the same command goes on from here"
)
GOES_ON = "; once that is mended, the same command goes on"


def of_run(error: BaseException, output: str, *, verbose: bool) -> str | None:
    """The line for an error that ends a run; None of a bug, whose traceback is shown.

    An error of Java's that nothing here explains is one line, too, unless the run is `verbose`.
    """
    if any(map(_is_of_lost_jvm, _chain(error))):
        return LOST_JVM
    if line := cause(error):
        return line + GOES_ON
    if not is_remote(output) and not output.startswith("dbfs:") and _is_gone(output, str(error)):
        return f"--output {output} is not there any longer{GOES_ON}"
    if type(error).__name__ == "Py4JJavaError" and not verbose:
        return f"Spark failed: {first_line(error)} (--verbose shows where){GOES_ON}"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those while handling which it came."""
    while error:
        yield error
        error = error.__cause__ or error.__context__


def _is_of_lost_jvm(error: BaseException) -> bool:
    """Whether Python no longer reaches Spark's JVM."""
    if type(error).__name__ == "Py4JNetworkError":
        return True
    frames = traceback.extract_tb(error.__traceback__) if isinstance(error, ConnectionError) else ()
    return any("/py4j/" in frame.filename for frame in frames)


def _is_gone(output: str, text: str) -> bool:
    """Whether the folder of the output went away: media that are written make it again, but not its tables."""
    return not os.path.isdir(output) or ("PATH_NOT_FOUND" in text and f"{output}/tables/" in text)


def cause(error: BaseException) -> str | None:
    """The line that explains an error; None unless the machine, a store, the output or the credentials caused it."""
    if isinstance(error, RunError):
        return " ".join(str(error).split())
    if isinstance(error, MediaError):
        return f"{NEEDED}{' '.join(str(error).split())}"
    text = str(error)
    for raised in RAISED.finditer(text):
        kind = getattr(importlib.import_module(raised["module"]), raised["name"], None)
        if isinstance(kind, type) and issubclass(kind, RunError):
            return raised["text"]
    if unanswered := UNANSWERED.search(text):
        return NEEDED + unanswered["text"]
    line = next((line for line in text.splitlines() if REFUSED.search(line)), None)
    return f"{JAVA.sub('', line.strip())[:MAX_LINE]} (the output, or Spark's temporary directory)" if line else None


def first_line(error: BaseException) -> str:
    """What Java says, without the names of its classes."""
    lines = [JAVA.sub("", line.strip()) for line in str(error).splitlines() if not line.startswith("An error occurred")]
    return next((line[:MAX_LINE] for line in lines if line), type(error).__name__)
