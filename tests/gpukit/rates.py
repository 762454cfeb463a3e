"""Cosines, embeddings and captions on a GPU, beside numpy and beside the bare loop of the same model."""

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
import torch

from tests.gpukit import models
from tests.gpukit.sizes import Size
from tests.support import clips
from tests.support.goals import Row
from udfs import caption, embed
from udfs.captioning import engine_transformers
from udfs.captioning.requests import Sampling
from udfs.frames import windows
from udfs.models import hf_towers, registry
from udfs.runtime import batching, model_cache
from udfs.runtime.context import FAILURE, Env
from udfs.similarity import neighbors

LEAST_SHARE, LEAST_BUSY = 0.9, 90.0  # of the bare loop's rate; percent of the time
ALIKE, NOISE = 0.9, 0.005  # cosine from which answers are exact; of a query beside its vector, per number
ENV = Env(media_root="unused", fingerprint="f" * 16)


def cosines(_: Path, __: Path, size: Size) -> Iterator[Row]:
    """The nearest vectors by torch beside those by numpy."""
    dice = np.random.default_rng(0)
    vectors = _unit(dice.normal(size=(size.vectors, size.dim)))
    asked = _unit(vectors[: size.queries] + dice.normal(0, NOISE, (size.queries, size.dim)))
    ids = np.arange(size.vectors).astype("S8")
    exact, numpy_s = _nearest(neighbors.arithmetic("cpu", "float32"), vectors, ids, asked)
    for precision in ("float32", "bfloat16", "float16"):
        found, seconds = _nearest(neighbors.arithmetic(size.device, precision), vectors, ids, asked)
        same = float(np.mean(found.position == exact.position))
        yield Row(f"cosines, {precision}: the same neighbor as numpy", same, "of all", 1, "at least")
        apart = float(np.abs(found.cosine - exact.cosine).max())
        yield Row(f"cosines, {precision}: largest difference", apart, "", 1e-4)
        yield Row(f"cosines, {precision}: beside numpy", numpy_s / seconds, "x", detail=f"{seconds:.2f} s")


def _unit(vectors: Any) -> neighbors.Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _nearest(arithmetic: Any, vectors: Any, ids: Any, asked: Any) -> tuple[neighbors.Nearest, float]:
    index = neighbors.FlatIndex(vectors.shape[1], arithmetic)
    index.add(vectors, ids)
    index.nearest(asked[:10], ALIKE)  # the first product starts the library
    started = time.monotonic()
    return index.nearest(asked, ALIKE), time.monotonic() - started


def embeddings(folder: Path, work: Path, size: Size) -> Iterator[Row]:
    """The rate of embed with a CLIP, beside its bare loop."""
    model = models.clip(work / "clip", size)
    params = embed.Params(model=model, batch_size=size.clip_batch, resources=size.resources)
    table = _clips(folder, size.clips)
    with models.random_weights(size) as made:
        seconds, busy = _stage_seconds(embed.rows, params, table, size.clip_batch, size)
        side = made[model].config.vision_config.image_size
        ready = torch.randn(size.clip_batch * 8, 3, side, side).to(size.device, made[model].dtype)

        @torch.inference_mode()
        def bare(num_batches: int) -> None:
            for _ in range(num_batches):
                hf_towers.unit(hf_towers.pooled(made[model].get_image_features(ready)))

        bare(1)
        loop_s, _ = _timed(lambda: bare(size.clips // size.clip_batch), size)
        model_cache.drop()
    yield from _share("embed, 8 frames per clip", loop_s / seconds, f"{size.clips / seconds:.1f} clips/s", busy, size)


def captions(folder: Path, work: Path, size: Size) -> Iterator[Row]:
    """The rate of caption with a Qwen2.5-VL, beside its bare loop."""
    model = models.captioner(work / "captioner", size)
    chosen = caption.Params(
        model_variant=model,
        caption_batch_size=size.window_batch,
        max_output_tokens=size.words,
        sampling=Sampling(temperature=0),
        resources=size.resources,
    )
    params = caption.Settings(chosen, windows.Params())
    table = _clips(folder, size.windows)
    with models.random_weights(size):
        seconds, busy = _stage_seconds(caption.rows, params, table, size.window_batch, size)
        engine = engine_transformers.load(model, chosen.generation, size.device)
        step_px = caption.frame_step_px(chosen.generation, registry.Params())
        rows = list(batching.records(table[: size.window_batch]))
        requests = [one for row in rows for one in caption.prepare(row, _call_here, params, step_px, ENV)]
        ready = engine.inputs(requests)

        @torch.inference_mode()
        def bare(times: int) -> None:
            for _ in range(times):
                engine.model.generate(**ready, **engine._sampling())

        bare(1)
        loop_s, _ = _timed(lambda: bare(size.windows // size.window_batch), size)
        model_cache.drop()
    rate = f"{size.windows * size.words / seconds:.0f} tokens/s, {size.windows / seconds:.2f} windows/s"
    yield from _share(f"caption, {size.window_batch} at once", loop_s / seconds, rate, busy, size)


def _call_here(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


def _share(what: str, share: float, rate: str, busy: list[float], size: Size) -> Iterator[Row]:
    yield Row(f"{what}: rate beside the bare loop", share, "x", size.goal(LEAST_SHARE), "at least", rate)
    if size.on_gpu:
        yield Row(f"{what}: GPU busy", float(np.mean(busy)), "%", LEAST_BUSY, "at least", f"{len(busy)} samples")


def _clips(folder: Path, number: int) -> pd.DataFrame:
    """Rows of clips: the reels, again and again."""
    paths = sorted(folder.glob("reel-*.mp4"))
    rows = [clips.row(path) for path in paths]
    return pd.DataFrame([rows[n % len(rows)] | {"clip_id": f"{n}", "proxy_uri": None} for n in range(number)]).assign(
        fingerprint="f" * 16
    )


def _stage_seconds(
    rows: Callable[..., Iterator[pd.DataFrame]], params: Any, table: pd.DataFrame, warm_up: int, size: Size
) -> tuple[float, list[float]]:
    """The seconds of a stage whose model is loaded, and how busy the GPU was."""
    list(rows([table[:warm_up]], params, ENV))
    batches: list[pd.DataFrame] = []
    seconds, busy = _timed(lambda: batches.extend(rows([table], params, ENV)), size)
    done = pd.concat(batches)
    assert done[FAILURE[0]].isna().all(), done[FAILURE[2]].dropna().iloc[0]
    assert set(done.clip_id) == set(table.clip_id)
    return seconds, busy


def _timed(work: Callable[[], Any], size: Size) -> tuple[float, list[float]]:
    with _watched(size) as busy:
        started = time.monotonic()
        work()
        if size.on_gpu:
            torch.cuda.synchronize()
        return time.monotonic() - started, busy


@contextmanager
def _watched(size: Size) -> Iterator[list[float]]:
    """How busy the GPU is in percent, five times per second by nvidia-smi."""
    busy, over = list[float](), threading.Event()

    def look() -> None:
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-i", "0"]
        while not over.wait(0.2):
            busy.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]))

    thread = threading.Thread(target=look)
    if size.on_gpu:
        thread.start()
    try:
        yield busy
    finally:
        over.set()
        if size.on_gpu:
            thread.join()
