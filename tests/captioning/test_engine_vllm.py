"""The arguments, environment and prompts that vLLM gets; tests/vllm runs vLLM itself."""

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


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny model with 8192 positions."""
    return str(tiny.qwen3_vl(tmp_path_factory.mktemp("models") / "qwen3"))


def arguments(model: str, device: str = "cuda:0", **chosen: Any) -> dict[str, Any]:
    return engine_vllm.arguments(model, settings(**chosen), device, remote_code=False)


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vllm is installed here")
def test_a_worker_without_vllm_says_so_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(MissingModelError, match=r"^vllm 0\.32 or newer is not installed on [^\n]+$"):
        engine_vllm.load(str(tmp_path), settings(), "cuda:0")


def test_a_whole_gpu_is_filled_as_the_published_settings_fill_it(model: str) -> None:
    made = arguments(model, gpus=1)
    assert (made["model"], made["gpu_memory_utilization"]) == (model, 0.85)
    assert (made["tensor_parallel_size"], made["quantization"], made["trust_remote_code"]) == (1, None, False)
    assert not {"mm_processor_cache_gb", "dtype", "kv_cache_memory_bytes"} & made.keys()


def test_of_a_shared_gpu_it_takes_its_share_and_of_several_all(model: str) -> None:
    assert arguments(model, gpus=0.25)["gpu_memory_utilization"] == pytest.approx(0.2125)
    several = arguments(model, gpus=2)
    assert (several["tensor_parallel_size"], several["gpu_memory_utilization"]) == (2, 0.85)


def test_8_bit_weights_and_no_cache_where_asked_for(model: str) -> None:
    made = arguments(model, fp8=True, mm_cache=False)
    assert (made["quantization"], made["mm_processor_cache_gb"]) == ("fp8", 0)


def test_on_the_cpu_numbers_are_those_of_the_other_engine_and_memory_is_bounded(model: str) -> None:
    made = arguments(model, "cpu")
    assert (made["dtype"], made["enforce_eager"], made["kv_cache_memory_bytes"]) == ("float32", True, 4 << 30)


@pytest.mark.parametrize(("positions", "expected"), [(8192, 8192), (128_000, 32768)])
def test_no_more_tokens_than_the_model_has_positions_for(
    model: str, positions: int, expected: int, tmp_path: Path
) -> None:
    config = (Path(model) / "config.json").read_text(encoding="utf-8")
    assert '"max_position_embeddings": 8192' in config
    (tmp_path / "config.json").write_text(config.replace('embeddings": 8192', f'embeddings": {positions}'))
    assert engine_vllm.max_model_len(str(tmp_path), remote_code=False) == expected


def test_the_gpus_are_those_of_the_task() -> None:
    assert engine_vllm.gpus(settings(gpus=1), "cuda:3") == [3]
    assert engine_vllm.gpus(settings(gpus=2), "cuda:2") == [2, 3]
    assert engine_vllm.gpus(settings(gpus=2, gpu_addresses=("4", "6")), "cuda:4") == [4, 6]


def test_what_vllm_starts_sees_those_gpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    several = settings(gpus=2, gpu_addresses=("2", "0"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b,GPU-c")
    assert engine_vllm.environment(several, "cuda:2")["CUDA_VISIBLE_DEVICES"] == "GPU-c,GPU-a"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert engine_vllm.environment(settings(gpus=1), "cuda:1")["CUDA_VISIBLE_DEVICES"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in engine_vllm.environment(settings(), "cpu")


def test_variables_are_as_they_were_once_vllm_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_WORKER_MULTIPROC_METHOD", "fork")
    monkeypatch.delenv("VLLM_NO_USAGE_STATS", raising=False)
    with engine_vllm._environment(engine_vllm.environment(settings(), "cpu")):
        assert os.environ["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"
        assert os.environ["VLLM_NO_USAGE_STATS"] == "1"
    assert os.environ["VLLM_WORKER_MULTIPROC_METHOD"] == "fork"
    assert "VLLM_NO_USAGE_STATS" not in os.environ


def test_a_request_is_the_templates_text_with_the_frames_and_their_times(model: str) -> None:
    from transformers import AutoProcessor

    processor: Any = AutoProcessor.from_pretrained(model)
    engine = Engine(lambda: None, processor, None, settings())
    made = engine.prompt(Request("Describe this.", VIDEO))
    assert made["prompt"].count("<|video_pad|>") == 1
    assert made["prompt"].endswith("<|im_start|>assistant\n")
    [(pictures, about)] = made["multi_modal_data"]["video"]
    assert pictures is VIDEO.pictures
    assert about["frames_indices"] == [0, 20, 39, 59]
    assert (about["fps"], about["total_num_frames"], about["do_sample_frames"]) == (29.97, 60, False)
    assert made["mm_processor_kwargs"] == {"do_sample_frames": False, "do_resize": False}
    assert set(engine.prompt(Request("Describe this."))) == {"prompt"}
