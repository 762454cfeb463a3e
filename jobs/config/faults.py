"""The one line of an error that a user can act on, whatever Spark and Java say around it."""

from __future__ import annotations

import importlib
import re

from udfs.core.errors import RunError

# An error that a worker raised, in the text of Spark's error.
RAISED = re.compile(r"^(?:[\w.]*: )?(?P<module>udfs(?:\.\w+)+)\.(?P<name>\w+): (?P<text>.*)$", re.MULTILINE)
# Java's messages on file systems and stores.
REFUSED = re.compile(
    r"No space left on device|Disk quota exceeded|Read-only file system|Too many open files|Permission denied|"
    r"AccessDenied|ExpiredToken|InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|NoAuthWithAWSException|"
    r"Unable to load credentials|Status Code: 403"
)
JAVA = re.compile(r"^(?:Caused by: |: )?(?:[\w.$]+(?:Error|Exception): )*")  # class names before the message
MAX_LINE = 400


def cause(error: BaseException) -> str | None:
    """The line that explains an error; None unless the machine, the output or the credentials caused it."""
    if isinstance(error, RunError):
        return " ".join(str(error).split())
    text = str(error)
    for raised in RAISED.finditer(text):
        kind = getattr(importlib.import_module(raised["module"]), raised["name"], None)
        if isinstance(kind, type) and issubclass(kind, RunError):
            return raised["text"]
    line = next((line for line in text.splitlines() if REFUSED.search(line)), None)
    return f"{JAVA.sub('', line.strip())[:MAX_LINE]} (the output, or Spark's temporary directory)" if line else None
