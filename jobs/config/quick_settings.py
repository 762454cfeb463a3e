"""The settings that a query without Spark needs, built without the code of the stages."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from jobs.config import sections
from udfs import filter
from udfs.storage.settings import Params as Sources

SECTIONS: dict[str, Any] = {"sources": Sources, "filter": filter.Params}


@dataclass(frozen=True)
class QuickSettings:
    """Two sections of Settings."""

    sources: Sources = field(default_factory=Sources)
    filter: filter.Params = field(default_factory=filter.Params)


def load(conf_files: tuple[str, ...], overrides: tuple[str, ...]) -> QuickSettings:
    """`settings.load` of two sections; with others or unknown names all settings are loaded and checked.

    That takes more than a second, because the settings of a stage stand beside its code.

    Raises:
        SettingsError: as `settings.load`.
    """
    merged: dict[str, dict[str, Any]] = {}
    for section, values in _given(conf_files, overrides):
        if not isinstance(values, dict) or not _known(section, values):
            return _checked(conf_files, overrides)
        merged[section] = merged.get(section, {}) | values
    return QuickSettings(**{name: sections.build(name, SECTIONS[name], values) for name, values in merged.items()})


def given(section: str, conf_files: tuple[str, ...], overrides: tuple[str, ...]) -> dict[str, Any]:
    """What files and overrides set in a section, as it is written there; later ones win."""
    values: dict[str, Any] = {}
    for name, found in _given(conf_files, overrides):
        values |= found if name == section else {}
    return values


def reduction(conf_files: tuple[str, ...], overrides: tuple[str, ...]) -> str | None:
    """`filter.aesthetic_reduction` if files or overrides set it; else the views go by the last run of `filter`."""
    value: str | None = given("filter", conf_files, overrides).get("aesthetic_reduction")
    return value


def sections_given(conf_files: tuple[str, ...], overrides: tuple[str, ...]) -> set[str]:
    """The sections in which files or overrides set something."""
    return {name for name, _ in _given(conf_files, overrides)}


def _given(conf_files: tuple[str, ...], overrides: tuple[str, ...]) -> list[tuple[str, dict[str, Any]]]:
    of_files = [pair for name in conf_files for pair in sections.read(name).items()]
    return [*of_files, *map(sections.parse, overrides)]


def _known(section: str, values: dict[str, Any]) -> bool:
    return section in SECTIONS and set(values) <= {f.name for f in fields(SECTIONS[section])}


def _checked(conf_files: tuple[str, ...], overrides: tuple[str, ...]) -> QuickSettings:
    from jobs.config import settings

    every = settings.load([*conf_files], [*overrides])
    return QuickSettings(every.sources, every.filter)
