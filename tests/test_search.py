"""search: the clips most like a text or a clip, by the model that made the vectors and no other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

import reelmill
from jobs import cli
from jobs.config.settings import Settings
from jobs.queries.nearest import check_text_side
from tests.support import tiny
from tests.support.outputs import CURATED, keep_only, table, versions
from udfs import embed
from udfs.core.gpu_device import visible_gpus
from udfs.models import embedding_models

TEXT = "a red ball"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tiny CLIP and a tiny SigLIP."""
    root = tmp_path_factory.mktemp("models")
    return {"clip": str(tiny.clip(root / "clip")), "siglip2": str(tiny.siglip2(root / "siglip2"))}


@pytest.fixture(scope="module")
def clip_output(curated: Path, models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output with vectors of the descriptor, and after it of a tiny CLIP."""
    output = Path(shutil.copytree(curated, tmp_path_factory.mktemp("clip") / "output"))
    options = [f"embed.model={models['clip']}", 'embed.texts_to_verify=["a red ball", "snow"]', *CURATED]
    for job in ("embed", "dedup", "filter"):
        assert cli.main([job, "--output", str(output), *(f"--set={option}" for option in options)]) == 0
    return output


def made(output: Path, model: str) -> list[dict[str, Any]]:
    """A model's rows."""
    return [row for row in table(output, "embeddings") if row["model"] == model]


def search(output: Path, capsys: pytest.CaptureFixture[str], *options: str) -> list[dict[str, Any]]:
    """The answers of a search."""
    capsys.readouterr()  # what making the output said
    assert cli.main(["search", "--output", str(output), "--json", *options]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def refused(output: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """The one line of a search that cannot be done."""
    capsys.readouterr()
    assert cli.main(["search", "--output", str(output), *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.spark
def test_a_text_finds_clips_in_the_order_of_their_cosine(
    clip_output: Path, models: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = embedding_models.load(models["clip"], embed.Params(), "cpu")
    assert loaded.encode_text
    asked = loaded.encode_text([TEXT])[0]
    expected = {
        row["clip_id"]: float(np.array(row["vector"], np.float32) @ asked) for row in made(clip_output, models["clip"])
    }
    answers = search(clip_output, capsys, "--text", TEXT)
    assert {row["clip_id"]: row["similarity"] for row in answers} == pytest.approx(expected, abs=1e-5)
    assert [row["clip_id"] for row in answers] == sorted(expected, key=expected.__getitem__, reverse=True)


@pytest.mark.spark
def test_python_finds_the_same_clips_without_spark(clip_output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = search(clip_output, capsys, "--text", TEXT)
    found = reelmill.open(clip_output).search(TEXT)
    assert [*found] == [row | {"similarity": pytest.approx(row["similarity"], abs=1e-6)} for row in answers]


@pytest.mark.spark
def test_an_answer_says_where_the_clip_is(clip_output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spans = {row["clip_id"]: row for row in table(clip_output, "spans")}
    videos = {row["video_id"]: row["uri"] for row in table(clip_output, "videos")}
    for row in search(clip_output, capsys, "--text", TEXT):
        span = spans[row["clip_id"]]
        assert list(row) == ["similarity", "clip_id", "video_uri", "start_s", "end_s", "caption", "preview"]
        assert (row["video_uri"], row["start_s"]) == (videos[span["video_id"]], span["start_s"])
        assert row["caption"] is None
        assert Path(row["preview"]).is_file()


@pytest.mark.spark
def test_a_table_is_printed_for_people(clip_output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert cli.main(["search", "--output", str(clip_output), "--text", TEXT, "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["similarity", "clip_id", "video_uri", "start_s", "end_s", "caption", "preview"]
    assert len(lines) == 3


@pytest.mark.spark
def test_more_like_a_clip_leaves_that_clip_out(curated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vectors = {row["clip_id"]: np.array(row["vector"]) for row in table(curated, "embeddings")}
    first = min(vectors)
    answers = search(curated, capsys, "--clip", first)
    expected = {other: float(vectors[other] @ vectors[first]) for other in vectors if other != first}
    assert {row["clip_id"]: row["similarity"] for row in answers} == pytest.approx(expected, abs=1e-5)


@pytest.mark.spark
@pytest.mark.nights
def test_clips_that_were_not_kept_are_found_only_when_asked(
    spark: SparkSession, clip_output: Path, models: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Path(shutil.copytree(clip_output, tmp_path / "output"))
    kept = [row["clip_id"] for row in search(output, capsys, "--text", TEXT, "--top", "1")]
    keep_only(spark, output, kept)
    assert [row["clip_id"] for row in search(output, capsys, "--text", TEXT)] == kept
    assert len(search(output, capsys, "--text", TEXT, "--all")) == 3


@pytest.mark.spark
def test_a_search_writes_nothing(clip_output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = versions(clip_output)
    search(clip_output, capsys, "--text", TEXT)
    assert versions(clip_output) == before


@pytest.mark.spark
def test_what_cannot_be_searched_is_said_in_a_line(
    curated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(curated, capsys, "--text", TEXT)
    assert "descriptor cannot encode texts; these can: cosmos-embed1-224p" in line
    assert "--clip missing: is not here" in refused(curated, capsys, "--clip", "missing")
    assert "--text: the text is empty" in refused(curated, capsys, "--text", " ")
    assert "no tables here" in refused(tmp_path, capsys, "--text", TEXT)


@pytest.mark.spark
def test_a_model_that_has_gone_is_said_in_a_line(
    clip_output: Path, models: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = shutil.move(models["clip"], tmp_path / "moved")
    try:
        assert f"the vectors here are of {models['clip']}" in refused(clip_output, capsys, "--text", TEXT)
    finally:
        shutil.move(moved, models["clip"])


@pytest.mark.spark
def test_the_texts_to_verify_lie_beside_the_vectors(clip_output: Path, models: dict[str, str]) -> None:
    for row in made(clip_output, models["clip"]):
        scores = dict(row["text_scores"])
        assert scores.keys() == {"a red ball", "snow"}
        assert sum(scores.values()) == pytest.approx(1, abs=1e-5)
        assert row["text_match"] == max(scores, key=scores.__getitem__)


@pytest.mark.spark
def test_vectors_of_two_models_lie_side_by_side_and_never_mix(
    clip_output: Path, models: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    widths = sorted((row["model"], row["dim"]) for row in table(clip_output, "embeddings"))
    assert widths == sorted([(models["clip"], 32)] * 3 + [("descriptor", 256)] * 3)
    assert {row["model"] for row in table(clip_output, "centroids")} == {models["clip"], "descriptor"}
    assert {len(row["vector"]) for row in table(clip_output, "assignments")} == {4 * 32}
    assert len(table(clip_output, "duplicates")) == 3
    for query, answer in (
        (
            "select count(*) n, count(distinct clip_id) m, min(size(embedding)) d, max(size(embedding)) e from curated",
            [3, 3, 32, 32],
        ),
        ("select count from funnel where step = 'clips with an embedding'", [3]),
        ("select sum(num_with_embeddings) n from clip_stats", [3]),
    ):
        capsys.readouterr()
        assert cli.main(["sql", "--output", str(clip_output), query]) == 0
        assert capsys.readouterr().out.splitlines()[1].split() == list(map(str, answer))


@pytest.mark.spark
def test_the_model_of_the_last_run_is_searched(
    clip_output: Path, models: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Path(shutil.copytree(clip_output, tmp_path / "output"))
    options = [f"embed.model={models['siglip2']}", *CURATED]
    assert cli.main(["embed", "--output", str(output), *(f"--set={option}" for option in options)]) == 0
    loaded = embedding_models.load(models["siglip2"], embed.Params(), "cpu")
    assert loaded.encode_text
    cosines = np.array([row["vector"] for row in made(output, models["siglip2"])]) @ loaded.encode_text([TEXT])[0]
    answers = search(output, capsys, "--text", TEXT)
    assert [row["similarity"] for row in answers] == pytest.approx(sorted(cosines, reverse=True), abs=1e-5)


@pytest.mark.parametrize("options", [[], ["--text", "a", "--clip", "b"]])
def test_a_question_must_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    assert cli.main(["search", "--output", str(tmp_path), *options]) == 2
    assert "--text" in capsys.readouterr().err


def test_the_number_of_answers_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["search", "--output", str(tmp_path), "--text", "a", "--top", "0"])
    assert caught.value.code == 2


def test_a_model_that_cannot_do_what_is_asked_stops_before_spark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options, line in (
        (["embed.texts_to_verify=['a dog']"], "embed.model: descriptor cannot encode texts"),
        (["embed.model=clip", f"models.dir={tmp_path}"], "reelmill models --fetch clip"),
        (["embed.model=clop"], "did you mean clip"),
    ):
        chosen = [word for option in options for word in ("--set", option)]
        assert cli.main(["embed", "--output", str(tmp_path / "output"), *chosen]) == 2
        assert line in capsys.readouterr().err
    assert not (tmp_path / "output").exists()


def write_embeddings(output: Path, *models: str) -> None:
    """One file of `embeddings` per model: what a search reads of them before Spark starts."""
    folder = output / "tables" / "embeddings"
    (folder / "_delta_log").mkdir(parents=True)
    (output / "tables" / "clips").mkdir()
    for k, model in enumerate(models):
        pq.write_table(pa.table({"clip_id": ["a", "b"], "model": [model, model]}), folder / f"{k}.parquet")


def test_a_text_for_vectors_without_a_text_side_is_refused_before_spark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_embeddings(tmp_path, "descriptor")
    line = refused(tmp_path, capsys, "--text", TEXT)
    assert line.startswith("reelmill: --text: the vectors here are of descriptor: descriptor cannot encode texts")


def test_a_text_for_vectors_of_a_model_that_is_missing_is_refused_before_spark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_embeddings(tmp_path / "output", "clip")
    line = refused(tmp_path / "output", capsys, "--text", TEXT, "--set", f"models.dir={tmp_path}")
    assert "the vectors here are of clip: clip (openai/clip-vit-large-patch14) is not in" in line


@pytest.mark.skipif(visible_gpus() > 0, reason="this machine has a GPU")
def test_a_text_on_a_gpu_that_is_not_there_is_refused_before_spark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_embeddings(tmp_path, "clip")
    line = refused(tmp_path, capsys, "--text", TEXT, "--set", "models.device=cuda")
    assert line.startswith("reelmill: models.device = cuda, but this machine has no GPU")


def test_one_model_with_a_text_side_is_enough_to_go_on(tmp_path: Path, models: dict[str, str]) -> None:
    write_embeddings(tmp_path, "descriptor", models["clip"])
    check_text_side(str(tmp_path / "tables" / "embeddings"), Settings())
