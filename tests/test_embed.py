"""embed: vectors of clips by the descriptor and by models, and scores of texts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError

from tests.support import tiny
from tests.support.footage import write_numbered
from udfs import embed
from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.frames import extract
from udfs.models import embedding_models, registry
from udfs.models.registry import MissingModelError
from udfs.runtime import batching
from udfs.runtime.context import COST, FAILURE, GPU_COST, Env, Row

KNOWN = ["clip_id", "model", "dim", "num_frames", "vector"]
ENV = Env(media_root="unused", fingerprint="f" * 16)


def clip(path: Path, proxy: Path | None = None) -> Row:
    proxy_uri = str(proxy) if proxy else None
    return {
        "clip_id": path.stem,
        "uri": str(path),
        "proxy_uri": proxy_uri,
        "duration_s": 2.0,
        "num_frames": 60,
        "framerate": 30.0,
    }


def test_a_clip_becomes_one_row_with_a_unit_vector(tmp_path: Path) -> None:
    [row] = embed.describe(clip(write_numbered(tmp_path / "a.mp4")), embed.Params(), ENV)
    assert list(row) == embed.COLUMNS == [*KNOWN, "text_scores", "text_match"]
    assert (row["clip_id"], row["model"], row["dim"], row["num_frames"]) == ("a", "descriptor", 256, 16)
    assert np.linalg.norm(row["vector"]) == pytest.approx(1, abs=1e-6)


def test_the_proxy_is_read_where_there_is_one(tmp_path: Path) -> None:
    proxy = write_numbered(tmp_path / "p.mp4", first=500)
    whole = clip(write_numbered(tmp_path / "a.mp4"), proxy)
    assert (
        embed.describe(whole, embed.Params(), ENV)[0]["vector"]
        == embed.describe(clip(proxy), embed.Params(), ENV)[0]["vector"]
    )


def test_the_clip_is_read_where_no_proxy_is_named(tmp_path: Path) -> None:
    path, other = write_numbered(tmp_path / "a.mp4"), write_numbered(tmp_path / "b.mp4", first=700)
    without, elsewhere = (embed.describe(clip(p), embed.Params(), ENV)[0]["vector"] for p in (path, other))
    assert len(without) == 256
    assert without != elsewhere


def test_a_proxy_that_is_gone_is_not_silently_replaced_by_the_clip(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="NOT_FOUND"):
        embed.describe(clip(write_numbered(tmp_path / "a.mp4"), tmp_path / "missing.mp4"), embed.Params(), ENV)


def test_frames_that_a_short_clip_shows_again_count_once(tmp_path: Path) -> None:
    [row] = embed.describe(clip(write_numbered(tmp_path / "a.mp4", num_frames=5)), embed.Params(), ENV)
    assert row["num_frames"] == 5


def test_as_many_frames_go_in_as_the_settings_say(tmp_path: Path) -> None:
    [row] = embed.describe(clip(write_numbered(tmp_path / "a.mp4")), embed.Params(num_frames=4), ENV)
    assert row["num_frames"] == 4


def test_a_batch_holds_the_tables_columns_and_a_failure_where_a_clip_is_broken(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    rows = [clip(write_numbered(tmp_path / "a.mp4")), clip(broken)]
    [done] = embed.rows([pd.DataFrame(rows)], embed.Params(), ENV)
    assert list(done) == [*embed.COLUMNS, "fingerprint", *FAILURE, COST, GPU_COST]
    assert done["clip_id"].tolist()[0] == "a"
    assert done["failed_key"].tolist()[1] == "broken"
    assert done["failed_code"].tolist()[1] == "CORRUPT"


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "cosmos"},
        {"num_frames": 0},
        {"frames": 8},
        {"texts_to_verify": ["a dog", " "]},
        {"texts_to_verify": ["a dog", "a dog"]},
        {"batch_size": 0},
    ],
)
def test_settings_out_of_bounds_are_refused(settings: Row) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(embed.Params).validate_python(settings)


@pytest.mark.parametrize(
    "model", ["clip", "cosmos-embed1-224p", "./mine", "/models/mine", "google/siglip2-base@0123abc"]
)
def test_a_known_model_a_folder_and_a_commit_of_the_hub_are_models(model: str) -> None:
    assert embed.Params(model=model).model == model


def test_a_misspelt_model_is_told_the_nearest() -> None:
    with pytest.raises(ValidationError, match="did you mean cosmos-embed1-224p"):
        embed.Params(model="cosmos-embed-224p")


def test_the_classical_embedder_needs_no_torch() -> None:
    code = "import sys, udfs.embed, jobs.embed, jobs.search; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny CLIP."""
    return str(tiny.clip(tmp_path_factory.mktemp("models") / "clip"))


def embedded(rows: list[Row], params: embed.Params, env: Env = ENV) -> dict[str, Row]:
    """The rows that the stage makes of these clips with a model, by clip."""
    done = pd.concat(embed.rows([pd.DataFrame(rows)], params, env))
    return {row["clip_id"] or row["failed_key"]: row for row in batching.records(done)}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Five clips of two seconds, one of them broken."""
    folder = tmp_path_factory.mktemp("clips")
    rows = [clip(write_numbered(folder / f"{first}.mp4", first=first)) for first in (0, 300, 600, 900)]
    (folder / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    return [*rows[:2], clip(folder / "broken.mp4"), *rows[2:]]


def test_a_models_vectors_are_those_of_its_own_call_on_the_same_pictures(clips: list[Row], model: str) -> None:
    done = embedded(clips, embed.Params(model=model, batch_size=3))
    loaded = embedding_models.load(model, embed.Params(model=model), "cpu")
    for name in ("0", "300", "600", "900"):
        _, pictures = extract.evenly_spaced_frames(
            next(row["uri"] for row in clips if row["clip_id"] == name), 8, loaded.fit, Limits()
        )
        assert np.allclose(done[name]["vector"], loaded.encode([pictures])[0], atol=1e-6)
        assert (done[name]["model"], done[name]["dim"], done[name]["num_frames"]) == (model, 32, 8)
    assert done["broken"]["failed_code"] == "CORRUPT"


def test_a_batch_of_a_model_holds_the_tables_columns(clips: list[Row], model: str) -> None:
    done = pd.concat(embed.rows([pd.DataFrame(clips[:1])], embed.Params(model=model), ENV))
    assert list(done) == [*embed.COLUMNS, "fingerprint", *FAILURE, COST, GPU_COST]


@pytest.mark.parametrize("batch_size", [1, 4])
def test_who_else_is_in_the_batch_changes_no_vector(clips: list[Row], model: str, batch_size: int) -> None:
    alone = embedded(clips[:1], embed.Params(model=model))
    among = embedded(clips, embed.Params(model=model, batch_size=batch_size))
    assert np.allclose(alone["0"]["vector"], among["0"]["vector"], atol=1e-5)


def test_a_model_sees_the_proxy_where_there_is_one(clips: list[Row], model: str) -> None:
    other = clips[0] | {"proxy_uri": clips[1]["uri"]}
    done = embedded([other, clips[1]], embed.Params(model=model))
    assert np.allclose(done["0"]["vector"], done["300"]["vector"], atol=1e-6)


def test_a_model_sees_as_many_frames_as_the_settings_say(clips: list[Row], model: str) -> None:
    assert embedded(clips[:1], embed.Params(model=model, num_frames=3))["0"]["num_frames"] == 3


def test_the_scores_of_texts_add_up_and_name_the_best(clips: list[Row], model: str) -> None:
    texts = ("a red ball", "a train crosses the bridge", "snow")
    done = embedded(clips[:2], embed.Params(model=model, texts_to_verify=texts))
    for row in (done["0"], done["300"]):
        assert tuple(row["text_scores"]) == texts
        assert sum(row["text_scores"].values()) == pytest.approx(1, abs=1e-6)
        assert row["text_match"] == max(texts, key=row["text_scores"].__getitem__)


@pytest.mark.parametrize("vector", [[0, 0, 0], [1, np.nan, 0], [np.inf, 0, 0], [1, 0]])
def test_a_vector_that_cannot_be_used_is_a_failure(vector: list[float]) -> None:
    answer = embed.Answer(np.array(vector, np.float32), 3, 8, None)
    with pytest.raises(MediaError, match="BAD_OUTPUT"):
        embed.finish({"clip_id": "a"}, [answer], embed.Params())


def refusal(params: embed.Params, models: registry.Params) -> str:
    """The one line that the driver says."""
    with pytest.raises(MissingModelError) as caught:
        embed.check(params, models)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_a_model_cannot_do_is_said_on_the_driver(model: str, tmp_path: Path) -> None:
    here = registry.Params(dir=str(tmp_path))
    assert "descriptor cannot encode texts; these can: cosmos" in refusal(
        embed.Params(texts_to_verify=("a dog",)), here
    )
    assert "reelmill models --fetch clip" in refusal(embed.Params(model="clip"), here)
    assert "not an embedding model" in refusal(embed.Params(model=str(tmp_path)), here)
    embed.check(embed.Params(model=model, num_frames=3, texts_to_verify=("a dog",)), here)
    embed.check(embed.Params(), here)


def test_a_models_own_code_runs_only_where_it_is_named(tmp_path: Path, clips: list[Row]) -> None:
    folder = str(tiny.cosmos(tmp_path / "cosmos"))
    assert "models.remote_code" in refusal(embed.Params(model=folder), registry.Params())
    with pytest.raises(MissingModelError, match=r"models\.remote_code"):
        list(embed.rows([pd.DataFrame(clips[:1])], embed.Params(model=folder), ENV))
    env = Env(media_root="unused", fingerprint="f" * 16, models=registry.Params(remote_code=(folder,)))
    assert embedded(clips[:1], embed.Params(model=folder), env)["0"]["dim"] == 16
