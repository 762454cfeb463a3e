"""Clips to embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError

from tests.footage import write_numbered
from udfs import descriptor, embed, frames
from udfs.batching import COST, FAILURE, Env, Row
from udfs.errors import MediaError
from udfs.limits import Limits

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
    [row] = embed.vector(clip(write_numbered(tmp_path / "a.mp4")), embed.Params(), ENV)
    assert list(row) == embed.COLUMNS == ["clip_id", "model", "dim", "num_frames", "vector"]
    assert (row["clip_id"], row["model"], row["dim"], row["num_frames"]) == ("a", "descriptor", 256, 16)
    assert np.linalg.norm(row["vector"]) == pytest.approx(1, abs=1e-6)


def test_the_proxy_is_read_where_there_is_one(tmp_path: Path) -> None:
    proxy = write_numbered(tmp_path / "p.mp4", first=500)
    whole = clip(write_numbered(tmp_path / "a.mp4"), proxy)
    assert embed.vector(whole, embed.Params(), ENV)[0]["vector"] == embed.vector(clip(proxy), embed.Params(), ENV)[0]["vector"]


def test_the_clip_is_read_where_no_proxy_is_named(tmp_path: Path) -> None:
    path, other = write_numbered(tmp_path / "a.mp4"), write_numbered(tmp_path / "b.mp4", first=700)
    without, elsewhere = (embed.vector(clip(p), embed.Params(), ENV)[0]["vector"] for p in (path, other))
    assert len(without) == 256
    assert without != elsewhere


def test_a_proxy_that_is_gone_is_not_silently_replaced_by_the_clip(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="NOT_FOUND"):
        embed.vector(clip(write_numbered(tmp_path / "a.mp4"), tmp_path / "missing.mp4"), embed.Params(), ENV)


def test_frames_that_a_short_clip_shows_again_count_once(tmp_path: Path) -> None:
    [row] = embed.vector(clip(write_numbered(tmp_path / "a.mp4", num_frames=5)), embed.Params(), ENV)
    assert row["num_frames"] == 5


def test_as_many_frames_go_in_as_the_settings_say(tmp_path: Path) -> None:
    [row] = embed.vector(clip(write_numbered(tmp_path / "a.mp4")), embed.Params(num_frames=4), ENV)
    assert row["num_frames"] == 4


def test_a_loaded_model_is_kept() -> None:
    assert embed.load(embed.Params(), "cpu") is embed.load(embed.Params(), "cpu")


def test_a_list_of_clips_gives_the_vectors_of_each(tmp_path: Path) -> None:
    paths = [write_numbered(tmp_path / f"{first}.mp4", first=first) for first in (0, 900)]
    clips = [frames.even(str(path), 16, descriptor.SIZE, Limits())[1] for path in paths]
    vectors = embed.embed(embed.load(embed.Params(), "cpu"), clips)
    assert vectors.shape == (2, 256)
    assert np.array_equal(vectors[1], descriptor.describe(clips[1]))


def test_a_batch_holds_the_tables_columns_and_a_failure_where_a_clip_is_broken(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    rows = [clip(write_numbered(tmp_path / "a.mp4")), clip(broken)]
    [done] = embed.rows([pd.DataFrame(rows)], embed.Params(), ENV)
    assert list(done) == [*embed.COLUMNS, "fingerprint", *FAILURE, COST]
    assert done["clip_id"].tolist()[0] == "a"
    assert done["failed_key"].tolist()[1] == "broken"
    assert done["failed_code"].tolist()[1] == "CORRUPT"


@pytest.mark.parametrize("settings", [{"model": "cosmos"}, {"num_frames": 0}, {"frames": 8}])
def test_settings_out_of_bounds_are_refused(settings: Row) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(embed.Params).validate_python(settings)
