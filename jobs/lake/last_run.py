"""What `runs` says of earlier runs: with which settings each stage last ran, and whether anything was left to do."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pyspark.sql import functions as F

from jobs.lake.tables import Tables
from schemas import TABLES

CHAIN = "curate"  # the stage of the row that the whole chain adds to `runs`


class Scored(NamedTuple):
    """What `verdicts` says of clips: by which settings, and of which versions of the tables."""

    made_by: str
    versions: dict[str, int]

    def as_columns(self) -> dict[str, object]:
        """As a row of `runs` has it, for later runs to know."""
        return {"tables": self.versions, "scored_by": self.made_by}


@dataclass
class LastRun:
    """Of every stage the settings of its last run; of the last whole chain, how it ended."""

    fingerprints: dict[str, str] = field(default_factory=dict)  # by stage
    settled: dict[str, str] = field(default_factory=dict)  # by stage, as the last whole chain left them
    versions: dict[str, int] | None = None  # of the tables when nothing was left to do; None if something was
    summary: str | None = None  # the counts of its last lines, as JSON
    scored: Scored | None = None  # None if `verdicts` may lack something
    num_verdicts: int = 0  # that were ever written
    until: datetime | None = None  # the latest time that any row has
    reduction: str | None = None  # filter.aesthetic_reduction of the last run of `filter`
    waiting_run_id: str | None = None  # whose failures are tried again: all that was left to do
    linked: str | None = None  # counts of the rows of dedup, as JSON; None if they are not known

    @property
    def scored_by(self) -> str | None:
        """The settings by which `verdicts` has scores; None if it may lack something."""
        return self.scored.made_by if self.scored else None

    @property
    def num_commits(self) -> int:
        """The most commits that a table had."""
        return max((self.versions or {}).values(), default=0)

    def is_untouched(self, tables: Tables, *, but: Collection[str] = ()) -> bool:
        """Whether no table, but perhaps those named, has changed since a chain left nothing to do.

        True also where there are none.
        """
        then, now = self.versions or {}, versions(tables)
        return all(then.get(name) == now.get(name) for name in (then.keys() | now.keys()) - {*but})

    def are_untouched(self, tables: Tables, names: Iterable[str]) -> bool:
        """Whether these tables are as they were when a chain left nothing to do."""
        return self.versions is not None and all(tables.version(name) == self.versions.get(name) for name in names)

    def left_nothing(self, tables: Tables, fingerprint: str) -> bool:
        """Whether the last chain, by these settings, left nothing to do, and no table has changed since.

        Where there are no tables yet, nothing is left either. A release before 0.2.0 left verdicts without scores.
        """
        return self.ended_by(fingerprint) and self.is_untouched(tables)

    def ended_by(self, fingerprint: str) -> bool:
        """Whether the last chain left nothing to do by these settings, as far as no table has changed since."""
        return self.versions is None or (self.scored is not None and self.fingerprints[CHAIN] == fingerprint)

    def has_noted(self, stages: Iterable[str]) -> bool:
        """Whether each of these stages has a row, where a chain left nothing to do: views go by their settings."""
        return self.versions is None or {*stages} <= self.fingerprints.keys()


def read(tables: Tables) -> LastRun:
    """What the table says, in one query."""
    if not tables.exists("runs"):
        return LastRun()
    reduction = F.get_json_object("conf", "$.filter.aesthetic_reduction").alias("reduction")
    row = F.struct("fingerprint", "tables", "summary", "scored_by", "ended_at", "waiting_run_id", "linked", reduction)
    last = F.max_by(row, "started_at").alias("row")
    until = F.max(F.unix_micros(F.greatest("started_at", "ended_at"))).alias("until")
    found = tables.read("runs").groupBy("stage").agg(last, F.sum("num_out").alias("num_out"), until).collect()
    rows: dict[str, Any] = {row["stage"]: row["row"] for row in found}
    written = {row["stage"]: row["num_out"] for row in found}
    latest = max((row["until"] for row in found if row["until"]), default=None)
    chain = rows.get(CHAIN)
    scored = max((row for row in rows.values() if row["scored_by"]), key=lambda row: row["ended_at"], default=None)
    settled = {stage: last for stage, last in rows.items() if chain and last["ended_at"] <= chain["ended_at"]}
    return LastRun(
        {stage: last["fingerprint"] for stage, last in rows.items()},
        {stage: last["fingerprint"] for stage, last in settled.items()},
        chain and chain["tables"],
        chain and chain["summary"],
        scored and Scored(scored["scored_by"], scored["tables"]),
        written.get("filter") or 0,
        latest and datetime.fromtimestamp(latest / 1e6, UTC),
        rows["filter"]["reduction"] if "filter" in rows else None,
        chain and chain["waiting_run_id"],
        chain and chain["linked"],
    )


def versions(tables: Tables) -> dict[str, int]:
    """The newest version of every table that rows of the chain depend on."""
    newest = {name: tables.version(name) for name in TABLES if name != "runs"}
    return {name: version for name, version in newest.items() if version is not None}
