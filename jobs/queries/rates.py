"""What pending work takes, by what the last runs took for theirs: seconds of cores and of time, and dollars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime

from jobs.queries.pending import Pending
from jobs.queries.reader import Rows

WORK = """
SELECT stage, run_id, num_in, media_s, cpu_s, gpu_s, cost_usd, started_at, ended_at FROM runs
WHERE num_in > 0 AND started_at IS NOT NULL AND ended_at IS NOT NULL
"""
LAST_RUNS = 5  # in which a stage had something to do
# Stages whose inputs another one makes of the same media, and those whose inputs are only counted.
AFTER = {"clip": "split", "analyze": "clip", "caption": "analyze"}
COUNTED_AFTER = {"copies": "analyze", "dedup": "analyze", "filter": "analyze", "enhance": "caption", "align": "caption"}
MODELS_AFTER = "analyze"  # comes before all other stages that ask models, and the user's own


@dataclass(frozen=True)
class Rate:
    """What a stage did in one run or in several; None where a part of it is not known."""

    inputs: int
    media_s: float | None  # of the inputs
    seconds: float
    cpu_s: float | None
    gpu_s: float | None
    usd: float | None

    def __add__(self, other: Rate) -> Rate:
        sums = {f.name: _sum(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return Rate(**sums)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Estimate:
    """What is pending in a stage and what the stages before it will add, and what all that takes.

    None stands for what was never measured.
    """

    stage: str
    inputs: int  # that are pending now
    media_s: float | None
    added: float | None  # inputs that the stages before it will make, about; of those that are only counted
    added_media_s: float
    seconds: float | None
    cpu_s: float | None
    gpu_s: float | None
    usd: float | None


Measured = Mapping[str, Mapping[str, Rate]]  # by stage and run


def measured(rows: Rows) -> Measured:
    """The rate of each stage in each run in which it had something to do."""
    found: dict[str, dict[str, Rate]] = {}
    for row in rows(WORK):
        began, ended = (datetime.fromisoformat(row[name]) for name in ("started_at", "ended_at"))
        seconds = (ended - began).total_seconds()
        rate = Rate(row["num_in"], row["media_s"], seconds, row["cpu_s"], row["gpu_s"], row["cost_usd"])
        of_stage = found.setdefault(row["stage"], {})
        of_stage[row["run_id"]] = of_stage[row["run_id"]] + rate if row["run_id"] in of_stage else rate
    return found


def estimates(found: Iterable[Pending], rates: Measured, new_media_s: float = 0.0) -> list[Estimate]:
    """An estimate per stage, in the order of the chain; `new_media_s` is of videos that are yet to be ingested."""
    media = {"ingest": new_media_s}  # that each stage will have worked on
    every = list[Estimate]()
    for pending in found:
        before = COUNTED_AFTER.get(pending.stage) or _before(pending.stage)
        to_come = media.get(before, 0.0)
        if pending.stage in COUNTED_AFTER:
            added, added_s = to_come * _per_second(pending.stage, before, rates), 0.0
        else:
            added, added_s = None, to_come * _ratio(pending.stage, before, rates)
            media[pending.stage] = (pending.media_s or 0.0) + added_s
        every.append(_estimate(pending, added, added_s, rates))
    return every


def totals(every: Iterable[Estimate]) -> dict[str, float | None]:
    """The sums over all stages with something to do; None where a part is unknown."""
    busy = [estimate for estimate in every if estimate.inputs or estimate.added or estimate.added_media_s]
    sums: dict[str, float | None] = {}
    for name in ("seconds", "cpu_s", "usd"):
        values = [getattr(estimate, name) for estimate in busy]
        sums[name] = None if None in values else sum(values)
    return sums


def _before(stage: str) -> str:
    return "ingest" if stage == "split" else AFTER.get(stage, MODELS_AFTER)


def _estimate(pending: Pending, added: float | None, added_s: float, rates: Measured) -> Estimate:
    last = [*_last(rates.get(pending.stage, {})).values()]
    work: dict[str, float | None] = dict.fromkeys(("seconds", "cpu_s", "gpu_s", "usd"))
    if last:
        rate = last[0]
        for other in last[1:]:
            rate += other
        by_media = pending.stage not in COUNTED_AFTER and rate.media_s
        done = rate.media_s if by_media else rate.inputs
        to_do = (pending.media_s or 0.0) + added_s if by_media else pending.inputs + (added or 0.0)
        work = {name: None if (value := getattr(rate, name)) is None else value * to_do / (done or 1) for name in work}
    return Estimate(pending.stage, pending.inputs, pending.media_s, added, added_s, **work)


def _last(runs: Mapping[str, Rate]) -> dict[str, Rate]:
    """Those of the last runs, whose ids sort by time."""
    return {run_id: runs[run_id] for run_id in sorted(runs)[-LAST_RUNS:]}


def _ratio(stage: str, before: str, rates: Measured) -> float:
    """Seconds of media of a stage per second of the stage before it, in runs of both; 1 where there is none."""
    if before == "ingest":
        return 1.0
    own, other = _both(stage, before, rates)
    of_own, of_other = (sum(rate.media_s or 0.0 for rate in found) for found in (own, other))
    return of_own / of_other if of_other else 1.0


def _per_second(stage: str, before: str, rates: Measured) -> float:
    """Inputs of a stage per second of media of the stage before it, in runs of both; 0 where there is none."""
    own, other = _both(stage, before, rates)
    media_s = sum(rate.media_s or 0.0 for rate in other)
    return sum(rate.inputs for rate in own) / media_s if media_s else 0.0


def _both(stage: str, before: str, rates: Measured) -> tuple[list[Rate], list[Rate]]:
    """The rates of two stages in the last runs in which both had something to do."""
    own, other = rates.get(stage, {}), rates.get(before, {})
    common = sorted(set(own) & set(other))[-LAST_RUNS:]
    return [own[run_id] for run_id in common], [other[run_id] for run_id in common]


def _sum(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b
