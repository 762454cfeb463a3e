"""Throughput of aesthetic, embed, caption and enhance, compared with a bare loop of their models.

The bare loop calls the same loaded model on tensors that are ready on its device. The stage decodes
real footage and writes rows. With a CUDA device the models have their full size, and embed and
caption must reach LEAST of the loop. On a CPU, decoding and the model share the cores, so that the
ratio is only printed. Weights are random, which changes no time, because no answer ends early.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
)

from tests.support import reels, tiny
from tests.support.sandbox_probe import call_here
from udfs import aesthetic, caption, embed, enhance
from udfs.captioning import engine_transformers
from udfs.captioning.engine_transformers import Engine
from udfs.captioning.requests import Request, Sampling
from udfs.core.task_resources import Resources
from udfs.frames import windows
from udfs.models import hf_towers, registry
from udfs.runtime import batching, model_cache
from udfs.runtime.context import FAILURE, Env

GPU = torch.cuda.is_available()
DEVICE = "cuda:0" if GPU else "cpu"
LEAST = 0.9
NUM_CLIPS = 512 if GPU else 24
FRAMES = 250  # per clip: 10 s
WORDS = 256 if GPU else 24
BATCHES = (8, 16, 64) if GPU else (4,)
RESOURCES = Resources(cpus=12 if GPU else 1, gpus=1.0 if GPU else 0.0)
ENV = Env(media_root="unused", fingerprint="f" * 16)


def model_size(width: int, inner: int, layers: int, heads: int, key_value_heads: int) -> dict[str, int]:
    """The size settings of a Qwen language model."""
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    return dict(zip(names, (width, inner, layers, heads, key_value_heads), strict=True))


# ViT-L/14; on a CPU ViT-B/32
VISION: dict[str, Any] = (
    {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "patch_size": 14,
    }
    if GPU
    else {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "patch_size": 32,
    }
)
WIDTH = 768 if GPU else 512
# Qwen2.5-VL-7B and Qwen2.5-14B; on a CPU an eighth of the first's width and a seventh of its depth
CAPTIONER = model_size(3584, 18944, 28, 28, 4) if GPU else model_size(448, 2368, 4, 7, 1)
ENHANCER = model_size(5120, 13824, 48, 40, 8)
VISION_TOWER: dict[str, Any] = (
    {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "fullatt_block_indexes": [7, 15, 23, 31],
    }
    if GPU
    else {"depth": 4, "hidden_size": 160, "intermediate_size": 428, "num_heads": 2, "fullatt_block_indexes": [3]}
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """NUM_CLIPS rows of four real reels of 10 s, 320 x 180, the size of proxies."""
    folder = tmp_path_factory.mktemp("clips")
    paths = []
    for seed in range(4):
        pictures, _ = reels.join_shots(reels.random_shots(4, seed, 80))
        paths.append(reels.write(folder / f"{seed}.mp4", (pictures * 4)[:FRAMES]))
    rows = [
        {
            "clip_id": f"{n}",
            "uri": str(paths[n % 4]),
            "proxy_uri": None,
            "num_frames": FRAMES,
            "framerate": float(reels.FPS),
        }
        for n in range(NUM_CLIPS)
    ]
    return pd.DataFrame(rows).assign(duration_s=FRAMES / reels.FPS, fingerprint="f" * 16)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tiny.clip(tmp_path_factory.mktemp("models") / "clip")
    config = AutoConfig.from_pretrained(folder)
    config.vision_config.update(VISION | {"image_size": 224, "projection_dim": WIDTH})
    config.projection_dim = WIDTH
    CLIPModel(config).save_pretrained(folder)
    CLIPProcessor(CLIPImageProcessor(), AutoTokenizer.from_pretrained(folder)).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tiny.qwen2_5_vl(tmp_path_factory.mktemp("models") / "captioner")
    config = AutoConfig.from_pretrained(folder)
    head = CAPTIONER["hidden_size"] // CAPTIONER["num_attention_heads"]
    config.text_config.update(CAPTIONER | {"vocab_size": 152064 if GPU else 8192})
    config.text_config.rope_parameters["mrope_section"] = [head // 8, head * 3 // 16, head * 3 // 16]
    config.text_config.layer_types = ["full_attention"] * CAPTIONER["num_hidden_layers"]
    config.vision_config.update(VISION_TOWER | {"out_hidden_size": CAPTIONER["hidden_size"], "window_size": 112})
    return _save_model(AutoModelForImageTextToText, config, folder)


def _save_model(kind: Any, config: Any, folder: Path) -> str:
    with torch.device(DEVICE):
        model = kind.from_config(config, dtype=torch.bfloat16 if GPU else torch.float32)
    tiny.restrict_to_words(model, AutoTokenizer.from_pretrained(folder))  # and so never ends by itself
    model.save_pretrained(folder)
    return str(folder)


@contextmanager
def watched() -> Iterator[list[float]]:
    """The GPU utilization in percent, five samples per second by nvidia-smi; none without a GPU."""
    utilization: list[float] = []
    over = threading.Event()

    def look() -> None:
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-i", "0"]
        while not over.wait(0.2):
            utilization.append(
                float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0])
            )

    thread = threading.Thread(target=look)
    if GPU:
        thread.start()
    try:
        yield utilization
    finally:
        over.set()
        if GPU:
            thread.join()


def timed(work: Callable[[], Any]) -> tuple[float, list[float]]:
    """The seconds that the work takes on its device, and the device's utilization."""
    with watched() as utilization:
        started = time.monotonic()
        work()
        if GPU:
            torch.cuda.synchronize()
        return time.monotonic() - started, utilization


def stage_time(
    rows: Callable[..., Iterator[pd.DataFrame]], params: Any, clips: pd.DataFrame, warm_up: int
) -> tuple[float, str]:
    """The seconds that a stage with a warm model takes for the clips, and GPU utilization."""
    env = ENV
    list(rows([clips[:warm_up]], params, env))
    batches: list[pd.DataFrame] = []
    seconds, utilization = timed(lambda: batches.extend(rows([clips], params, env)))
    done = pd.concat(batches)
    assert done[FAILURE[0]].isna().all(), done[FAILURE[2]].dropna().iloc[0]
    assert set(done.clip_id) == set(clips.clip_id)
    return seconds, f", GPU busy {np.mean(utilization):.0f} %" if utilization else ""


def generation_time(engine: Engine, requests: list[Request], num_batches: int) -> float:
    """The seconds that the bare model takes to answer one ready batch `num_batches` times."""
    ready = engine.inputs(requests)

    @torch.inference_mode()
    def bare(times: int) -> None:
        for _ in range(times):
            engine.model.generate(**ready, **engine._sampling())

    bare(1)
    return timed(lambda: bare(num_batches))[0]


def report(what: str, ratio: float, text: str, must: bool = True) -> None:
    name = torch.cuda.get_device_name() if GPU else "CPU, small models"
    print(f"{what:24}{text}; {ratio:.2f} of a bare loop ({name})")
    assert ratio >= LEAST or not (GPU and must)


def test_embed_reaches_most_of_a_bare_loop(clips: pd.DataFrame, clip: str) -> None:
    print()
    params = embed.Params(model=clip, batch_size=32 if GPU else 8, resources=RESOURCES)
    seconds, busy = stage_time(embed.rows, params, clips, params.batch_size)
    model_cache.drop()
    model = AutoModel.from_pretrained(clip, dtype=hf_towers.dtype(params, DEVICE)).to(DEVICE).eval()
    ready = torch.randn(params.batch_size * 8, 3, 224, 224, device=DEVICE, dtype=model.dtype)

    @torch.inference_mode()
    def bare(num_batches: int) -> None:
        for _ in range(num_batches):
            hf_towers.unit(hf_towers.pooled(model.get_image_features(ready)))

    bare(1)
    loop, _ = timed(lambda: bare(NUM_CLIPS // params.batch_size))
    report("embed, 8 frames a clip", loop / seconds, f"{NUM_CLIPS / seconds:.1f} clips/s{busy}")


def test_aesthetic_prints_its_share_of_a_bare_loop(clips: pd.DataFrame, clip: str, tmp_path: Path) -> None:
    head = tiny.aesthetic_mlp(tmp_path / "head", WIDTH)
    params = aesthetic.Params(model=clip, head=str(head), batch_size=256 if GPU else 64, resources=RESOURCES)
    seconds, busy = stage_time(aesthetic.rows, params, clips, params.batch_size // 8)
    model_cache.drop()
    model = AutoModel.from_pretrained(clip, dtype=torch.float32).to(DEVICE).eval()
    frames = FRAMES // reels.FPS
    ready = torch.randn(params.batch_size, 3, 224, 224, device=DEVICE)

    @torch.inference_mode()
    def bare(num_frames: int) -> None:
        for start in range(0, num_frames, params.batch_size):
            hf_towers.unit(hf_towers.pooled(model.get_image_features(ready[: num_frames - start])))

    bare(1)
    loop, _ = timed(lambda: bare(NUM_CLIPS * frames))
    report("aesthetic, 1 frame/s", loop / seconds, f"{NUM_CLIPS / seconds:.1f} clips/s{busy}", must=False)


@pytest.mark.parametrize("batch_size", BATCHES)
def test_caption_reaches_most_of_a_bare_loop(clips: pd.DataFrame, captioner: str, batch_size: int) -> None:
    few = clips[: 3 * batch_size]
    greedy = Sampling(temperature=0)
    params = caption.Settings(
        caption.Params(
            model_variant=captioner,
            caption_batch_size=batch_size,
            max_output_tokens=WORDS,
            sampling=greedy,
            resources=RESOURCES,
        ),
        windows.Params(),
    )
    seconds, busy = stage_time(caption.rows, params, few, batch_size)
    model_cache.drop()
    generation = params.caption.generation
    engine = engine_transformers.load(captioner, generation, DEVICE)
    step = caption.frame_step_px(generation, registry.Params())
    rows = list(batching.records(few[:batch_size]))
    requests = [r for row in rows for r in caption.prepare(row, call_here, params, step, ENV)]
    loop = generation_time(engine, requests, len(few) // batch_size)
    text = f"{len(few) * WORDS / seconds:.0f} tokens/s, {len(few) / seconds:.2f} clips/s{busy}"
    report(f"caption, {batch_size} at once", loop / seconds, text)


@pytest.mark.skipif(not GPU, reason="on a CPU the language model shows nothing that captions do not show")
@pytest.mark.parametrize("batch_size", [16, 128])
def test_enhance_prints_its_share_of_a_bare_loop(tmp_path_factory: pytest.TempPathFactory, batch_size: int) -> None:
    folder = tmp_path_factory.getbasetemp() / "enhancer"
    if not folder.exists():
        config = AutoConfig.from_pretrained(tiny.qwen_lm(folder))
        config.update(ENHANCER | {"vocab_size": 152064})
        config.layer_types = ["full_attention"] * ENHANCER["num_hidden_layers"]
        _save_model(AutoModelForCausalLM, config, folder)
    params = enhance.Params(
        model_variant=str(folder),
        model_batch_size=batch_size,
        max_output_tokens=WORDS,
        sampling=Sampling(temperature=0),
        resources=RESOURCES,
    )
    captioned_window = {"start_frame": 0, "end_frame": 255, "caption": tiny.TEXT * 2, "stage2_caption": None}
    rows = [{"clip_id": f"{n}", "captions": [captioned_window], "fingerprint": "f" * 16} for n in range(3 * batch_size)]
    seconds, busy = stage_time(enhance.rows, params, pd.DataFrame(rows), batch_size)
    model_cache.drop()
    engine = engine_transformers.load(str(folder), params.generation, DEVICE)
    requests = list(enhance.prepare(rows[0], call_here, params)) * batch_size
    loop = generation_time(engine, requests, 3)
    text = f"{len(rows) * WORDS / seconds:.0f} tokens/s{busy}"
    report(f"enhance, {batch_size} at once", loop / seconds, text, must=False)
