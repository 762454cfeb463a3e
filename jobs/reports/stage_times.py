"""What each stage of a run took, beside the runs before it: seconds, rates, CPU and GPU seconds, and cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

from jobs.config.errors import UsageError
from jobs.lake.catalog import literal
from jobs.queries.ask import Ask

BEFORE = 7  # runs that a run is compared with
RUNS = """
SELECT run_id, min(unix_millis(started_at)) AS began_ms
FROM stage_costs GROUP BY run_id ORDER BY began_ms DESC, run_id DESC
"""
TIMES = """
SELECT run_id, stage, unix_millis(started_at) AS began_ms, seconds AS took_s,
       CAST(num_in AS bigint) AS num_in, CAST(num_out AS bigint) AS num_out, CAST(num_failed AS bigint) AS num_failed,
       media_hours, cpu_s, gpu_s, cost_usd
FROM stage_costs WHERE run_id IN ({runs}) ORDER BY began_ms, stage
"""


class Times(NamedTuple):
    """A stage of a run; None where a value is not known."""

    run_id: str
    stage: str
    began_ms: int
    took_s: float | None
    num_in: int | None
    num_out: int | None
    num_failed: int | None
    media_hours: float | None
    cpu_s: float | None
    gpu_s: float | None
    cost_usd: float | None

    @property
    def inputs_per_s(self) -> float | None:
        """Inputs per second."""
        return self.num_in / self.took_s if self.num_in and self.took_s else None

    @property
    def media_rate(self) -> float | None:
        """Hours of media per hour."""
        return self.media_hours * 3600 / self.took_s if self.media_hours and self.took_s else None


class Measure(NamedTuple):
    """A number of a stage, the median of earlier runs, and the numbers of these runs and this one, oldest first."""

    value: float | None
    median: float | None
    history: list[float | None]

    @property
    def change(self) -> float | None:
        """How much it is above the median, as a share of it."""
        return self.value / self.median - 1 if self.value is not None and self.median else None


class Stage(NamedTuple):
    """A stage of the run, beside earlier runs in which it had something to do."""

    times: Times
    took_s: Measure
    inputs_per_s: Measure
    media_rate: Measure
    cpu_s: Measure
    gpu_s: Measure
    cost_usd: Measure


class Run(NamedTuple):
    """A run: when it began (milliseconds of Unix time), its stages, and how many runs they are compared with."""

    run_id: str
    began_ms: int
    stages: list[Stage]
    num_before: int


def read(ask: Ask, run_id: str | None) -> Run | None:
    """The run with this id or beginning of one, or the last one; None if there was none.

    Raises:
        UsageError: there is no such run.
    """
    every = ask(RUNS)
    place = _place([name for name, _ in every], run_id)
    if place is None:
        return None
    name, began_ms = every[place]
    before = [earlier for earlier, _ in every[place + 1 : place + 1 + BEFORE]]
    rows = [Times(*row) for row in ask(TIMES.format(runs=", ".join(map(literal, [name, *before]))))]
    stages = [_stage(row, _earlier(rows, row.stage, before)) for row in rows if row.run_id == name]
    return Run(name, began_ms, stages, len(before))


def _place(names: Sequence[str], run_id: str | None) -> int | None:
    """The place of a run among all, newest first."""
    if run_id is None:
        return 0 if names else None
    found = [place for place, name in enumerate(names) if name.startswith(run_id)]
    if not found:
        raise UsageError(f"--run {run_id}: no such run; the last ones are {', '.join(names[:3]) or 'none'}")
    return found[0]


def _earlier(rows: Sequence[Times], stage: str, before: Sequence[str]) -> list[Times]:
    """The rows of a stage in earlier runs in which it had inputs, oldest first."""
    found = {row.run_id: row for row in rows if row.stage == stage and row.num_in}
    return [found[name] for name in reversed(before) if name in found]


def _stage(row: Times, earlier: Sequence[Times]) -> Stage:
    def measure(value: Callable[[Times], float | None]) -> Measure:
        history = [value(one) for one in earlier]
        known = [number for number in history if number is not None]
        return Measure(value(row), median(known) if known else None, [*history, value(row)])

    return Stage(
        row,
        measure(lambda one: one.took_s),
        measure(lambda one: one.inputs_per_s),
        measure(lambda one: one.media_rate),
        measure(lambda one: one.cpu_s),
        measure(lambda one: one.gpu_s),
        measure(lambda one: one.cost_usd),
    )
