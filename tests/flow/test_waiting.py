"""Inputs that wait: found by the failures of one run, and made of the same rows as by a look at all tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import aesthetic, align, analyze, caption, clip, embed, enhance, split
from jobs.config.settings import load
from jobs.flow import stage, waiting
from jobs.flow.stage import Stage
from jobs.lake.run import Run
from tests.support import half_done, small_output

STEPS = [step.STAGE for step in (split, clip, analyze, aesthetic, embed, caption, enhance, align)]
SETTINGS = {
    "defaults": (),
    "gates": ("filter.motion=true", "filter.unscored=drop", "filter.letterboxed=true", "filter.aesthetic=true"),
    "all clips": ("filter.duplicates=false", "caption.only_kept=false", "proxy.use=false"),
}

pytestmark = pytest.mark.spark


def lines(rows: DataFrame) -> list[str]:
    """Rows as sorted text."""
    return sorted(repr(sorted(row.asDict(recursive=True).items())) for row in rows.collect())


def keys(run: Run, step: Stage) -> list[str]:
    """What is pending in a stage by a look at all tables."""
    return [row[step.key] for row in stage.pending(run, step).collect()]


@pytest.mark.upkeep
@pytest.mark.parametrize("names", SETTINGS)
def test_inputs_that_wait_are_those_of_a_look_at_all_tables(spark: SparkSession, names: str, tmp_path: Path) -> None:
    settings = load([], [*SETTINGS[names]])
    run = Run(spark, str(half_done.write(tmp_path, settings, 1, num_done=3, num_videos=14)), settings)
    waits = {step.name: found for step in STEPS if (found := keys(run, step))}
    assert len(waits) >= 6
    steps = [step for step in STEPS if step.name in waits]
    part = run.of_part(waiting._rows(run, steps, waits), is_current=False)
    for step in steps:
        rows = stage.pending(part, step).where(F.col(step.key).isin(waits[step.name]))
        assert lines(rows) == lines(stage.pending(run, step)), step.name


def failure(stage_name: str, key: str, code: str, run_id: str) -> dict[str, Any]:
    """A row of `failures`."""
    return {"stage": stage_name, "key": key, "code": code, "run_id": run_id}


def test_what_failed_in_a_run_and_may_pass_waits(spark: SparkSession, tmp_path: Path) -> None:
    rows = [
        *(failure("ingest", "/a.mp4", "UNREACHABLE", "2"), failure("clip", "c1", "UNREACHABLE", "2")),
        *(failure("clip", "c2", "CORRUPT", "2"), failure("clip", "c3", "BUG", "2"), failure("embed", "c4", "BUG", "1")),
        failure("caption", "c3", "CHANGED", "2"),
    ]
    small_output.fill(tmp_path, "failures", rows, "f")
    run = Run(spark, str(tmp_path), load([], []))
    assert lines(waiting.failed_in(run, "3")) == []
    assert waiting.since_last(run) == {}
    run.last.waiting_run_id = "2"
    waits = {name: sorted(found) for name, found in waiting.since_last(run).items()}
    assert waits == {"clip": ["c1", "c3"], "caption": ["c3"]}
