"""`verdicts` says all of a clip, and another threshold is applied to it alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs import cli, filter
from jobs.config.settings import load
from jobs.lake import scores
from jobs.lake.run import Run
from schemas.verdicts import FROM_CLIPS, FROM_SIGNALS, FROM_SPANS
from tests.support.outputs import CURATED, table

pytestmark = pytest.mark.spark


@pytest.fixture
def output(curated: Path, tmp_path: Path) -> Path:
    """A copy of the shared output, with three kept clips."""
    return Path(shutil.copytree(curated, tmp_path / "output"))


def rows(output: Path, name: str, key: str = "clip_id") -> dict[str, dict[str, Any]]:
    """The rows of a table by their key."""
    return {row[key]: row for row in table(output, name)}


def outdated(spark: SparkSession, output: Path, *overrides: str) -> int:
    """How many verdicts are not what all tables say."""
    return filter.num_outdated(Run(spark, str(output), load([], [*CURATED, *overrides])))


def test_a_verdict_says_what_the_tables_say_of_its_clip(curated: Path) -> None:
    spans, clips, signals, vectors = (rows(curated, name) for name in ("spans", "clips", "signals", "embeddings"))
    videos, links = rows(curated, "videos", "video_id"), rows(curated, "duplicates")
    found = table(curated, "verdicts")
    assert len(found) == 3
    for row in found:
        clip = row["clip_id"]
        for source, names in ((spans, FROM_SPANS), (clips, FROM_CLIPS), (signals, FROM_SIGNALS)):
            assert {name: row[name] for name in names} == {name: source[clip][name] for name in names}
        assert row["video_uri"] == videos[row["video_id"]]["uri"]
        assert (row["measured"], row["num_previews"]) == (True, len(signals[clip]["previews"]))
        assert (row["embedding_model"], row["cluster_id"]) == (vectors[clip]["model"], links[clip]["cluster_id"])
        assert (row["link_method"], row["similarity"]) == ("semantic", links[clip]["similarity"])
        assert row["cut_run_id"] == clips[clip]["run_id"]
        assert (row["num_captions"], row["caption"], row["aesthetic_score_min"]) == (None, None, None)


@pytest.mark.parametrize("many", [0.0, pytest.param(1.0, marks=pytest.mark.nights)])
def test_another_threshold_asks_no_other_table_and_changes_the_verdicts_that_differ(
    many: float, spark: SparkSession, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filter, "MANY", many)
    monkeypatch.setattr(scores, "gathered", lambda run: pytest.fail("all tables are asked"))
    before = rows(output, "verdicts")
    *_, highest = sorted(row["blur"] for row in before.values())
    strict = [*CURATED, "filter.blurred=true", f"filter.blur_threshold={highest}"]
    for settings, num_kept in ((strict, 1), (CURATED, 3)):
        assert cli.main(["filter", "--output", str(output), *(f"--set={option}" for option in settings)]) == 0
        after = rows(output, "verdicts")
        assert sum(row["kept"] for row in after.values()) == num_kept
        changed = {clip for clip in after if after[clip]["run_id"] != before[clip]["run_id"]}
        assert changed == {clip for clip in after if after[clip]["kept"] != before[clip]["kept"]}
        assert len(changed) == 2
        before = after
    monkeypatch.undo()
    assert outdated(spark, output) == 0


@pytest.mark.nights
def test_once_a_table_has_changed_all_are_asked(spark: SparkSession, output: Path) -> None:
    run = Run(spark, str(output), load([], CURATED))
    assert scores.are_stored(run)
    assert not scores.are_stored(Run(spark, str(output), load([], [*CURATED, "phash.num_frames=5"])))
    clip, *_ = rows(output, "clips")
    run.tables.drop("signals", run.tables.read("signals").where(f"clip_id = '{clip}'").select("clip_id"))
    assert not scores.are_stored(run)
    assert outdated(spark, output) == 1
    assert cli.main(["filter", "--output", str(output), *(f"--set={option}" for option in CURATED)]) == 0
    assert outdated(spark, output) == 0
    assert (rows(output, "verdicts")[clip]["measured"], rows(output, "verdicts")[clip]["blur"]) == (False, None)
