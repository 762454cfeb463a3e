"""The aesthetic head: scores of pictures equal those of its authors' code, or its folder is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support import tiny
from tests.support.aesthetic_scores import published
from tests.support.footage import draw
from udfs.frames.extract import Pictures
from udfs.models import aesthetic_head
from udfs.models.aesthetic_head import Scores
from udfs.models.registry import MissingModelError

PICTURES = [draw(number, size) for number, size in ((0, (320, 240)), (700, (240, 320)), (900, (64, 64)))]


class Folders(NamedTuple):
    """The folders of a CLIP model and of a head for its vectors."""

    clip: str
    head: str


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """The tiny CLIP and its head."""
    root = tmp_path_factory.mktemp("models")
    return Folders(str(tiny.clip(root / "clip")), str(tiny.aesthetic_mlp(root / "head")))


def scores(folders: Folders, pictures: list[Pictures], dtype: str = "float32") -> list[Scores]:
    """The scores of pictures on the CPU."""
    return aesthetic_head.load(*folders, dtype, "cpu")(pictures)


def test_pictures_of_any_size_are_scored_as_the_authors_score_them(folders: Folders) -> None:
    together = scores(folders, PICTURES)
    assert [score.shape for score in together] == [(1,)] * 3
    assert np.concatenate(together) == pytest.approx(published(PICTURES, *folders), abs=1e-4)
    assert np.ptp(np.concatenate(together)) > 0.01  # or the line above says nothing


def test_a_batch_changes_no_score(folders: Folders) -> None:
    alone = [scores(folders, [picture])[0] for picture in PICTURES]
    assert np.concatenate(scores(folders, PICTURES)) == pytest.approx(np.concatenate(alone), abs=1e-4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_stays_near(dtype: str, folders: Folders) -> None:
    exact, half = scores(folders, PICTURES), scores(folders, PICTURES, dtype)
    assert np.concatenate(half) == pytest.approx(np.concatenate(exact), abs=0.5)
    assert not np.array_equal(half, exact)
    assert {score.dtype for score in half} == {np.dtype(np.float32)}


def test_a_head_saved_by_torch_gives_the_same(tmp_path: Path, folders: Folders) -> None:
    torch.save(load_file(f"{folders.head}/model.safetensors"), tmp_path / "sac+logos+ava1-l14-linearMSE.pth")
    one, other = (aesthetic_head.head_layers(folder) for folder in (folders.head, str(tmp_path)))
    assert len(one) == len(other) == 5
    for (weight, bias), (same_weight, same_bias) in zip(one, other, strict=True):
        assert torch.equal(weight, same_weight)
        assert torch.equal(bias, same_bias)


def test_layers_are_applied_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    weights = {f"layers.{n}.{part}": torch.full((1,), float(n)) for n in (10, 2, 0) for part in ("weight", "bias")}
    save_file(weights | {"layers.0.norm.weight": torch.ones(1)}, tmp_path / "model.safetensors")
    assert [(float(weight), float(bias)) for weight, bias in aesthetic_head.head_layers(str(tmp_path))] == [
        (0, 0),
        (2, 2),
        (10, 10),
    ]


def test_weights_that_are_missing_are_not_made_up(tmp_path: Path, folders: Folders) -> None:
    weights = load_file(tiny.clip(tmp_path) / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MissingModelError, match=r"holds only a part of a CLIP: no visual_projection\.weight"):
        scores(Folders(str(tmp_path), folders.head), PICTURES)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, folders: Folders) -> None:
    torch.save({"layers.0.weight": partial(print, "code ran")}, tmp_path / "head.pth")
    with pytest.raises(Exception, match="Weights only load failed"):
        scores(Folders(folders.clip, str(tmp_path)), PICTURES)


def without_bias(folder: Path) -> Path:
    """The head without the bias of its third layer."""
    weights = load_file(tiny.aesthetic_mlp(folder) / "model.safetensors")
    del weights["layers.4.bias"]
    save_file(weights, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (lambda folder: tiny.aesthetic_mlp(folder, width=48), "takes vectors of 48, .* makes vectors of 32"),
        (tiny.clip, r"holds no linear layers: no layers\.0\.weight"),
        (without_bias, r"holds no linear layers: no layers\.4\.bias"),
        (lambda folder: folder.mkdir() or folder, "holds no weights"),
    ],
)
def test_a_head_that_does_not_fit_is_named(
    head: Callable[[Path], Path], said: str, tmp_path: Path, folders: Folders
) -> None:
    with pytest.raises(MissingModelError, match=said) as error:
        scores(Folders(folders.clip, str(head(tmp_path / "head"))), PICTURES)
    assert "\n" not in str(error.value)


def test_loading_and_scoring_opens_no_connection(folders: Folders) -> None:
    code = f"""
import sys, numpy as np
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise SystemExit(f"{{event}} {{args}}")
sys.addaudithook(watch)
from udfs.models import aesthetic_head
score = aesthetic_head.load({folders.clip!r}, {folders.head!r}, "float32", "cpu")
print(len(score([np.zeros((224, 300, 3), np.uint8)])))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr
