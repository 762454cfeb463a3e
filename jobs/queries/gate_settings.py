"""The settings of the last run of `filter`, as its row of `runs` has them, as far as this release knows them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from udfs import filter

# The row of runs that says by which thresholds the verdicts were made.
QUERY = "SELECT conf FROM runs WHERE stage = 'filter' ORDER BY started_at DESC LIMIT 1"


@dataclass(frozen=True)
class GateSettings:
    """What decides on verdicts: [filter], and the sections of the user's own stages by name."""

    filter: filter.Params = field(default_factory=filter.Params)
    custom: dict[str, dict[str, Any]] = field(default_factory=dict)


def last(ask: Callable[[str], Iterable[tuple[Any, ...]]]) -> GateSettings:
    """The settings of the last run of `filter`; the defaults before its first one."""
    return read(next((conf for (conf,) in ask(QUERY)), None))


def read(conf: str | None) -> GateSettings:
    """The settings in the column `conf` of `runs`; the defaults without one."""
    settings: dict[str, Any] = json.loads(conf or "{}")
    return GateSettings(params(settings.get("filter", {})), settings.get("custom", {}))


def params(there: dict[str, Any]) -> filter.Params:
    """A section [filter]; the defaults where its values are of a release with other bounds."""
    known = {field.name for field in fields(filter.Params)}
    try:
        return TypeAdapter(filter.Params).validate_python({k: v for k, v in there.items() if k in known})
    except ValidationError:
        return filter.Params()
