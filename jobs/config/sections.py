"""Read the sections of settings that conf files and --set give, whatever settings there are."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from jobs.config.errors import SettingsError
from udfs.core.words import did_you_mean

QUOTES = re.compile("[\"']")
CHOICES = re.compile("'([^']*)'")  # in pydantic's message on a value that is none of them


def read(name: str) -> dict[str, Any]:
    """The sections of a conf file.

    Raises:
        SettingsError: it cannot be read.
    """
    try:
        return tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as e:
        raise SettingsError(f"--conf {name}: {e.strerror}") from e
    except ValueError as e:  # not TOML, or not UTF-8
        raise SettingsError(f"--conf {name}: {e}") from e


def parse(override: str) -> tuple[str, dict[str, Any]]:
    """The section that `section.key=value` names, and its key with the value, in TOML or a bare word.

    Raises:
        SettingsError: it is written otherwise.
    """
    name, equals, text = override.partition("=")
    section, dot, key = QUOTES.sub("", name).strip().partition(".")  # TOML allows quoted keys
    if not (equals and dot and key):
        raise SettingsError(f"--set {override}: write it as section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    inner, dot, key_there = key.partition(".")
    return section, {inner: {key_there: value}} if dot and section != "spark" else {key: value}


def build(section: str, params: Any, values: dict[str, Any]) -> Any:
    """The Params of a section.

    Raises:
        SettingsError: a value is out of bounds.
    """
    try:
        return TypeAdapter(params).validate_python(values)
    except ValidationError as e:
        raise SettingsError(faults(section, e)[0]) from e


def faults(section: str, error: ValidationError) -> list[str]:
    """A line per value of a section that is out of bounds."""
    return [_fault(section, details) for details in error.errors()]


def _fault(section: str, details: ErrorDetails) -> str:
    name = ".".join([section, *(str(part) for part in details["loc"])])
    message, value = details["msg"].removeprefix("Value error, "), details["input"]
    if not details["loc"] or (details["type"] == "value_error" and str(value) in message):
        return f"{name}: {message}"
    choices = CHOICES.findall(message) if details["type"] == "literal_error" else []
    return f"{name}: {message}, got {value!r}{did_you_mean(str(value), choices)}"
