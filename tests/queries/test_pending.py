"""What DuckDB finds pending is what the jobs find by Spark, in every stage, and since a run that left nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import aesthetic, align, analyze, caption, clip, embed, enhance, split
from jobs.config.settings import load
from jobs.flow import stage
from jobs.lake import scores
from jobs.lake.run import Run
from jobs.queries.duckdb_engine import Engine, Snapshot
from jobs.queries.pending import InForce, Pending, pending
from jobs.queries.reader import Row
from jobs.similarity import copy_groups, dedup_run
from tests.support import half_done, small_output
from udfs.storage.settings import Params as Sources

STAGES = {step.STAGE.name: step.STAGE for step in (split, clip, analyze, aesthetic, embed, caption, enhance, align)}
CAPTIONS = ("curate.caption=true", "curate.align=true", "curate.enhance=true")
SETTINGS = {
    "defaults": (),
    "gates": ("filter.motion=true", "filter.unscored=drop", "filter.letterboxed=true"),
    "models": ("curate.aesthetic=true", "filter.aesthetic=true", *CAPTIONS),
    "all clips": ("filter.duplicates=false", "caption.only_kept=false", *CAPTIONS),
}


def by_duckdb(output: Path, force: InForce) -> list[Pending]:
    """What is pending, by SQL."""
    return pending(Snapshot(Engine(str(output), Sources(), "min")).rows, force)


def by_spark(run: Run, name: str) -> int:
    """What a job would find pending."""
    of_stage: dict[str, Callable[[Run], int]] = {
        "copies": lambda run: copy_groups.pending(run).count(),
        "dedup": _num_to_link,
        "filter": _num_to_judge,
    }
    return of_stage[name](run) if name in of_stage else stage.pending(run, STAGES[name]).count()


def _num_to_link(run: Run) -> int:
    with ExitStack() as stack:
        plan = dedup_run.plan(run, dedup_run.model(run), partial(run.store, stack))
        changed = plan.changes.select("clip_id").distinct()
        return changed.count()


def _num_to_judge(run: Run) -> int:
    clips, verdicts = (rows.select("clip_id") for rows in (scores.gathered(run), run.tables.read("verdicts")))
    return clips.subtract(verdicts).count() + verdicts.subtract(clips).count()


@pytest.mark.spark
@pytest.mark.upkeep
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("names", SETTINGS)
def test_duckdb_and_spark_find_the_same(spark: SparkSession, seed: int, names: str, tmp_path: Path) -> None:
    settings = load([], [*SETTINGS[names]])
    output = half_done.write(tmp_path, settings, seed, num_done=3, num_videos=14)
    run = Run(spark, str(output), settings)
    found = {row.stage: row.inputs for row in by_duckdb(output, InForce.of(settings))}
    assert found == {name: by_spark(run, name) for name in found}
    assert sum(number > 0 for number in found.values()) >= 5


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.upkeep) for seed in range(1, 5))])
@pytest.mark.parametrize("names", SETTINGS)
def test_after_a_run_that_left_nothing_only_later_rows_count(seed: int, names: str, tmp_path: Path) -> None:
    settings = load([], [*SETTINGS[names]])
    output = half_done.write(tmp_path, settings, seed, num_done=6, num_videos=14)
    force = InForce.of(settings)
    since, whole = by_duckdb(output, replace(force, rest=half_done.REST)), by_duckdb(output, force)
    # A real run would not have linked those of the first clips that fail a gate.
    other = {"dedup"} if names in ("gates", "models") else set()
    assert [row for row in since if row.stage not in other] == [row for row in whole if row.stage not in other]
    assert sum(row.inputs for row in since) > 0


def test_seconds_of_media_are_summed(tmp_path: Path) -> None:
    settings = load([], [])
    output = half_done.write(tmp_path, settings, 2, num_done=0, num_videos=8)
    found = {row.stage: row for row in by_duckdb(output, InForce.of(settings))}
    assert found["clip"].media_s == pytest.approx(9.5 * found["clip"].inputs)
    assert found["analyze"].media_s == pytest.approx(9.0 * found["analyze"].inputs)


def test_an_empty_output_has_nothing_pending(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    found = by_duckdb(tmp_path, InForce.of(load([], [*CAPTIONS])))
    assert {row.inputs for row in found} == {0}
    assert [row.stage for row in found][-3:] == ["caption", "align", "enhance"]


def test_by_settings_that_never_ran_all_videos_are_pending(tmp_path: Path) -> None:
    output = small_output.write(tmp_path)
    assert {row.stage: row.inputs for row in by_duckdb(output, InForce({}, {})) if row.inputs} == {
        "split": 2,
        "filter": 4,
    }


def test_stages_are_those_of_the_settings() -> None:
    own: Row = {"custom": {"tag": {}}}
    assert InForce({}, own).stages == ("split", "clip", "analyze", "copies", "embed", "tag", "dedup", "filter")
    force = InForce({}, {"curate": {"aesthetic": True, "caption": True}, "filter": {"duplicates": False}})
    assert force.stages == ("split", "clip", "analyze", "aesthetic", "embed", "dedup", "filter", "caption")
