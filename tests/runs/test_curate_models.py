"""curate with every model stage, with tiny random models: on two cores, and on fake GPUs."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs import cli
from schemas import TABLES
from tests.support import fake_gpus, tiny
from tests.support.footage import write_numbered
from tests.support.outputs import RUN_COLUMNS, table, versions

pytestmark = pytest.mark.spark
SPLIT = ["--set", "split.clip_len_s=2", "--set", "split.min_clip_length_s=1"]
CONF = str(Path("conf/tiny.toml").resolve())  # it names the models relative to where it is run
CHECKOUT = os.getcwd()
MODEL_TABLES = ("aesthetics", "embeddings", "captions", "alignments", "enhanced")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos, and the models of conf/tiny.toml under .models."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "videos").mkdir()
    write_numbered(folder / "videos" / "long.mp4", 150)
    write_numbered(folder / "videos" / "other.mp4", 60, first=700)
    tiny.build(folder / ".models")
    return folder


def arguments(folder: Path, output: str) -> list[str]:
    """A run's command line, but for the program."""
    return ["curate", "--conf", CONF, "--manifest", str(folder / "videos"), "--output", str(folder / output), *SPLIT]


@pytest.fixture(scope="module")
def local(spark: SparkSession, folder: Path) -> Path:
    """The output of a run on two cores."""
    with contextlib.chdir(folder):
        assert cli.main(arguments(folder, "local")) == 0
    return folder / "local"


def rows(output: Path, name: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The rows of a table by their keys, without what differs from run to run; paths are relative to the output."""
    kept = [
        {k: v for k, v in row.items() if k not in {*RUN_COLUMNS, "seconds", "centroid"}} for row in table(output, name)
    ]
    return {tuple(repr(row[k]).replace(str(output), "") for k in TABLES[name].key if k in row): row for row in kept}


def alike(one: Any, other: Any) -> bool:
    """Equal, but for the last digits that sums in another order leave."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-4)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(alike(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[k], other[k]) for k in one)
    return bool(one == other)


def test_every_model_stage_fills_its_table(local: Path) -> None:
    assert table(local, "failures") == []
    clips = {row["clip_id"] for row in table(local, "clips")}
    assert len(clips) == 4
    for name in MODEL_TABLES:
        assert {row["clip_id"] for row in table(local, name)} == clips, name
    captions = {row["clip_id"]: row["caption"] for row in table(local, "captions") if row["start_frame"] == 0}
    for row in table(local, "verdicts"):
        assert (row["num_captions"], row["caption"]) == (1, captions[row["clip_id"]])
        assert row["aesthetic_score_min"] is not None


def test_what_the_models_cost_is_recorded(local: Path) -> None:
    runs = {row["stage"]: row for row in table(local, "runs")}
    assert {"aesthetic", "embed", "caption", "enhance"} <= runs.keys()
    assert all(runs[stage]["gpu_s"] > 0 for stage in ("aesthetic", "embed", "caption", "enhance"))
    assert runs["clip"]["gpu_s"] is None
    assert "torch" in dict(runs["embed"]["versions"])


def test_again_nothing_is_asked_of_any_model(
    spark: SparkSession, folder: Path, local: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = versions(local)
    with contextlib.chdir(folder):
        assert cli.main(arguments(folder, "local")) == 0
    assert versions(local) == before
    assert "nothing to do: 0 decoded, 0 rows written" in caplog.text


def test_curated_tells_all_of_a_clip(spark: SparkSession, local: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = (
        "select count(*) as n from curated where aesthetic_score > 0 and size(embedding) > 0 "
        "and length(captions[0].caption) > 0 and length(captions[0].enhanced_caption) > 0"
    )
    assert cli.main(["sql", "--output", str(local), query]) == 0
    assert capsys.readouterr().out.split() == ["n", str(len([r for r in table(local, "verdicts") if r["kept"]]))]


@pytest.mark.cluster
def test_a_cluster_with_gpus_gives_the_same_rows(local: Path, folder: Path) -> None:
    """In a process of its own, since another session is at work in this one."""
    options = [f"--set=spark.{key}={value}" for key, value in fake_gpus.conf(folder).items()]
    command = [sys.executable, "-m", "jobs.curate", *arguments(folder, "cluster")[1:], *options]
    environment = os.environ | {"PYTHONPATH": CHECKOUT}
    run = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=1800
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert "embed: 1 CPU and 0.5 GPUs per task; a resource profile: without dynamic allocation" in run.stderr
    for name in ("clips", "signals", *MODEL_TABLES, "verdicts"):
        one, other = rows(local, name), rows(folder / "cluster", name)
        assert one.keys() == other.keys(), name
        for key in one:
            assert alike(_relative(one[key], local), _relative(other[key], folder / "cluster")), (name, key)


def _relative(value: Any, output: Path) -> Any:
    if isinstance(value, str):
        return value.replace(str(output), "")
    if isinstance(value, list):
        return [_relative(v, output) for v in value]
    return {k: _relative(v, output) for k, v in value.items()} if isinstance(value, dict) else value
