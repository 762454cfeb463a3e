"""Inputs whose failures may pass, which each run tries again: by their rows alone, where nothing else was left to do.

`runs` names the last run that left nothing else: it has tried all of them, so `failures` has them under its id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.flow import stage
from jobs.flow.stage import Stage
from jobs.lake.history import Counts
from jobs.lake.owners import owners
from jobs.lake.run import Run
from jobs.spark import session
from udfs.core.errors import PASSING

MANY = 1000  # inputs; where more wait, the next run looks at all rows

Waiting = Mapping[str, Sequence[str]]  # keys of inputs by stage


def failed_in(run: Run, run_id: str) -> DataFrame:
    """Stage and key of the inputs that failed in a run and are tried again; files to ingest are not among them."""
    failed = run.tables.read("failures").where((F.col("run_id") == run_id) & F.col("code").isin(*PASSING))
    return failed.where(F.col("stage") != "ingest").select("stage", "key").distinct()


def since_last(run: Run) -> Waiting:
    """The inputs that waited when the last run ended."""
    keys: dict[str, list[str]] = {}
    if run.last.waiting_run_id:
        for name, key in failed_in(run, run.last.waiting_run_id).collect():
            keys.setdefault(name, []).append(key)
    return keys


def try_again(run: Run, steps: Sequence[Stage], waiting: Waiting) -> tuple[Counts, bool]:
    """Try the inputs again, while the rows that they are made of are as they were.

    Also returns whether each of them failed again in a way that may pass. Else more may be left to do.
    """
    tried = [step for step in steps if step.name in waiting]
    part = run.of_part(_rows(run, tried, waiting), is_current=False)
    with session.compiled(run.spark, run.last.num_verdicts):
        counts = reduce(Counts.__add__, (_try(run, part, step, waiting[step.name]) for step in tried), Counts())
    failed_again = sum(counts.failed[code] for code in PASSING)
    return counts, not counts.num_out and failed_again == sum(map(len, waiting.values()))


def _try(run: Run, part: Run, step: Stage, keys: Sequence[str]) -> Counts:
    todo = stage.pending(part, step)
    return stage.run_pending(run, step, todo.where(F.col(step.key).isin(*keys)))


def _rows(run: Run, steps: Sequence[Stage], waiting: Waiting) -> dict[str, DataFrame]:
    """By table, the rows of the clips that wait, and all videos; only what a stage needs of them is read.

    Without `copies`: a clip that models were asked about was represented by no other, and is not now.
    """
    clips = [key for step in steps if step.key == "clip_id" for key in waiting[step.name]]
    rows = {"videos": run.made("videos")}
    for name in filter(run.tables.exists, ({*owners(), "verdicts"} - {"copies"}) if clips else ()):
        rows[name] = (run.current if name == "spans" else run.made)(name).where(F.col("clip_id").isin(*clips))
    return rows
