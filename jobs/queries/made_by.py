"""By which settings a row was made: its run, and how the settings of its stage differ from those in force."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from jobs.lake.catalog import literal
from jobs.lake.recipes import sections
from jobs.queries.reader import Row, Rows

LAST = """
SELECT stage, max_by(run_id, started_at) AS run_id, max_by(fingerprint, started_at) AS fingerprint
FROM runs GROUP BY stage
"""
RUN = """
SELECT stage, run_id, max(started_at) AS started_at, max(conf) AS conf, max_by(versions, started_at) AS versions
FROM runs WHERE {where} GROUP BY stage, run_id
"""
CODE = "reelmill"  # the version of this code, beside the settings


class Stamp(NamedTuple):
    """What a row says of how it was made."""

    stage: str
    fingerprint: str
    run_id: str


class Recorded(NamedTuple):
    """The run in which a stage last ran, and its fingerprint."""

    run_id: str
    fingerprint: str


def last_runs(rows: Rows) -> dict[str, Recorded]:
    """The last run of each stage, whose settings are those in force."""
    return {row["stage"]: Recorded(row["run_id"], row["fingerprint"]) for row in rows(LAST)}


def is_current(stamp: Stamp, last: Mapping[str, Recorded]) -> bool | None:
    """Whether the settings in force made the row, None if no run of its stage was noted.

    The fingerprint of a video also holds the version of its file.
    """
    recorded = last.get(stamp.stage)
    if recorded is None:
        return None
    made_by = stamp.fingerprint.partition("-")[0] if stamp.stage == "ingest" else stamp.fingerprint
    return made_by == recorded.fingerprint


def story(rows: Rows, stamps: Iterable[Stamp], last: Mapping[str, Recorded]) -> list[Row]:
    """A row per stamp: its stage and run, whether it is current, and the settings and versions that differ since."""
    every = [*stamps]
    wanted = {(stamp.stage, stamp.run_id) for stamp in every}
    outdated = {stamp.stage for stamp in every if is_current(stamp, last) is False}
    wanted |= {(stage, last[stage].run_id) for stage in outdated}
    known = runs(rows, sorted(wanted))
    return [_made(stamp, known, last) for stamp in every]


def runs(rows: Rows, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Row]:
    """What `runs` says of some stages of some runs."""
    where = " OR ".join(f"(stage = {literal(stage)} AND run_id = {literal(run_id)})" for stage, run_id in wanted)
    return {(row["stage"], row["run_id"]): row for row in rows(RUN.format(where=where))} if where else {}


def _made(stamp: Stamp, known: Mapping[tuple[str, str], Row], last: Mapping[str, Recorded]) -> Row:
    current = is_current(stamp, last)
    then = known.get((stamp.stage, stamp.run_id))
    now = known.get((stamp.stage, last[stamp.stage].run_id)) if current is False else None
    return {
        "stage": stamp.stage,
        "run_id": stamp.run_id,
        "made_at": then and then["started_at"],  # None of a run that was killed before it was noted
        "is_current": current,
        "changed": [*differences(stamp.stage, then, now)] if then and now else [],
    }


def differences(stage: str, then: Row, now: Row) -> Iterator[Row]:
    """The settings that a stage depends on and that two rows of `runs` have otherwise, and versions of the code."""
    before, after = (_settings(stage, row["conf"]) for row in (then, now))
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            yield {"setting": name, "then": before.get(name), "now": after.get(name)}
    old, new = (row["versions"] or {} for row in (then, now))
    if old.get(CODE) != new.get(CODE):
        yield {"setting": CODE, "then": old.get(CODE), "now": new.get(CODE)}


def _settings(stage: str, conf: str | None) -> dict[str, Any]:
    """The settings of a stage's sections by their names, without the resources of its tasks."""
    every: Row = json.loads(conf or "{}")
    found: dict[str, Any] = {}
    for section in sections(stage):
        values: Any = every
        for part in section.split("."):
            values = values.get(part, {}) if isinstance(values, dict) else {}
        found |= _flat(section, values)
    return {name: value for name, value in found.items() if ".resources." not in name}


def _flat(section: str, values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        return {section: values}
    return {name: value for key, inner in values.items() for name, value in _flat(f"{section}.{key}", inner).items()}
