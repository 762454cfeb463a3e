"""Check a conf file: every fault there is in it, not the first only."""

from __future__ import annotations

from typing import Any

from jobs.config.errors import SettingsError
from jobs.config.sections import read, value_faults
from jobs.config.settings import SECTIONS, name_faults, names, origins, sections


def file_faults(name: str) -> list[str]:
    """A line for each name in the file that is not there, and each value out of bounds."""
    try:
        given = read(name)
    except SettingsError as e:
        return [str(e).removeprefix("--conf ")]
    lines = []
    for section, values in given.items():
        lines += name_faults(name, section, values)
        if section in SECTIONS and isinstance(values, dict):
            faults = value_faults(section, SECTIONS[section], _known(section, values))
            lines += [f"{name}: {fault}" for fault in faults]
    return lines


def num_settings(name: str) -> int:
    """How many settings a conf file without faults gives."""
    return len(origins([name], []))


def _known(section: str, values: dict[str, Any]) -> dict[str, Any]:
    """The values of a section whose names there are."""
    inner = {key: _known(f"{section}.{key}", value) for key, value in values.items() if isinstance(value, dict)}
    flat, tables = {*names()}, {*sections()}
    return {
        key: inner.get(key, value)
        for key, value in values.items()
        if f"{section}.{key}" in (tables if key in inner else flat)
    }
