"""Check a conf file: every fault there is in it, not the first only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from jobs.config.errors import SettingsError
from jobs.config.sections import merged, read, value_faults
from jobs.config.settings import SECTIONS, name_faults, origins, stages_of_packages, turned_off, with_inner
from udfs import custom


def file_faults(name: str) -> list[str]:
    """A line for each name in the file that is not there, and each value out of bounds."""
    try:
        given = read(name)
        packages = {stage: keys for stage, _, keys in stages_of_packages(turned_off(given.get("custom")))}
    except SettingsError as e:
        return [str(e).removeprefix("--conf ")]
    lines = []
    for section, values in given.items():
        lines += name_faults(name, section, values)
        for inner, params, keys in _with_params(section, values, packages):
            faults = value_faults(inner, params, _known(keys, with_inner(inner, params), inner))
            lines += [f"{name}: {fault}" for fault in faults]
    return lines


def num_settings(name: str) -> int:
    """How many settings a conf file without faults gives."""
    return sum(where == name for where in origins([name], []).values())


def _with_params(section: str, values: Any, packages: dict[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """The sections whose values can be checked: one of ours, or each of the user's own stages.

    A stage of a package has the package's values where the file says nothing else. One that is turned off has none.
    """
    if section == "custom" and isinstance(values, dict):
        off = turned_off(values)
        stages = {stage: keys for stage, keys in values.items() if isinstance(keys, dict) and stage not in off}
        for stage, keys in stages.items():
            yield f"custom.{stage}", custom.Params, merged(packages.get(stage, {}), keys)
    elif section in SECTIONS and isinstance(values, dict):
        yield section, SECTIONS[section], values


def _known(values: dict[str, Any], every: dict[str, Any], section: str) -> dict[str, Any]:
    """The values of a section whose names there are."""
    known = {}
    for key in values.keys() & {f.name for f in fields(every[section])}:
        inner = f"{section}.{key}"
        if inner not in every:
            known[key] = values[key]
        elif isinstance(values[key], dict):
            known[key] = _known(values[key], every, inner)
    return known
