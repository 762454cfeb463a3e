"""The arguments and prompts that vLLM gets; vLLM itself needs a GPU and does not run here."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import tiny
from udfs.captioning import engine_vllm
from udfs.captioning.engine_vllm import Engine
from udfs.captioning.requests import GenerationSettings, Request, Video
from udfs.models.registry import MissingModelError

VIDEO = Video(np.zeros((4, 56, 56, 3), np.uint8), (0, 20, 39, 59), 29.97, 60)


def settings(**settings: Any) -> GenerationSettings:
    return GenerationSettings("vllm", "qwen2.5", **settings)


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vllm is installed here")
def test_a_worker_without_vllm_says_so_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(MissingModelError, match=r"^vllm is not installed on [^\n]+$"):
        engine_vllm.load(str(tmp_path), settings(), "cuda:0")


def test_a_whole_gpu_is_filled_as_the_published_settings_fill_it() -> None:
    made = engine_vllm.arguments("/models/qwen", settings(gpus=1), remote_code=False)
    assert (made["model"], made["max_model_len"], made["gpu_memory_utilization"]) == ("/models/qwen", 32768, 0.85)
    assert (made["tensor_parallel_size"], made["quantization"], made["trust_remote_code"]) == (1, None, False)
    assert "mm_processor_cache_gb" not in made


def test_of_a_shared_gpu_it_takes_its_share_and_of_several_all() -> None:
    assert engine_vllm.arguments("m", settings(gpus=0.25), False)["gpu_memory_utilization"] == pytest.approx(0.2125)
    several = engine_vllm.arguments("m", settings(gpus=2), False)
    assert (several["tensor_parallel_size"], several["gpu_memory_utilization"]) == (2, 0.85)


def test_8_bit_weights_and_no_cache_where_asked_for() -> None:
    made = engine_vllm.arguments("m", settings(fp8=True, mm_cache=False), False)
    assert (made["quantization"], made["mm_processor_cache_gb"]) == ("fp8", 0)


def test_the_gpus_are_those_of_the_task() -> None:
    assert engine_vllm.gpus(settings(gpus=1), "cuda:3") == [3]
    assert engine_vllm.gpus(settings(gpus=2), "cuda:2") == [2, 3]
    assert engine_vllm.gpus(settings(gpus=2, gpu_addresses=("4", "6")), "cuda:4") == [4, 6]


def test_what_vllm_starts_sees_those_gpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b,GPU-c")
    monkeypatch.delenv("VLLM_WORKER_MULTIPROC_METHOD", raising=False)
    with engine_vllm._visible([2, 0]):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-c,GPU-a"
        assert os.environ["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b,GPU-c"
    assert "VLLM_WORKER_MULTIPROC_METHOD" not in os.environ
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    with engine_vllm._visible([1]):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_a_request_is_the_templates_text_with_the_frames_and_their_times(tmp_path: Path) -> None:
    from transformers import AutoProcessor

    processor: Any = AutoProcessor.from_pretrained(tiny.qwen3_vl(tmp_path / "qwen3"))
    made = Engine(None, processor, None, settings()).prompt(Request("Describe this.", VIDEO))
    assert made["prompt"].count("<|video_pad|>") == 1
    assert made["prompt"].endswith("<|im_start|>assistant\n")
    [(pictures, about)] = made["multi_modal_data"]["video"]
    assert pictures is VIDEO.pictures
    assert about["frames_indices"] == [0, 20, 39, 59]
    assert (about["fps"], about["total_num_frames"], about["do_sample_frames"]) == (29.97, 60, False)
    assert made["mm_processor_kwargs"] == {"do_sample_frames": False, "do_resize": False}
    assert set(Engine(None, processor, None, settings()).prompt(Request("Describe this."))) == {"prompt"}
