"""The settings that [caption] and [enhance] share."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from udfs import caption, enhance
from udfs.captioning.generation_params import GenerationParams

STAGES = [caption.Params, enhance.Params]
SHARED = {field.name for field in fields(GenerationParams)}


def own_settings(params: type[GenerationParams]) -> set[str]:
    return {field.name for field in fields(params)} - SHARED


def test_the_stages_share_eleven_settings_and_no_others() -> None:
    assert len(SHARED) == 11
    assert not own_settings(caption.Params) & own_settings(enhance.Params)
    assert own_settings(enhance.Params) == {"model_batch_size"}


def test_the_order_of_the_fingerprint_names_settings_that_there_are() -> None:
    assert set(caption.Params.FINGERPRINT_ORDER) <= {field.name for field in fields(caption.Params)}
    assert len(set(caption.Params.FINGERPRINT_ORDER)) == len(caption.Params.FINGERPRINT_ORDER)


@pytest.mark.parametrize("params", STAGES)
@pytest.mark.parametrize(
    "settings",
    [
        {"engine": "tgi"},
        {"model_variant": ""},
        {"prompt_variant": "news"},
        {"prompt_text": "Stop <|im_end|>"},
        {"max_output_tokens": 0},
        {"sampling": {"temperature": 3}},
        {"endpoint": {"base_url": "host:8000"}},
        {"language": "en"},
        {"answer_schema": "{weather"},
        {"answer_schema": '["weather"]'},
    ],
)
def test_values_out_of_bounds_are_refused(params: type[GenerationParams], settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(params).validate_python(settings)


@pytest.mark.parametrize("params", STAGES)
def test_a_prompt_of_ones_own_replaces_the_variants(params: type[GenerationParams]) -> None:
    assert params(prompt_text=" What floats? ").prompt == "What floats?"
    assert params(prompt_variant="av").prompt == params.PROMPTS["av"] != params().prompt


@pytest.mark.parametrize(
    ("params", "qwen", "qwen3"),
    [(caption.Params, "qwen2.5", "qwen3"), (enhance.Params, "qwen-lm", "qwen3-lm")],
)
def test_a_variant_names_the_model_of_the_stage(params: type[GenerationParams], qwen: str, qwen3: str) -> None:
    names = [params(model_variant=name).generation.model for name in ("qwen", "qwen2.5", "qwen3", "org/name@0123abc")]
    assert names == [qwen, qwen, qwen3, "org/name@0123abc"]
    assert params(engine="openai", model_variant="qwen").generation.model == "qwen"


@pytest.mark.parametrize("params", STAGES)
def test_a_folder_becomes_absolute_and_an_endpoints_name_does_not(
    params: type[GenerationParams], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my" / "model").mkdir(parents=True)
    assert params(model_variant="my/model").model_variant == str(tmp_path / "my" / "model")
    assert params(engine="openai", model_variant="my/model").model_variant == "my/model"


def test_caption_passes_its_own_settings_to_the_engine() -> None:
    generation = caption.Params(model_does_preprocess=True, preprocess_dtype="float16", disable_mmcache=True).generation
    assert (generation.resized, generation.pixel_dtype, generation.mm_cache) == (False, "float16", False)


@pytest.mark.parametrize(
    ("stage2", "disabled", "cached"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_processed_frames_are_kept_only_for_a_second_stage(stage2: bool, disabled: bool, cached: bool) -> None:
    params = caption.Params(generate_stage2_caption=stage2, disable_mmcache=disabled)
    assert params.generation.mm_cache == cached
