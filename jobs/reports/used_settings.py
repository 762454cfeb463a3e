"""The settings and versions of a run, as its rows of `runs` have them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from jobs.lake.catalog import literal
from jobs.queries.ask import Ask
from udfs.core import redaction

QUERY = "SELECT conf, versions FROM runs WHERE run_id = {run} ORDER BY started_at DESC LIMIT 1"


class Setting(NamedTuple):
    """A setting by its name, its value as JSON, and whether it is another than the default."""

    name: str
    value: str
    is_changed: bool


class Used(NamedTuple):
    """The settings of a run, and the versions of the code and libraries by name."""

    settings: list[Setting]
    versions: dict[str, str]


def read(ask: Ask, run_id: str) -> Used:
    """What the last stage of a run was run by."""
    [(conf, versions)] = ask(QUERY.format(run=literal(run_id))) or [(None, None)]
    stored = json.loads(conf or "{}")
    spark = redaction.redacted_spark(stored.pop("spark", {}))  # rows of 0.1.0 have them as they were
    there, defaults = dict(_flat("", redaction.redacted_values(stored) | {"spark": spark})), _defaults()
    settings = [Setting(name, _shown(value), _differs(name, value, defaults)) for name, value in there.items()]
    return Used(settings, dict(versions or {}))


def _differs(name: str, value: Any, defaults: Mapping[str, Any]) -> bool:
    """Whether a value is another than the default; a setting without a default is another if it has a value."""
    return bool(value != defaults[name]) if name in defaults else value is not None


def _flat(section: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(f"{section}{key}.", value)
        elif value != {}:
            yield f"{section}{key}", value


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


@cache
def _defaults() -> dict[str, Any]:
    """Every setting with its default, by the conf file that lists them: the settings' own code takes a second."""
    text = (resources.files("conf") / "local.toml").read_text(encoding="utf-8")
    return dict(_flat("", {name: section for name, section in tomllib.loads(text).items() if name != "spark"}))
