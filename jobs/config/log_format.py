"""The log on standard error: lines for people, or one JSON object per line for programs."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from udfs.core import terminal
from udfs.core.redaction import without_secrets

FORMATS = ("text", "json")
LINE, CLOCK = "%(asctime)s %(message)s", "%H:%M:%S"


class Text(logging.Formatter):
    """Time and message, without secrets of addresses and without characters that a terminal obeys."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as a line, with a traceback as several."""
        return terminal.escaped(without_secrets(super().format(record)))


class Json(logging.Formatter):
    """Time, level and message; an event, such as the end of a stage, adds its own values."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as a line of JSON."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        values = {"time": time, "level": record.levelname.lower(), "message": without_secrets(record.getMessage())}
        if record.exc_info:
            values["traceback"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(values | getattr(record, "event", {}), default=str)


def handler() -> logging.Handler:
    """What writes the log to standard error, as text."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Text(LINE, CLOCK))
    handler.addFilter(lambda record: "/py4j/" not in record.pathname)  # it logs, by the root logger, what it raises
    return handler


def apply(name: str) -> None:
    """Let the handlers of the log write in a format."""
    for handler in logging.getLogger().handlers:
        if name == "json":
            handler.setFormatter(Json())
        elif isinstance(handler.formatter, Json):
            handler.setFormatter(Text(LINE, CLOCK))
