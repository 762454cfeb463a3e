"""Requests: the text that a model's own chat template makes of one, sums of tokens, and bounds of settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from transformers import AutoProcessor, AutoTokenizer

from tests.support import tiny
from udfs.captioning.requests import Endpoint, Request, Sampling, Video, chat_prompt, sum_tokens

VIDEO = Video(np.zeros((2, 56, 56, 3), np.uint8), (0, 15), 30.0, 30)
USER, ASSISTANT = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"
NO_THOUGHTS = "{% if enable_thinking is false %}<think>\n\n</think>{% endif %}"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that reads only."""
    return tiny.qwen_lm(tmp_path_factory.mktemp("models") / "qwen-lm")


@pytest.mark.parametrize("build", [tiny.qwen2_5_vl, tiny.qwen3_vl])
def test_a_prompt_names_the_video_where_there_is_one(build: Any, tmp_path: Path) -> None:
    processor = AutoProcessor.from_pretrained(build(tmp_path / "model"), local_files_only=True)
    shown = chat_prompt(processor, Request("Describe it.", VIDEO))
    assert shown.endswith(f"{USER}<|vision_start|><|video_pad|><|vision_end|>Describe it.{ASSISTANT}")
    assert chat_prompt(processor, Request("Describe it.")).endswith(f"{USER}Describe it.{ASSISTANT}")


def test_thinking_is_turned_off_where_the_template_knows_of_it(reader: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(reader, local_files_only=True)
    plain = chat_prompt(tokenizer, Request("A boat."))
    assert plain.endswith(f"{USER}A boat.{ASSISTANT}")
    tokenizer.chat_template += NO_THOUGHTS
    assert chat_prompt(tokenizer, Request("A boat.")) == plain + "<think>\n\n</think>"


@pytest.mark.parametrize(
    ("counts", "total"),
    [([], 0), ([3], 3), ([3, 0, 4], 7), ([3, None], None), ([None], None), (iter([1, 2]), 3)],
)
def test_a_sum_with_an_unknown_count_is_unknown(counts: Any, total: int | None) -> None:
    assert sum_tokens(counts) == total


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": -0.1},
        {"temperature": 2.1},
        {"top_p": 0},  # leaves no token
        {"top_p": 1.1},
        {"repetition_penalty": 0},
        {"seed": -1},
        {"seed": 2**31},
        {"top_k": 5},
    ],
)
def test_sampling_out_of_bounds_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(settings))):
        TypeAdapter(Sampling).validate_python(settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "host:8000"},
        {"base_url": "ftp://host/v1"},
        {"base_url": "http://user:key@host/v1"},  # every row of `runs` has the settings
        {"base_url": "http://host/v1 "},
        {"api_key_env": "sk-0123"},  # a key in place of a variable's name
        {"concurrency": 0},
        {"requests_per_minute": -1},
        {"timeout_s": 0},
        {"max_retries": -1},
        {"jpeg_quality": 101},
        {"api_key": "secret"},
    ],
)
def test_an_endpoint_out_of_bounds_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(settings))):
        TypeAdapter(Endpoint).validate_python(settings)


@pytest.mark.parametrize("url", ["", "http://host:8000/v1", "https://host/openai/v1/"])
def test_an_address_of_a_server_is_an_endpoint(url: str) -> None:
    assert Endpoint(base_url=url, api_key_env="MY_KEY").base_url == url
