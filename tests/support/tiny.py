"""Tiny random models of transformers' own classes: `python -m tests.support.tiny .models`."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import pre_tokenizers

from tests.support import tiny_cosmos

SEED = 7
TEXT = """
A small boat drifts across the quiet lake while the morning sun rises behind the mountains .
Two children run along the sandy beach and throw a red ball to their brown dog .
The camera moves slowly over a crowded street market with bright lamps and colourful fruit .
A woman in a blue coat walks past tall glass buildings as heavy rain begins to fall .
An old train crosses the stone bridge above a wide green valley in autumn .
Snow covers the wooden cabin and thin smoke climbs from its chimney into the grey sky .
A chef cuts fresh vegetables in a busy kitchen before guests arrive for dinner .
Black and white birds fly in a circle around the lighthouse near the rocky coast .
You are a helpful assistant . Describe this video . Elaborate on the visual and narrative elements .
"""
# Qwen's special tokens, in its order
NAMES = (
    *(
        "endoftext",
        "im_start",
        "im_end",
        "object_ref_start",
        "object_ref_end",
        "box_start",
        "box_end",
        "quad_start",
        "quad_end",
    ),
    *("vision_start", "vision_end", "vision_pad", "image_pad", "video_pad"),
)
SPECIAL = [f"<|{name}|>" for name in NAMES]
CHAT = (
    "{% for message in messages %}"
    "{% if loop.first and message.role != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'video' or 'video' in part %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif part.type == 'image' or 'image' in part %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]  # CLIP's
Settings = dict[str, Any]
HEAD_DIM = 16  # of the Qwen models; vLLM's attention on a CPU needs 32 or more
LOUD = 0.3  # std of the weights: at the usual 0.02 a tiny model describes every picture alike


def build(root: Path) -> None:
    """Build every tiny model, each in a folder of its name below `root`."""
    for name, builder in BUILDERS.items():
        builder(root / name)


def clip(folder: Path) -> Path:
    """Build a CLIPModel with CLIPProcessor: pictures of 32 px, vectors of 32 numbers."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    tokenizer = _clip_tokenizer()
    text, vision = _clip_sides(tokenizer)
    with _seeded():
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=32))
    images = CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, image_mean=MEAN, image_std=STD
    )
    return _save(folder, model, CLIPProcessor(images, tokenizer))


def x_clip(folder: Path) -> Path:
    """Build an XCLIPModel of 8 frames of 32 px with its processor; vectors of 32 numbers."""
    from transformers import VideoMAEImageProcessor, XCLIPConfig, XCLIPModel, XCLIPProcessor

    tokenizer = _clip_tokenizer()
    text, vision = _clip_sides(tokenizer)
    vision |= {"num_frames": 8, "mit_hidden_size": 32, "mit_intermediate_size": 64, "mit_num_hidden_layers": 1}
    vision |= {"mit_num_attention_heads": 2}
    prompt: Settings = {"prompt_layers": 1, "prompt_num_attention_heads": 2}
    with _seeded():
        model = XCLIPModel(XCLIPConfig(text_config=text, vision_config=vision, projection_dim=32, **prompt))
    images = VideoMAEImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return _save(folder, model, XCLIPProcessor(images, tokenizer))


def siglip2(folder: Path) -> Path:
    """Build a SiglipModel with GemmaTokenizer, as google/siglip2-*: 32 px, vectors of 64."""
    from transformers import GemmaTokenizer, SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipProcessor

    vocabulary, merges = _vocabulary(
        ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"], [list(f"▁{word}") for word in TEXT.split()]
    )
    tokenizer = GemmaTokenizer(
        vocabulary, merges, add_bos_token=False, add_eos_token=True, model_max_length=16, padding_side="right"
    )
    shared: Settings = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    text: Settings = shared | {"vocab_size": len(tokenizer), "max_position_embeddings": 16, "projection_size": 64}
    text |= {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    with _seeded():
        model = SiglipModel(SiglipConfig(text_config=text, vision_config=shared | {"image_size": 32, "patch_size": 8}))
    with torch.no_grad():
        for weight in (weight for weight in model.text_model.parameters() if weight.ndim == 2):
            weight *= 3  # as LOUD: the configuration has no setting for it
    images = SiglipImageProcessor(size={"height": 32, "width": 32}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    return _save(folder, model, SiglipProcessor(images, tokenizer))


def aesthetic_mlp(folder: Path, width: int = 32) -> Path:
    """Build the layers of ttj/sac-logos-ava1-l14-linearMSE for vectors of `width` numbers.

    Scores lie between about 2 and 4.
    """
    folder.mkdir(parents=True, exist_ok=True)
    layers = torch.nn.Sequential(
        torch.nn.Linear(width, 1024),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(1024, 128),
        torch.nn.Dropout(0.2),
        torch.nn.Linear(128, 64),
        torch.nn.Dropout(0.1),
        torch.nn.Linear(64, 16),
        torch.nn.Linear(16, 1),
    )
    with _seeded(), torch.no_grad():
        for layer in layers:
            if isinstance(layer, torch.nn.Linear):
                torch.nn.init.normal_(layer.weight, std=1.5 * layer.in_features**-0.5)
                torch.nn.init.zeros_(layer.bias)
        layers[7].get_parameter("bias").fill_(4.0)
    save_file({f"layers.{name}": value for name, value in layers.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text("{}", encoding="utf-8")
    return folder


def qwen_lm(folder: Path, head_dim: int = HEAD_DIM) -> Path:
    """Build a Qwen2ForCausalLM that answers in whole words and never ends by itself."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = _qwen_tokenizer()
    with _seeded():
        model = Qwen2ForCausalLM(Qwen2Config(**_qwen_text(tokenizer, head_dim), **_ends(tokenizer)))
    restrict_to_words(model, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def qwen2_5_vl(folder: Path, head_dim: int = HEAD_DIM) -> Path:
    """Build a Qwen2_5_VLForConditionalGeneration with its processor."""
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer = _qwen_tokenizer()
    text: Settings = _qwen_text(tokenizer, head_dim) | _ends(tokenizer)
    vision: Settings = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2}
    vision |= {"out_hidden_size": text["hidden_size"]}
    vision |= {"fullatt_block_indexes": [1], "initializer_range": LOUD}
    text |= {"rope_parameters": _rope([2, 3, 3], head_dim)}
    with _seeded():
        config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **_vision_ids(tokenizer))
        model = Qwen2_5_VLForConditionalGeneration(config)
    restrict_to_words(model, tokenizer)
    pixels: Settings = {"patch_size": 14, "image_mean": MEAN, "image_std": STD, "size": _pixels(28)}
    images, videos = Qwen2VLImageProcessor(**pixels), Qwen2VLVideoProcessor(**pixels, max_frames=768)
    return _save(folder, model, Qwen2_5_VLProcessor(images, tokenizer, videos, chat_template=CHAT))


def qwen3_vl(folder: Path, head_dim: int = HEAD_DIM) -> Path:
    """Build a Qwen3VLForConditionalGeneration with its processor."""
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    tokenizer = _qwen_tokenizer()
    text: Settings = _qwen_text(tokenizer, head_dim) | _ends(tokenizer)
    vision: Settings = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2}
    vision |= {"out_hidden_size": text["hidden_size"]}
    vision |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1], "initializer_range": LOUD}
    text |= {"head_dim": head_dim, "rope_parameters": _rope([4, 2, 2], head_dim, mrope_interleaved=True)}
    with _seeded():
        config = Qwen3VLConfig(text_config=text, vision_config=vision, **_vision_ids(tokenizer))
        model = Qwen3VLForConditionalGeneration(config)
    restrict_to_words(model, tokenizer)
    pixels: Settings = {"patch_size": 16, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": _pixels(32)}
    images, videos = Qwen2VLImageProcessor(**pixels), Qwen3VLVideoProcessor(**pixels)
    return _save(folder, model, Qwen3VLProcessor(images, tokenizer, videos, chat_template=CHAT))


def cosmos(folder: Path) -> Path:
    """Build a model with the interface of nvidia/Cosmos-Embed1: 8 frames, 28 px, vectors of 16."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in tiny_cosmos.CODE.items():
        (folder / name).write_text(dedent(text).lstrip(), encoding="utf-8")
    auto = {
        "AutoConfig": "configuration_embed1.TinyEmbed1Config",
        "AutoModel": "modeling_embed1.TinyEmbed1",
        "AutoProcessor": "processing_embed1.TinyEmbed1Processor",
    }
    about: Settings = {"model_type": "tiny-embed1", "auto_map": auto, "architectures": ["TinyEmbed1"]}
    tokenizer = _clip_tokenizer()
    about |= {"embed_dim": 16, "num_video_frames": 8, "resolution": 28, "vocab_size": len(tokenizer)}
    (folder / "config.json").write_text(json.dumps(about, indent=2), encoding="utf-8")
    processor: Settings = {
        "processor_class": "TinyEmbed1Processor",
        "auto_map": {"AutoProcessor": auto["AutoProcessor"]},
    }
    processor |= {"num_video_frames": 8, "resolution": 28}
    (folder / "processor_config.json").write_text(json.dumps(processor, indent=2), encoding="utf-8")
    tokenizer.save_pretrained(folder)
    with _seeded():
        weights = {
            "logit_scale": torch.tensor(2.0),
            "video.weight": torch.randn(16, 3 * 7 * 7),
            "when.weight": torch.randn(8, 16) / 4,
            "text.weight": torch.randn(len(tokenizer), 16),
        }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


BUILDERS: dict[str, Callable[[Path], Path]] = {
    "clip": clip,
    "siglip2": siglip2,
    "x-clip": x_clip,
    "aesthetic-mlp": aesthetic_mlp,
    "cosmos-embed1": cosmos,
    "qwen2.5": qwen2_5_vl,
    "qwen3": qwen3_vl,
    "qwen-lm": qwen_lm,
}


@contextmanager
def _seeded() -> Iterator[None]:
    """Seed torch for the block, so that builds have equal weights; restore its state after."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        yield


def _save(folder: Path, model: Any, processor: Any) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _clip_sides(tokenizer: Any) -> tuple[Settings, Settings]:
    shared: Settings = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "projection_dim": 32,
    }
    shared |= {"initializer_factor": 3.0}
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    text: Settings = shared | ids | {"vocab_size": len(tokenizer), "max_position_embeddings": 32}
    return text, shared | {"image_size": 32, "patch_size": 8}


def _qwen_text(tokenizer: Any, head_dim: int) -> Settings:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 4 * head_dim,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8192,
        "initializer_range": LOUD,
        "tie_word_embeddings": False,
    }


def _rope(sections: list[int], head_dim: int, **more: Any) -> Settings:
    """Settings of rotary positions; `sections` are those of the usual head."""
    scaled = [section * head_dim // HEAD_DIM for section in sections]
    return {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": scaled, **more}


def _pixels(step: int) -> Settings:
    """The pixel bounds of a picture of 4 to 16 tokens."""
    return {"shortest_edge": 4 * step * step, "longest_edge": 16 * step * step}


def _ends(tokenizer: Any) -> Settings:
    return {"eos_token_id": tokenizer.convert_tokens_to_ids("<|im_end|>"), "bos_token_id": tokenizer.pad_token_id}


def _vision_ids(tokenizer: Any) -> Settings:
    names = {"image_token_id": "image_pad", "video_token_id": "video_pad"}
    names |= {"vision_start_token_id": "vision_start", "vision_end_token_id": "vision_end"}
    return {key: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for key, name in names.items()}


def restrict_to_words(model: Any, tokenizer: Any) -> None:
    """Set the logits of all tokens but whole words to 0, so that greedy decoding gives words."""
    words = {f"Ġ{word}" for word in TEXT.split() if word.isalpha()}
    with torch.no_grad():
        for token, number in tokenizer.get_vocab().items():
            if token not in words:
                model.lm_head.weight[number] = 0.0
        model.lm_head.weight[len(tokenizer) :] = 0.0
    config = model.generation_config
    config.do_sample, config.eos_token_id = (
        False,
        [tokenizer.convert_tokens_to_ids("<|im_end|>"), tokenizer.pad_token_id],
    )
    config.pad_token_id = tokenizer.pad_token_id


def _vocabulary(special: list[str], words: Iterable[list[str]]) -> tuple[dict[str, int], Any]:
    """A vocabulary in which each word is one token, and its merges.

    Byte-pair encoding is written out here because the trainer of `tokenizers` numbers its tokens
    differently every time.
    """
    symbol_lists, merges = [list(word) for word in words], list[tuple[str, str]]()
    symbols = sorted({symbol for word in symbol_lists for symbol in word} | set(pre_tokenizers.ByteLevel.alphabet()))
    while pairs := Counter(pair for word in symbol_lists for pair in pairwise(word)):
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        symbol_lists = [_merge_pair(word, best) for word in symbol_lists]
    tokens = dict.fromkeys([*special, *symbols, *("".join(pair) for pair in merges)])
    return {token: number for number, token in enumerate(tokens)}, merges


def _merge_pair(word: list[str], pair: tuple[str, str]) -> list[str]:
    symbols: list[str] = []
    for symbol in word:
        if symbols and (symbols[-1], symbol) == pair:
            symbols[-1] += symbol
        else:
            symbols.append(symbol)
    return symbols


def _clip_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    words = [[*word[:-1], f"{word[-1]}</w>"] for word in TEXT.lower().split()]
    ends = [[f"{byte}</w>"] for byte in sorted(pre_tokenizers.ByteLevel.alphabet())]
    vocabulary, merges = _vocabulary([], words + ends)
    for token in ("<|startoftext|>", "<|endoftext|>"):  # last, as in CLIP
        vocabulary[token] = len(vocabulary)
    return CLIPTokenizer(vocabulary, merges, model_max_length=32)


def _qwen_tokenizer() -> Any:
    from transformers import Qwen2Tokenizer

    vocabulary, merges = _vocabulary([], [list(f"Ġ{word}") for word in TEXT.split()])
    for token in SPECIAL:
        vocabulary[token] = len(vocabulary)
    tokenizer = Qwen2Tokenizer(vocabulary, merges, eos_token="<|im_end|>", model_max_length=8192, padding_side="left")
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL[1:]})
    tokenizer.chat_template = CHAT
    return tokenizer


if __name__ == "__main__":
    build(Path(sys.argv[1]))
