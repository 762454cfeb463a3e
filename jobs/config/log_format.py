"""The log on standard error: lines for people, or one JSON object per line for programs."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

FORMATS = ("text", "json")
LINE, CLOCK = "%(asctime)s %(message)s", "%H:%M:%S"


class Json(logging.Formatter):
    """Time, level and message; an event, such as the end of a stage, adds its own values."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as a line of JSON."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        values = {"time": time, "level": record.levelname.lower(), "message": record.getMessage()}
        if record.exc_info:
            values["traceback"] = self.formatException(record.exc_info)
        return json.dumps(values | getattr(record, "event", {}), default=str)


def apply(name: str) -> None:
    """Let the handlers of the log write in a format."""
    for handler in logging.getLogger().handlers:
        if name == "json":
            handler.setFormatter(Json())
        elif isinstance(handler.formatter, Json):
            handler.setFormatter(logging.Formatter(LINE, CLOCK))
