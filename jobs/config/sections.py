"""Read the sections of settings that conf files and --set give, whatever settings there are."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from jobs.config.errors import SettingsError
from udfs.core import user_code
from udfs.core.words import did_you_mean, known_name, right_names

PRESET = "preset:"
QUOTES = re.compile("[\"']")
# What to give in place of a value of another type, by the beginning of pydantic's name for the error.
GIVE = {
    "bool": "give true or false",
    "int": "give a whole number",
    "float": "give a number",
    "string": "give text",
    "list": "give a list, as in [1, 2]",
    "tuple": "give a list, as in [1, 2]",
}
WRONG_TYPE = re.compile("([a-z]+)_(?:type|parsing|from_float)")
CHOICES = re.compile("'([^']*)'")  # in pydantic's message on a value that is none of them


def read(name: str) -> dict[str, Any]:
    """The sections of a conf file, or of a preset by its name, preset:NAME.

    Raises:
        SettingsError: it cannot be read.
    """
    path = _preset(name.removeprefix(PRESET)) if name.startswith(PRESET) else Path(name)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # editors on Windows begin a file with a mark
    except OSError as e:
        raise SettingsError(f"--conf {name}: {e.strerror}") from e
    except ValueError as e:  # not TOML, or not UTF-8
        raise SettingsError(f"--conf {name}: {e}") from e


def presets() -> dict[str, Traversable]:
    """The presets that are installed, by name."""
    files = sorted((resources.files("conf") / "presets").iterdir(), key=lambda file: file.name)
    return {file.name.removesuffix(".toml"): file for file in files if file.name.endswith(".toml")}


def parse(override: str) -> tuple[str, dict[str, Any]]:
    """The section that `section.key=value` names, and its key with the value, in TOML or a bare word.

    Raises:
        SettingsError: it is written otherwise.
    """
    name, equals, text = override.partition("=")
    section, dot, key = QUOTES.sub("", name).strip().partition(".")  # TOML allows quoted keys
    is_quoted = name.count('"') % 2 == 0 and name.count("'") % 2 == 0  # else the = stands in quotes
    if not (equals and dot and key and is_quoted):
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
        raise SettingsError(_fault(section, e.errors()[0])) from e


def _preset(name: str) -> Traversable:
    every = presets()
    if (known := known_name(name, every)) is None:
        raise SettingsError(f"--conf {PRESET}{name}: no such preset: {right_names(name, every)}")
    return every[known]


def value_faults(section: str, params: Any, values: dict[str, Any]) -> list[str]:
    """A line for each value of a section that is out of bounds."""
    try:
        TypeAdapter(params).validate_python(values)
    except ValidationError as e:
        return [_fault(section, details) for details in e.errors()]
    return []


def _fault(section: str, details: ErrorDetails) -> str:
    name = ".".join([section, *(str(part) for part in details["loc"])])
    message, value = details["msg"].removeprefix("Value error, "), details["input"]
    if isinstance(value, dict) or (details["type"] == "value_error" and str(value) in message):
        return f"{name}: {message}"
    if details["type"] == "string_pattern_mismatch" and details.get("ctx", {}).get("pattern") == user_code.PATTERN:
        message = user_code.NAMED_SO
    if wrong := WRONG_TYPE.fullmatch(details["type"]):
        message = GIVE.get(wrong[1], message)
    choices = CHOICES.findall(message) if details["type"] == "literal_error" else []
    return f"{name}: {message}, got {value!r}{did_you_mean(str(value), choices)}"
