"""Vectors of tiny random models equal those of the library's own calls on the same frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoProcessor, AutoTokenizer

from tests.support import tiny
from udfs import embed
from udfs.frames.extract import Pictures
from udfs.models import embedding_config, embedding_models, hf_towers, hub, registry, transformers4_compat
from udfs.models.embedding_config import Model, Vectors
from udfs.models.registry import MissingModelError

Sizes = dict[str, Any]
TEXTS = ["A red ball", "snow covers the cabin and a train crosses the bridge"]


def siglip2_of_any_size(folder: Path) -> Path:
    """A Siglip2Model, which keeps a picture's aspect: 4 patches of 8 px."""
    from transformers import Siglip2Config, Siglip2ImageProcessor, Siglip2Model

    tiny.siglip2(folder)
    side: Sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = side | {
        "vocab_size": len(AutoTokenizer.from_pretrained(folder)),
        "max_position_embeddings": 16,
        "projection_size": 32,
    }
    torch.manual_seed(3)
    Siglip2Model(
        Siglip2Config(text_config=text, vision_config=side | {"num_patches": 16, "patch_size": 8})
    ).save_pretrained(folder)
    (folder / "processor_config.json").unlink()
    Siglip2ImageProcessor(patch_size=8, max_num_patches=16).save_pretrained(folder)
    return folder


def dinov2(folder: Path) -> Path:
    """A Dinov2Model, which knows no text."""
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    torch.manual_seed(3)
    side: Sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    Dinov2Model(Dinov2Config(**side)).save_pretrained(folder)
    BitImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28}).save_pretrained(folder)
    return folder


def videoprism(folder: Path) -> Path:
    """A VideoPrismClipModel: 4 frames of 36 px."""
    from transformers import LlavaOnevisionVideoProcessor, VideoPrismClipModel, VideoPrismConfig, VideoPrismTokenizer

    words = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("▁", -2.0),
        *((f"▁{word}", -1.0) for word in sorted(set(tiny.TEXT.split()))),
    ]
    tokenizer = VideoPrismTokenizer(words, extra_ids=0)
    side: Sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    text = side | {"vocab_size": len(tokenizer), "num_hidden_layers": 1, "max_position_embeddings": 16}
    vision = side | {
        "image_size": 36,
        "num_frames": 4,
        "num_spatial_layers": 1,
        "num_temporal_layers": 1,
        "num_auxiliary_layers": 1,
    }
    torch.manual_seed(3)
    VideoPrismClipModel(VideoPrismConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    LlavaOnevisionVideoProcessor(size={"height": 36, "width": 36}, do_normalize=False).save_pretrained(folder)
    return folder


# The interface of OpenGVLab/InternVideo2-Stage2_6B: frames are the caller's to prepare, a text comes alone.
INTERNVIDEO2 = '''
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel


class Config(PretrainedConfig):
    model_type = "InternVideo2_Stage2"
    num_frames: int = 4
    device: str = "cuda"


class InternVideo2_Stage2(PreTrainedModel):
    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        self.vision_encoder = nn.Linear(3 * 4, 8)
        self.vision_proj = nn.Linear(8, 6)
        self.words = nn.Embedding(128, 6)
        self.post_init()

    def get_vid_feat(self, frames):
        """B x T x 3 x H x W -> B x 1 x 6"""
        seen = self.vision_proj(self.vision_encoder(frames.mean(dim=(3, 4)).flatten(1)))
        return nn.functional.normalize(seen, dim=-1)[:, None]

    def get_txt_feat(self, text):
        codes = torch.tensor([ord(c) % 128 for c in text], device=self.config.device)
        return nn.functional.normalize(self.words(codes).mean(dim=0, keepdim=True), dim=-1)
'''


def internvideo2(folder: Path) -> Path:
    """A model with InternVideo2's interface: 4 frames, vectors of 6."""
    from safetensors.torch import save_file

    folder.mkdir()
    (folder / "modeling_internvideo2.py").write_text(INTERNVIDEO2)
    auto = {"AutoConfig": "modeling_internvideo2.Config", "AutoModel": "modeling_internvideo2.InternVideo2_Stage2"}
    about = {"model_type": "InternVideo2_Stage2", "num_frames": 4, "auto_map": auto, "image_size": 32}
    (folder / "config.json").write_text(json.dumps(about))
    torch.manual_seed(3)
    layers = {
        "vision_encoder": torch.nn.Linear(12, 8),
        "vision_proj": torch.nn.Linear(8, 6),
        "words": torch.nn.Embedding(128, 6),
    }
    save_file(
        {f"{name}.{key}": v for name, layer in layers.items() for key, v in layer.state_dict().items()},
        folder / "model.safetensors",
    )
    return folder


BUILDERS: dict[str, Callable[[Path], Path]] = {
    "clip": tiny.clip,
    "siglip": tiny.siglip2,
    "siglip2": siglip2_of_any_size,
    "dinov2": dinov2,
    "x_clip": tiny.x_clip,
    "videoprism": videoprism,
    "cosmos": tiny.cosmos,
    "internvideo2": internvideo2,
}
PICTURES = ("clip", "siglip", "siglip2", "dinov2")
OWN_CODE = ("cosmos", "internvideo2")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder of each kind of model."""
    root = tmp_path_factory.mktemp("models")
    return {name: str(build(root / name)) for name, build in BUILDERS.items()}


def loaded(folder: str, **settings: Any) -> Model:
    return embedding_models.load(folder, embed.Params(model=folder, **settings), "cpu")


def clips(model: Model, count: int = 3) -> list[Pictures]:
    """Different pictures, smooth and of the size that the model asks for."""
    width, height = model.fit(96, 64)
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    times, colours = np.arange(model.num_frames)[:, None, None, None], np.arange(3) / 3
    waves = [np.sin((x[..., None] * (c + 1) + y[..., None] * times) / 9 + c) + colours for c in range(count)]
    return [(wave * 60 + 120).clip(0, 255).astype(np.uint8) for wave in waves]


def unit(features: Any) -> Vectors:
    """As a user of the library writes it."""
    rows = features if isinstance(features, torch.Tensor) else features.pooler_output
    vectors: Vectors = (rows / rows.norm(dim=-1, keepdim=True)).detach().numpy()
    return vectors


@pytest.mark.parametrize("name", PICTURES)
def test_a_clip_is_the_mean_direction_of_what_the_library_says_of_its_frames(
    folders: dict[str, str], name: str
) -> None:
    mine, library = loaded(folders[name]), AutoModel.from_pretrained(folders[name])
    processor = AutoImageProcessor.from_pretrained(folders[name])
    for clip, vector in zip(clips(mine), mine.encode(clips(mine)), strict=True):
        inputs = processor(images=[Image.fromarray(picture) for picture in clip], return_tensors="pt")
        frames = unit(library.get_image_features(**inputs) if mine.encode_text else library(**inputs))
        mean = frames.mean(axis=0)
        assert np.allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)


def test_a_model_of_frames_in_order_says_what_the_library_says(folders: dict[str, str]) -> None:
    mine, library = loaded(folders["x_clip"]), AutoModel.from_pretrained(folders["x_clip"])
    processor = AutoImageProcessor.from_pretrained(folders["x_clip"])
    for clip, vector in zip(clips(mine), mine.encode(clips(mine)), strict=True):
        pixels = processor(images=[Image.fromarray(picture) for picture in clip], return_tensors="pt").pixel_values
        expected = unit(library.get_video_features(pixels.reshape(1, 8, 3, 32, 32)))[0]
        assert np.allclose(vector, expected, atol=1e-5)


def test_a_model_of_videos_says_what_the_library_says(folders: dict[str, str]) -> None:
    from transformers import AutoVideoProcessor

    mine, library = loaded(folders["videoprism"]), AutoModel.from_pretrained(folders["videoprism"])
    processor: Any = AutoVideoProcessor.from_pretrained(folders["videoprism"])
    for clip, vector in zip(clips(mine), mine.encode(clips(mine)), strict=True):
        video = torch.from_numpy(clip).permute(0, 3, 1, 2)
        inputs = processor(videos=[video], do_sample_frames=False, return_tensors="pt")
        assert np.allclose(vector, unit(library.get_video_features(inputs.pixel_values_videos))[0], atol=1e-5)


def test_a_model_of_its_own_code_says_what_that_says(folders: dict[str, str]) -> None:
    mine = loaded(folders["cosmos"])
    library = AutoModel.from_pretrained(folders["cosmos"], trust_remote_code=True)
    processor = AutoProcessor.from_pretrained(folders["cosmos"], trust_remote_code=True)
    for clip, vector in zip(clips(mine), mine.encode(clips(mine)), strict=True):
        inputs = processor(videos=np.transpose(clip[None], (0, 1, 4, 2, 3)), return_tensors="pt")
        assert np.allclose(vector, unit(library.get_video_embeddings(**inputs).visual_proj)[0], atol=1e-5)
    assert mine.encode_text
    texts = unit(library.get_text_embeddings(**processor(text=TEXTS, return_tensors="pt")).text_proj)
    assert np.allclose(mine.encode_text(TEXTS), texts, atol=1e-6)


def test_internvideo2_is_shown_pictures_as_imagenet_has_them(folders: dict[str, str]) -> None:
    mine = loaded(folders["internvideo2"])
    library = AutoModel.from_pretrained(folders["internvideo2"], trust_remote_code=True)
    for clip, vector in zip(clips(mine), mine.encode(clips(mine)), strict=True):
        pixels = (clip / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
        frames = torch.from_numpy(pixels.astype(np.float32)).permute(0, 3, 1, 2)[None]
        assert np.allclose(vector, library.get_vid_feat(frames).detach().numpy()[0, 0], atol=1e-5)


@pytest.mark.parametrize("name", ["clip", "siglip", "siglip2", "x_clip", "videoprism"])
def test_texts_say_what_the_library_says(folders: dict[str, str], name: str) -> None:
    mine, library = loaded(folders[name]), AutoModel.from_pretrained(folders[name])
    padding = (
        {"padding": True}
        if name in ("clip", "x_clip")
        else {"padding": "max_length", "max_length": 16, "truncation": True}
    )
    inputs = AutoTokenizer.from_pretrained(folders[name])(TEXTS, return_tensors="pt", **padding)
    assert mine.encode_text
    assert np.allclose(mine.encode_text(TEXTS), unit(library.get_text_features(**inputs)), atol=1e-5)


@pytest.mark.parametrize("name", ["clip", "siglip", "siglip2", "x_clip", "cosmos"])
def test_a_text_longer_than_the_model_reads_is_cut(folders: dict[str, str], name: str) -> None:
    mine = loaded(folders[name])
    assert mine.encode_text
    assert np.isfinite(mine.encode_text([" ".join(["snow covers the cabin"] * 40)])).all()


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


@pytest.mark.parametrize("name", PICTURES)
def test_clips_of_different_shapes_go_through_together(folders: dict[str, str], name: str) -> None:
    mine = loaded(folders[name])
    wide, tall = (
        np.random.default_rng(0).integers(0, 256, (8, *size, 3), dtype=np.uint8) for size in ((32, 48), (56, 32))
    )
    assert np.allclose(mine.encode([wide, tall])[1], mine.encode([tall])[0], atol=1e-5)


@pytest.mark.parametrize("name", ["clip", "x_clip"])
def test_half_precision_points_the_same_way(folders: dict[str, str], name: str) -> None:
    exact, half = loaded(folders[name]), loaded(folders[name], dtype="bfloat16")
    shown = clips(exact)
    assert (exact.encode(shown) * half.encode(shown)).sum(axis=1).min() > 0.98


def test_auto_is_half_precision_on_a_gpu_alone() -> None:
    auto = embed.Params()
    assert (hf_towers.dtype(auto, "cpu"), hf_towers.dtype(auto, "cuda:0")) == (torch.float32, torch.bfloat16)
    assert hf_towers.dtype(embed.Params(dtype="float16"), "cpu") == torch.float16


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


def test_a_picture_model_takes_any_number_of_frames(folders: dict[str, str]) -> None:
    mine = loaded(folders["clip"], num_frames=3)
    assert mine.num_frames == 3
    assert mine.encode([clip[:3] for clip in clips(mine)]).shape == (3, 32)


@pytest.mark.parametrize("name", OWN_CODE)
def test_own_code_is_refused_unless_it_is_named(folders: dict[str, str], name: str) -> None:
    with pytest.raises(MissingModelError, match=r"models\.remote_code"):
        hub.allowed(folders[name], registry.Params())
    assert hub.allowed(folders[name], registry.Params(remote_code=(folders[name],))) == folders[name]


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


# What the code of real checkpoints does and transformers 5 does not support: names that are gone,
# numbers out of tensors while the model is built, weights tied before post_init.
OLD_CODE = """
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_utils import apply_chunking_to_forward, find_pruneable_heads_and_indices, prune_linear_layer


class Config(PretrainedConfig):
    model_type = "old"
    tie_word_embeddings: bool = True


class Reader(PreTrainedModel):
    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        self.layer = nn.Linear(4, 4)
        self.init_weights()

    def feed(self, x):
        return self.layer(x)

    def forward(self, x, mask):
        assert self.get_head_mask(None, 2) == [None, None]
        return apply_chunking_to_forward(self.feed, 0, 1, x) + self.invert_attention_mask(mask).clamp(min=-1)[:, 0, 0]


class Old(PreTrainedModel):
    config_class = Config
    _tied_weights_keys = ["head.weight"]

    def __init__(self, config):
        super().__init__(config)
        self.rates = [x.item() for x in torch.linspace(0, 1, 3)]
        self.reader = Reader(config)
        self.tied = self.reader.layer
        self.head = nn.Linear(4, 4, bias=False)
        self.post_init()
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with such code and its weights."""
    from safetensors.torch import save_file

    (tmp_path / "modeling_old.py").write_text(OLD_CODE)
    auto = {"AutoConfig": "modeling_old.Config", "AutoModel": "modeling_old.Old"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "old", "auto_map": auto}))
    save_file(
        {"reader.layer.weight": torch.eye(4) * 2, "reader.layer.bias": torch.ones(4)}, tmp_path / "model.safetensors"
    )
    return tmp_path


def test_code_written_for_transformers_4_runs_with_its_own_weights(old: Path) -> None:
    model = transformers4_compat.load(str(old), torch.float32, "cpu")
    said = model.reader(torch.tensor([[1.0, 2, 3, 4]]), torch.tensor([[1, 1, 1, 0]]))
    assert said.tolist() == [[3, 5, 7, 8]]
    assert model.rates == [0, 0.5, 1]
    assert not model.training


def test_weights_that_do_not_fit_the_code_are_no_model(old: Path) -> None:
    from safetensors.torch import save_file

    save_file({"reader.layer.weight": torch.eye(4)}, old / "model.safetensors")
    with pytest.raises(RuntimeError, match=r"do not fit: no reader\.layer\.bias"):
        transformers4_compat.load(str(old), torch.float32, "cpu")
