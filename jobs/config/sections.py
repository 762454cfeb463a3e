"""Read the sections of settings that conf files and --set give, whatever settings there are."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from jobs.config.errors import SettingsError

QUOTES = re.compile("[\"']")


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
    keys = [key] if section == "spark" else key.split(".")  # Spark's own keys have dots
    for inner in reversed(keys):
        value = {inner: value}
    return section, value


def merged(values: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """Values of sections within sections; later ones win."""
    both = {key: values[key] for key in values.keys() & later.keys()}
    inner = {
        key: merged(value, later[key])
        for key, value in both.items()
        if isinstance(value, dict) and isinstance(later[key], dict)
    }
    return values | later | inner


def build(section: str, params: Any, values: dict[str, Any]) -> Any:
    """The Params of a section.

    Raises:
        SettingsError: a value is out of bounds.
    """
    try:
        return TypeAdapter(params).validate_python(values)
    except ValidationError as e:
        first = e.errors()[0]
        name = ".".join([section, *(str(part) for part in first["loc"])])
        got = f", got {first['input']!r}" if first["loc"] else ""
        raise SettingsError(f"{name}: {first['msg'].removeprefix('Value error, ')}{got}") from e
