"""Gates on what models found: which clips fail them, and which copies stand for themselves then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.config.settings import load
from jobs.flow import gates, score_gates
from jobs.lake import custom_tables
from jobs.lake.fingerprints import fingerprint
from jobs.lake.run import Run
from schemas import knowing
from tests.support.two_settings import add
from tests.support.vectors import write_embeddings

pytestmark = pytest.mark.spark
AESTHETIC = "filter.aesthetic=true"
OWN = ["custom.level.function=os:listdir", 'custom.level.columns={level = "double"}']


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Clip a of a low score and its copy b, c of a high score and its copy d, and e, which has no scores, of f."""
    folder = tmp_path_factory.mktemp("scores")
    write_embeddings(folder, list("abcdef"), np.ones((6, 2)))
    settings = load([], OWN)
    copies = {"a": None, "b": "a", "c": None, "d": "c", "e": "f", "f": None}
    of_stage = {name: {"fingerprint": fingerprint(name, settings)} for name in ("copies", "aesthetic", "level")}
    add(folder, "copies", [of_stage["copies"] | {"clip_id": clip, "copy_of": of} for clip, of in copies.items()])
    scores = [{"clip_id": clip, "score_min": score, "score_mean": 5.0} for clip, score in (("a", 2.0), ("c", 5.0))]
    add(folder, "aesthetics", [of_stage["aesthetic"] | row for row in scores])
    failures = [{"stage": "aesthetic", "key": clip, "code": "CORRUPT"} for clip in "fa"]
    add(folder, "failures", [of_stage["aesthetic"] | row for row in failures])
    with knowing(custom_tables.declared(settings)):
        levels = [{"clip_id": clip, "level": level} for clip, level in (("a", 3.0), ("c", 1.0))]
        add(folder, "level", [of_stage["level"] | row for row in levels])
        yield folder


def names(rows: DataFrame | None) -> str:
    """The clips of the rows, in order."""
    assert rows is not None
    return "".join(sorted(row["clip_id"] for row in rows.collect()))


@pytest.mark.parametrize(
    ("settings", "failing", "asked"),
    [
        ([AESTHETIC], "a", "abcf"),
        ([AESTHETIC, "filter.aesthetic_reduction=mean"], "", "acf"),
        ([AESTHETIC, "filter.unscored=drop"], "af", "abcef"),  # its stage gave f up
        (["custom.level.gate=level > 2 AND num_captions > 0"], "c", "acdf"),  # of captions nothing is known yet
        (["custom.level.gate=level > 2", AESTHETIC], "ac", "abcdf"),
        ([AESTHETIC, "filter.duplicates=false"], "a", "abcdef"),
    ],
)
def test_a_copy_of_a_clip_that_fails_is_asked_about(
    spark: SparkSession, output: Path, settings: list[str], failing: str, asked: str
) -> None:
    run = Run(spark, str(output), load([], [*OWN, *settings]))
    assert names(score_gates.failing(run)) == failing
    assert names(gates.inputs(run)) == asked
    assert names(score_gates.orphans(run)) == "".join(sorted({"a": "b", "c": "d", "f": "e"}[clip] for clip in failing))


def test_once_all_were_asked_a_clip_without_a_score_fails_where_that_is_set(spark: SparkSession, output: Path) -> None:
    keep, drop = (Run(spark, str(output), load([], [AESTHETIC, f"filter.unscored={how}"])) for how in ("keep", "drop"))
    assert names(score_gates.failing(keep, were_asked=True)) == "a"
    assert names(score_gates.failing(drop, were_asked=True)) == "abdef"


def test_without_such_a_gate_nothing_is_looked_up(spark: SparkSession, output: Path) -> None:
    run = Run(spark, str(output), load([], ["filter.black=true", "filter.where=c.width > 1"]))
    assert score_gates.failing(run) is None
    assert score_gates.orphans(run) is None
    assert score_gates.failing_verdicts(run, run.tables.read("clips").select("clip_id")) is None
