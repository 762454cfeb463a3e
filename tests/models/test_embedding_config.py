"""What an embedding model wants to see of a clip, by its configuration alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from udfs.models import embedding_config
from udfs.models.registry import MissingModelError


@pytest.mark.parametrize(
    ("name", "num_frames", "size"),
    [
        ("clip", 8, (57, 32)),
        ("siglip", 8, (32, 32)),
        ("dinov2", 8, (50, 28)),
        ("x_clip", 8, (57, 32)),
        ("videoprism", 4, (36, 36)),
        ("cosmos", 8, (28, 28)),
        ("internvideo2", 4, (32, 32)),
    ],
)
def test_what_a_model_wants_is_read_without_its_weights(
    folders: dict[str, str], name: str, num_frames: int, size: tuple[int, int]
) -> None:
    wants = embedding_config.wants(folders[name], None)
    assert wants.num_frames == num_frames
    assert max(abs(a - b) for a, b in zip(wants.fit(1920, 1080), size, strict=True)) <= 2
    assert wants.text == (name != "dinov2")


def test_a_picture_keeps_its_aspect_where_the_model_does(folders: dict[str, str]) -> None:
    width, height = embedding_config.wants(folders["siglip2"], None).fit(1920, 1080)
    assert width * height <= 16 * 8 * 8
    assert width > height


@pytest.mark.parametrize("name", ["x_clip", "cosmos"])
def test_a_model_made_for_so_many_frames_takes_no_others(folders: dict[str, str], name: str) -> None:
    with pytest.raises(MissingModelError, match="takes 8 frames per clip, not 4"):
        embedding_config.wants(folders[name], 4)
    assert embedding_config.wants(folders[name], 8).num_frames == 8


@pytest.mark.parametrize("config", [None, "", "{}", '{"model_type": "bert"}'])
def test_a_folder_that_is_no_embedder_is_refused(tmp_path: Path, config: str | None) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(MissingModelError, match="not an embedding model"):
        embedding_config.wants(str(tmp_path), None)


def test_weights_without_code_are_refused(tmp_path: Path) -> None:
    (tmp_path / "InternVideo2-stage2_1b-224p-f4.pt").write_bytes(b"weights")
    with pytest.raises(MissingModelError, match="weights without code"):
        embedding_config.wants(str(tmp_path), None)


def configured(folder: Path, name: str = "config.json", **values: Any) -> str:
    """A folder with nothing but a configuration."""
    (folder / name).write_text(json.dumps(values), encoding="utf-8")
    return str(folder)


@pytest.mark.parametrize(
    ("config", "num_frames", "size", "text"),
    [
        ({"model_type": "clip", "vision_config": {"image_size": 336}}, 8, (597, 336), True),
        ({"model_type": "clip_vision_model", "image_size": 64}, 8, (114, 64), False),
        ({"model_type": "siglip_vision_model", "image_size": 384}, 8, (384, 384), False),
        ({"model_type": "siglip", "vision_config": {}}, 8, (224, 224), True),  # as the library's own default
        ({"model_type": "siglip", "vision_config": {"image_size": [48, 96]}}, 8, (96, 48), True),
        ({"model_type": "xclip", "vision_config": {"num_frames": 16}}, 16, (398, 224), True),
        ({"model_type": "videoprism", "vision_config": {}}, 16, (288, 288), True),
    ],
)
def test_numbers_that_a_configuration_leaves_out_are_the_published_ones(
    config: dict[str, Any], num_frames: int, size: tuple[int, int], text: bool, tmp_path: Path
) -> None:
    wants = embedding_config.wants(configured(tmp_path, **config), None)
    assert (wants.kind, wants.num_frames, wants.text) == (config["model_type"], num_frames, text)
    assert max(abs(a - b) for a, b in zip(wants.fit(1920, 1080), size, strict=True)) <= 2


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("modeling_embed1.CosmosEmbed1", "cosmos-embed1"),
        ("nvidia/Cosmos-Embed1-224p--modeling_embed1.CosmosEmbed1", "cosmos-embed1"),
        ("modeling_internvideo2.InternVideo2_Stage2", "internvideo2"),
    ],
)
def test_the_name_of_a_models_own_code_says_its_kind(code: str, kind: str, tmp_path: Path) -> None:
    folder = configured(tmp_path, model_type="a name of its own", auto_map={"AutoModel": code})
    assert embedding_config.wants(folder, None).kind == kind


def test_the_processor_completes_what_the_configuration_leaves_out(tmp_path: Path) -> None:
    configured(tmp_path, "processor_config.json", num_video_frames=4, resolution=448, model_type="other")
    folder = configured(tmp_path, model_type="cosmos-embed1", resolution=336)
    wants = embedding_config.wants(folder, None)
    assert (wants.kind, wants.num_frames, wants.fit(1920, 1080)) == ("cosmos-embed1", 4, (336, 336))


def test_a_picture_model_takes_any_number_of_frames_that_is_asked_for(tmp_path: Path) -> None:
    folder = configured(tmp_path, model_type="dinov2")
    assert [embedding_config.wants(folder, number).num_frames for number in (None, 1, 3)] == [8, 1, 3]


@pytest.mark.parametrize(("text", "said"), [("{", "not JSON"), ("[]", "not a JSON object"), ("\0", "not JSON")])
def test_a_configuration_that_cannot_be_read_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(MissingModelError, match=said) as error:
        embedding_config.wants(str(tmp_path), None)
    assert str(error.value).startswith(f"{tmp_path}/config.json: ")
    assert "\n" not in str(error.value)


def test_a_configuration_is_read_without_torch() -> None:
    code = "import sys, udfs.models.embedding_config; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
