"""The engine of transformers gives the library's own answers, alone and in batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support import tiny
from tests.support.footage import draw
from udfs.captioning import engine_transformers
from udfs.captioning.engine_transformers import Engine
from udfs.captioning.requests import Answer, GenerationSettings, Request, Sampling, Video

GREEDY = Sampling(temperature=0, repetition_penalty=1.3)
WORDS = 10


def video(first: int = 0, frames: int = 4, size: tuple[int, int] = (112, 56), step: int = 15) -> Video:
    """Numbered frames, each `step` after the other, of a video of 30 frames a second."""
    pictures = np.stack([draw(first + k * step, size) for k in range(frames)])
    return Video(pictures, tuple(k * step for k in range(frames)), 30.0, frames * step)


def engine(folder: Path, **settings: Any) -> Engine:
    generation: dict[str, Any] = {"max_output_tokens": WORDS, "sampling": GREEDY} | settings
    return engine_transformers.load(str(folder), GenerationSettings("transformers", str(folder), **generation), "cpu")


@pytest.fixture(scope="module", params=["qwen2.5", "qwen3"])
def seeing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that sees, in sizes of 28 or 32 px a token."""
    return tiny.BUILDERS[request.param](tmp_path_factory.mktemp("models") / request.param)


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that reads only."""
    return tiny.qwen_lm(tmp_path_factory.mktemp("models") / "qwen-lm")


def size(folder: Path) -> tuple[int, int]:
    return (112, 56) if folder.name == "qwen2.5" else (128, 64)


def answers(got: list[Any]) -> list[Answer]:
    assert all(isinstance(answer, Answer) for answer in got)
    return got


def test_the_tokens_are_those_of_the_librarys_own_call(seeing: Path) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.video_utils import VideoMetadata

    asked = Request("Describe this video.", video(size=size(seeing)))
    processor: Any = AutoProcessor.from_pretrained(seeing)
    model: Any = AutoModelForImageTextToText.from_pretrained(seeing, dtype=torch.float32)
    content = [{"type": "video"}, {"type": "text", "text": "Describe this video."}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    about = VideoMetadata(60, 30.0, frames_indices=[0, 15, 30, 45])
    assert asked.video is not None
    inputs = processor(
        text=[text],
        videos=[asked.video.pictures],
        video_metadata=[about],
        do_resize=False,
        do_sample_frames=False,
        return_tensors="pt",
    )
    inputs.pop("video_metadata", None)
    tokens = model.generate(**inputs, max_new_tokens=WORDS, do_sample=False, repetition_penalty=1.3)[
        0, inputs["input_ids"].shape[1] :
    ]
    expected = processor.tokenizer.decode(tokens, skip_special_tokens=True)
    assert engine(seeing).generate([asked]) == [Answer(expected, inputs["input_ids"].shape[1], WORDS, "length")]
    assert len(expected.split()) == WORDS


def test_in_a_batch_each_gets_the_answer_that_it_gets_alone(seeing: Path) -> None:
    width, height = size(seeing)
    requests = [
        Request("Describe this video.", video(size=(width, height))),
        Request(
            "Describe this video. " + "Elaborate on the visual and narrative elements. " * 4,
            video(300, size=(width, height)),
        ),
        Request("A boat?", video(900, frames=8, size=(width, height * 2))),
    ]
    model = engine(seeing)
    together = answers(model.generate(requests))
    assert together == [model.generate([request])[0] for request in requests]
    assert len({answer.text for answer in together}) == 3


def test_it_answers_to_the_frames_and_to_the_prompt(seeing: Path) -> None:
    model, shape = engine(seeing), size(seeing)
    said = answers(
        [
            model.generate([Request(prompt, video(first, size=shape))])[0]
            for prompt, first in (("Describe this video.", 0), ("Describe this video.", 700), ("A boat?", 0))
        ]
    )
    assert len({answer.text for answer in said}) == 3


def test_frames_of_final_size_cost_the_tokens_of_that_size(seeing: Path) -> None:
    width, height = size(seeing)
    small, large = (
        engine(seeing).inputs([Request("Describe.", video(size=(width * k, height * k)))])["video_grid_thw"].tolist()
        for k in (1, 3)
    )
    assert (small, large) == ([[2, 4, 8]], [[2, 12, 24]])


def test_the_processor_scales_where_the_frames_are_not_final(seeing: Path) -> None:
    asked = [Request("Describe.", video(size=(640, 360)))]
    [[steps, rows, columns]] = engine(seeing, resized=False).inputs(asked)["video_grid_thw"].tolist()
    assert steps == 2
    assert rows * columns // 4 <= 16  # tokens a frame, as the tiny processor's settings have it


def test_the_model_is_told_when_the_frames_are_shown(tmp_path: Path) -> None:
    model = engine(tiny.qwen3_vl(tmp_path / "qwen3"))
    ids = model.inputs([Request("Describe.", video(size=(128, 64), step=30))])["input_ids"][0]
    text = model.tokenizer.decode(ids)
    assert "<0.5 seconds>" in text.replace(" <", "<")  # frames 0 and 30 become one step
    assert "<2.5 seconds>" in text.replace(" <", "<")


def test_pixels_go_to_the_model_in_the_type_that_was_asked_for(seeing: Path) -> None:
    asked = [Request("Describe.", video(size=size(seeing)))]
    whole, half = engine(seeing), engine(seeing, pixel_dtype="float16")
    assert whole.inputs(asked)["pixel_values_videos"].dtype == torch.float32
    assert half.inputs(asked)["pixel_values_videos"].dtype == torch.float16
    assert len(answers(half.generate(asked))[0].text.split()) == WORDS


def test_a_model_that_reads_answers_a_batch_of_texts(reading: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(reading)
    model: Any = AutoModelForCausalLM.from_pretrained(reading, dtype=torch.float32)
    prompts = ["A boat.", "Two children run along the sandy beach and throw a red ball.", "A train crosses the bridge."]
    expected = []
    for prompt in prompts:
        chat = [{"role": "user", "content": prompt}]
        ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)[
            "input_ids"
        ]
        tokens = model.generate(ids, max_new_tokens=WORDS, do_sample=False, repetition_penalty=1.3)[0, ids.shape[1] :]
        expected.append(Answer(tokenizer.decode(tokens, skip_special_tokens=True), ids.shape[1], WORDS, "length"))
    assert engine(reading).generate([Request(prompt) for prompt in prompts]) == expected


def test_what_pads_a_prompt_is_no_token_that_it_had_not_before(reading: Path) -> None:
    model = engine(reading)  # the penalty on repetition falls on every token of a row, of the padding too
    asked = [Request("A boat."), Request("Two children run along the sandy beach and throw a red ball.")]
    alone, together = (model.inputs(batch) for batch in (asked[:1], asked))
    assert together["attention_mask"][0].tolist().count(0) > 0
    assert set(together["input_ids"][0].tolist()) == set(alone["input_ids"][0].tolist())


def test_an_answer_that_ends_counts_its_tokens_up_to_the_end_and_no_padding(reading: Path) -> None:
    model = engine(reading)
    texts = ["A boat.", "A train crosses the bridge."]
    words = [answer.text.split() for answer in answers(model.generate([Request(text) for text in texts]))]
    last = next(word for word in words[0][2:] if word not in words[1])  # what ends the first one only
    at = words[0].index(last) + 1
    model.model.generation_config.eos_token_id = [model.tokenizer.convert_tokens_to_ids(f"Ġ{last}"), 10**6]
    ended, full = answers(model.generate([Request(text) for text in texts]))
    assert (ended.finish_reason, ended.tokens_out, ended.text.split()) == ("stop", at, words[0][:at])
    assert (full.finish_reason, full.tokens_out, full.text.split()) == ("length", WORDS, words[1])


def test_a_nearly_certain_choice_is_the_greedy_one_and_a_free_one_follows_the_seed(reading: Path) -> None:
    asked = [Request("A boat.")]
    greedy = engine(reading).generate(asked)
    assert engine(reading, sampling=Sampling(repetition_penalty=1.3)).generate(asked) == greedy
    free = [engine(reading, sampling=Sampling(temperature=2, top_p=1, seed=seed)).generate(asked) for seed in (1, 1, 2)]
    assert free[0] == free[1] != free[2]
