"""An error out of Spark -> one line, if the machine, the output or the credentials are at fault and not this code."""

from __future__ import annotations

import importlib
import re

from udfs.errors import RunError

RAISED = re.compile(r"^(?:[\w.]*: )?(?P<module>udfs(?:\.\w+)+)\.(?P<name>\w+): (?P<text>.*)$", re.MULTILINE)  # in a worker
# What Java says of a file system or a store; the whole line is shown.
REFUSED = re.compile(
    r"No space left on device|Disk quota exceeded|Read-only file system|Too many open files|Permission denied|"
    r"AccessDenied|ExpiredToken|InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|NoAuthWithAWSException|"
    r"Unable to load credentials|Status Code: 403"
)
JAVA = re.compile(r"^(?:Caused by: |: )?(?:[\w.$]+(?:Error|Exception): )*")  # what Java writes before it
MAX_LINE = 400


def cause(error: BaseException) -> str | None:
    """What is to be said of an error, in one line; None if it is no fault of the place where the run takes place."""
    if isinstance(error, RunError):
        return " ".join(str(error).split())
    text = str(error)
    for raised in RAISED.finditer(text):
        kind = getattr(importlib.import_module(raised["module"]), raised["name"], None)
        if isinstance(kind, type) and issubclass(kind, RunError):
            return raised["text"]
    line = next((line for line in text.splitlines() if REFUSED.search(line)), None)
    return f"{JAVA.sub('', line.strip())[:MAX_LINE]} (the output, or Spark's temporary directory)" if line else None
