"""Counts that a chain notes of dedup's rows: they are those of the tables, and spare the next run a look at these."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from jobs import dedup
from jobs.config.settings import load
from jobs.lake import history, last_run, rest
from jobs.lake.history import Counts, Work
from jobs.lake.run import Run
from jobs.similarity import dedup_run, linked
from jobs.similarity.linked import Linked, Links, Vectors
from tests.support.outputs import table
from tests.support.vectors import clip_ids, unit, write_embeddings
from udfs.similarity.kmeans import Floats

pytestmark = pytest.mark.spark
SET = ["dedup.rows_per_cluster=8", "split.clip_len_s=2", "dedup.refit_growth=9", "dedup.refit_drift=9"]


def opened(spark: SparkSession, output: Path) -> Run:
    return Run(spark, str(output), load([], SET))


def night(spark: SparkSession, output: Path, ids: list[str], vectors: Floats) -> tuple[Run, Counts]:
    """Link new clips alone, and note as `curate` does that nothing is left."""
    run = opened(spark, output)
    write_embeddings(output, ids, vectors, SET, run_id=run.run_id)
    counts = dedup.run(run.of_this_run(), dedup.Options(output=""))
    known: dict[str, Any] = {"tables": last_run.versions(run.tables), "linked": run.last.linked}
    history.note(run, last_run.CHAIN, Work(cpu_s=0.0), fingerprint="x", **known)
    return run, counts


def counted(run: Run) -> Linked:
    """What the tables hold."""
    rows = {name: dedup_run.rows_of_version(run, name, 1) for name in ("duplicates", "assignments")}
    links = Links(**linked.summed(rows["duplicates"], linked.sums_of_links(1)))
    vectors = Vectors(**linked.summed(rows["assignments"], linked.sums_of_vectors(1)))
    return Linked(run.fingerprint("dedup"), 1, links, vectors)


@pytest.fixture(scope="module")
def nights(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output with a first night of 60 clips, and a second one of 4."""
    output = tmp_path_factory.mktemp("nights") / "output"
    vectors = unit(np.random.default_rng(1).normal(size=(64, 12)))
    vectors[5] = 0
    night(spark, output, clip_ids(60), vectors[:60])
    run, counts = night(spark, output, clip_ids(4, 60), vectors[60:])
    assert counts == Counts(4, 4)
    assert run.last.linked
    return output


@pytest.fixture
def output(nights: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(nights, tmp_path / "output"))


def test_a_night_goes_by_what_the_last_one_noted(
    spark: SparkSession, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = {row["clip_id"]: np.array(row["vector"]) for row in table(output, "embeddings")}
    copied, zeros = vectors[clip_ids(1, 62)[0]], np.zeros(12)
    new = clip_ids(3, 64)
    known = unit(np.random.default_rng(9).normal(size=(1, 12)))[0]
    with monkeypatch.context() as patch:
        patch.setattr(linked, "summed", lambda *_: pytest.fail("it looked at all rows"))
        run, counts = night(spark, output, new, np.stack([copied, zeros, known]))
    assert counts == Counts(3, 3)
    links = {row["clip_id"]: row for row in table(output, "duplicates")}
    assert (links[new[0]]["duplicate_of"], links[new[0]]["dedup_run"]) == (clip_ids(1, 62)[0], 3)
    now = counted(opened(spark, output))
    assert now.links == Links(67, 67, 4)
    assert (now.vectors.num_vectors, now.vectors.num_fitted, now.vectors.num_placed) == (67, 60, 65)
    assert run.last.linked is not None
    fingerprint, version, noted_links, noted_vectors = json.loads(run.last.linked)
    assert (fingerprint, version, Links(*noted_links)) == now[:3]
    assert noted_vectors == pytest.approx(now.vectors)


def test_what_is_noted_counts_until_another_program_changes_a_table(spark: SparkSession, output: Path) -> None:
    noted = linked.noted(opened(spark, output), 1)
    assert noted is not None
    assert noted.links == counted(opened(spark, output)).links
    assert linked.noted(opened(spark, output), 2) is None
    DeltaTable(output / "tables" / "duplicates").delete(f"clip_id = '{clip_ids(1)[0]}'")
    assert linked.noted(opened(spark, output), 1) is None


def test_it_is_noted_again_where_no_row_has_gone(spark: SparkSession, output: Path) -> None:
    run = opened(spark, output)
    assert rest.is_noted(run)
    rest.note_again(run)
    assert linked.noted(opened(spark, output), 1) == linked.noted(run, 1) is not None


def test_growth_and_drift() -> None:
    fitted = Vectors(num_vectors=10, num_fitted=10, num_placed=8, distance=4.0, fitted_distance=0.5)
    assert (fitted.growth, fitted.drift) == (1.0, 1.0)
    grown = fitted.with_new(Vectors(num_vectors=5, num_fitted=0, num_placed=2, distance=11.0, fitted_distance=0.0))
    assert (grown.growth, grown.drift) == (1.5, 3.0)
    assert (Vectors(0, 0, 0, 0.0, 0.0).growth, Vectors(0, 0, 0, 0.0, 0.0).drift) == (1.0, 1.0)
