"""aesthetic: scores of frames equal the published head's; a clip gets the lowest and the mean."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from pyspark.sql import SparkSession
from safetensors.torch import load_file, save_file

from jobs.config.settings import load
from jobs.filter import judged
from jobs.lake import scores
from jobs.lake.declared import struct_type
from jobs.lake.fingerprints import fingerprint
from jobs.lake.run import Run
from schemas import TABLES
from tests.support import tiny
from tests.support.aesthetic_scores import published
from tests.support.footage import write_numbered
from udfs import aesthetic
from udfs.aesthetic import Params
from udfs.core.errors import MediaError
from udfs.models import checkpoints, registry
from udfs.models.registry import MissingModelError
from udfs.runtime.context import COST, FAILURE, GPU_COST, Env, Row

ENV = Env(media_root="unused", fingerprint="f" * 16, models=registry.Params(device="cpu"))


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory) -> Params:
    """The tiny CLIP and its head."""
    root = tmp_path_factory.mktemp("models")
    return Params(model=str(tiny.clip(root / "clip")), head=str(tiny.aesthetic_mlp(root / "head")), batch_size=5)


def clip(path: Path, **more: Any) -> Row:
    return {
        "clip_id": path.stem,
        "uri": str(path),
        "proxy_uri": None,
        "duration_s": 2.0,
        "fingerprint": "f" * 16,
    } | more


def scored(rows: list[Row], params: Params) -> pd.DataFrame:
    """What the stage makes of some clips, by their ids; finished rows may overtake each other."""
    done = pd.concat(list(aesthetic.rows([pd.DataFrame(rows)], params, ENV)))
    return done.set_index(done["clip_id"].fillna(done["failed_key"]), drop=False)


def test_a_clip_is_scored_as_the_library_scores_its_frames(tmp_path: Path, params: Params) -> None:
    path = write_numbered(tmp_path / "a.mp4", cuts=[30])
    row = scored([clip(path)], params).loc["a"]
    frames = aesthetic.decode(str(path), 1.0, ENV)
    assert frames.shape[:2] == (3, 224)  # 2 s at 1 fps: the first, the middle and the last frame
    assert row["frame_scores"] == pytest.approx(published(frames, params.model, params.head), abs=1e-4)
    assert len(set(row["frame_scores"])) == 3
    assert row["score_min"] == min(row["frame_scores"])
    assert row["score_mean"] == pytest.approx(np.mean(row["frame_scores"]))
    assert row["model"] == f"{params.model}+{params.head}"


def test_batches_that_cross_clips_give_each_its_own_scores(tmp_path: Path, params: Params) -> None:
    paths = [
        write_numbered(tmp_path / f"{k}.mp4", first=k * 500, size=size)
        for k, size in enumerate([(320, 240), (240, 320)] * 2)
    ]
    together = scored([clip(path) for path in paths], params)
    assert len(together) == 4
    for path in paths:
        alone = scored([clip(path)], params).loc[path.stem]
        assert together.loc[path.stem]["frame_scores"] == pytest.approx(alone["frame_scores"], abs=1e-4)


def test_the_proxy_is_read_where_there_is_one(tmp_path: Path, params: Params) -> None:
    path, proxy = write_numbered(tmp_path / "a.mp4"), write_numbered(tmp_path / "p.mp4", first=900)
    row = scored([clip(path, proxy_uri=str(proxy))], params).loc["a"]
    frames = aesthetic.decode(str(proxy), 1.0, ENV)
    assert row["frame_scores"] == pytest.approx(published(frames, params.model, params.head), abs=1e-4)


def test_the_rate_is_a_setting(tmp_path: Path, params: Params) -> None:
    faster = Params(model=params.model, head=params.head, target_fps=4)
    assert len(scored([clip(write_numbered(tmp_path / "a.mp4"))], faster).loc["a"]["frame_scores"]) == 9


def test_a_batch_holds_the_tables_columns_and_a_broken_clip_fails_alone(tmp_path: Path, params: Params) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    done = scored([clip(broken), clip(write_numbered(tmp_path / "a.mp4"))], params)
    assert list(done) == [*aesthetic.COLUMNS, "fingerprint", *FAILURE, COST, GPU_COST]
    assert done.loc["broken"]["failed_code"] == "CORRUPT"
    assert done.loc["broken"]["score_min"] is None
    assert done.loc["a"]["failed_code"] is None


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([np.array([4.0]), np.array([np.nan])], "1 of 2 scores are not finite"),
        ([np.array([np.inf])], "1 of 1 scores are not finite"),
        ([np.array([4.0, 5.0])], "1 answers of shapes"),
        ([np.array([4.0]), np.array(4.0)], "2 answers of shapes"),
        ([], "0 answers of shapes"),
    ],
)
def test_an_answer_that_is_no_score_fails_the_clip(answers: list[Any], said: str) -> None:
    with pytest.raises(MediaError, match=said) as e:
        aesthetic.finish({"clip_id": "a"}, answers, Params())
    assert e.value.code == "BAD_OUTPUT"


def test_a_model_with_broken_weights_fails_clips_and_no_task(tmp_path: Path, params: Params) -> None:
    weights = load_file(f"{params.head}/model.safetensors")
    weights["layers.7.bias"] = torch.tensor([float("nan")])
    (tmp_path / "head").mkdir()
    save_file(weights, tmp_path / "head" / "model.safetensors")
    broken = Params(model=params.model, head=str(tmp_path / "head"))
    assert scored([clip(write_numbered(tmp_path / "a.mp4"))], broken).loc["a"]["failed_code"] == "BAD_OUTPUT"


def test_the_stage_is_imported_without_torch() -> None:
    code = "import sys, udfs.aesthetic, jobs.config.settings; print({'torch', 'transformers'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_a_model_that_is_not_there_stops_the_driver() -> None:
    with pytest.raises(MissingModelError, match="reelmill models --fetch aesthetic-mlp"):
        aesthetic.check(Params(model="/tmp", head="aesthetic-mlp"), registry.Params(dir="/nowhere"))


def test_another_model_costs_new_scores_and_another_batch_size_does_not(params: Params, tmp_path: Path) -> None:
    def by(*overrides: str) -> str:
        return fingerprint("aesthetic", load([], list(overrides)))

    assert by() == by("aesthetic.batch_size=8", "aesthetic.resources.gpus=0.25", "filter.aesthetic_threshold=5")
    assert (
        len({by(), by("aesthetic.target_fps=2"), by("aesthetic.dtype=bfloat16"), by(f"aesthetic.head={params.head}")})
        == 4
    )
    moved = tiny.aesthetic_mlp(tmp_path / "head")
    before = by(f"aesthetic.head={moved}")
    checkpoints._folder_digest.cache_clear()
    tiny.aesthetic_mlp(moved, width=16)
    assert by(f"aesthetic.head={moved}") != before


def put(run: Run, table: str, stage: str, **values: Any) -> None:
    """A row that the run's own settings made, the columns not given empty."""
    schema = TABLES[table].schema
    zero: Row = {"string": "", "double": 0.0, "bool": False}
    empty = {f.name: None if f.nullable else zero.get(str(f.type), 0) for f in schema}
    made = {"end_s": 1.0, "fingerprint": run.fingerprint(stage), "run_id": run.run_id}
    types = struct_type(schema)
    run.tables.append(table, run.spark.createDataFrame([tuple((empty | made | values)[f] for f in types.names)], types))


@pytest.mark.spark
def test_filter_asks_for_the_lowest_or_the_mean_score_of_these_settings(spark: SparkSession, tmp_path: Path) -> None:
    run = Run(spark, str(tmp_path), load([], ["filter.aesthetic=true"]))
    for table, stage in (("spans", "split"), ("clips", "clip"), ("signals", "analyze")):
        put(run, table, stage, clip_id="a", video_id="v")
    put(run, "aesthetics", "aesthetic", clip_id="a", model="m", score_min=3.0, score_mean=4.0)
    put(
        run,
        "aesthetics",
        "aesthetic",
        clip_id="a",
        model="m",
        score_min=9.0,
        score_mean=9.0,
        fingerprint="other settings",
    )

    def reasons(*overrides: str) -> list[list[str]]:
        asked = Run(spark, str(tmp_path), load([], ["filter.aesthetic=true", *overrides]))
        return [row["reasons"] for row in judged(asked, scores.gathered(asked)).collect()]

    assert reasons() == [["aesthetic_low"]]
    assert reasons("filter.aesthetic_reduction=mean") == [[]]
    assert reasons("filter.aesthetic_reduction=mean", "filter.aesthetic_threshold=4.5") == [["aesthetic_low"]]


@pytest.mark.parametrize("settings", [{"target_fps": 0}, {"dtype": "int8"}, {"batch_size": 0}, {"reduction": "min"}])
def test_settings_out_of_bounds_are_refused(settings: Row) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Params).validate_python(settings)
