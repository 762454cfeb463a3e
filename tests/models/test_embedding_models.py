"""Models of every kind are loaded alike, and what would stop one is found before Spark starts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.tiny_embedders import BUILDERS, TEXTS, clips, loaded
from udfs.models import embedding_models, registry
from udfs.models.registry import MissingModelError

HERE = registry.Params(dir="/nowhere")


@pytest.mark.parametrize("name", BUILDERS)
def test_vectors_have_length_one_and_the_said_width(folders: dict[str, str], name: str) -> None:
    mine = loaded(folders[name])
    vectors = mine.encode(clips(mine))
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, mine.dim)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert mine.encode_text is None or mine.encode_text(TEXTS).shape == (2, mine.dim)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_batch_keeps_its_order_and_changes_no_clip(folders: dict[str, str], name: str) -> None:
    mine = loaded(folders[name])
    shown = clips(mine)
    together, alone = mine.encode(shown), np.concatenate([mine.encode([clip]) for clip in shown])
    assert np.allclose(together, alone, atol=1e-5)
    assert np.abs(alone[0] - alone[1]).max() > 1e-3  # or the line above says nothing


@pytest.mark.parametrize("name", ["clip", "siglip", "siglip2", "x_clip", "cosmos"])
def test_a_text_longer_than_the_model_reads_is_cut(folders: dict[str, str], name: str) -> None:
    mine = loaded(folders[name])
    assert mine.encode_text
    assert np.isfinite(mine.encode_text([" ".join(["snow covers the cabin"] * 40)])).all()


@pytest.mark.parametrize("name", BUILDERS)
def test_the_driver_knows_what_a_local_model_wants_as_the_worker_will(folders: dict[str, str], name: str) -> None:
    wants = embedding_models.check(folders[name], None, registry.Params(remote_code=(folders[name],)))
    mine = loaded(folders[name])
    assert wants is not None
    assert (wants.num_frames, wants.fit(640, 360)) == (mine.num_frames, mine.fit(640, 360))
    assert wants.text == (mine.encode_text is not None)


def test_what_would_stop_a_worker_stops_the_driver(folders: dict[str, str]) -> None:
    with pytest.raises(MissingModelError, match=r"fetch it with `.*reelmill models --fetch siglip2"):
        embedding_models.check("siglip2", None, HERE)
    with pytest.raises(MissingModelError, match="takes 8 frames per clip, not 4"):
        embedding_models.check(folders["x_clip"], 4, HERE)
    with pytest.raises(MissingModelError, match=r"allow it with --set 'models\.remote_code="):
        embedding_models.check(folders["internvideo2"], None, HERE)


def test_a_model_that_workers_will_fetch_is_not_known_yet() -> None:
    assert embedding_models.check("siglip2", 3, registry.Params(dir="/nowhere", fetch_missing=True)) is None


def test_a_folder_without_an_embedding_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingModelError, match=r"not an embedding model but no config\.json; known types are clip, "):
        loaded(str(tmp_path))
