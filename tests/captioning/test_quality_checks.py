"""The codes for what looks wrong with a caption."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.captioning import prompts
from udfs.captioning.quality_checks import checks, has_loop, is_empty, is_foreign, is_refusal, scripts

ENGLISH = prompts.CAPTIONS["default"]
GOOD = (
    "A woman in a blue coat walks along a wet street at night while cars pass behind her. She stops at a crossing, "
    "looks left and right, and walks on as the camera follows her from the side. A neon sign above a door reads 東京."
)


def test_a_good_caption_has_no_codes() -> None:
    assert checks(GOOD, "stop", ENGLISH) == []


@pytest.mark.parametrize("text", ["", "  \n", "...", "—"])
def test_nothing_said_is_empty(text: str) -> None:
    assert is_empty(text)
    assert checks(text, "stop", ENGLISH) == ["empty"]


@pytest.mark.parametrize("text", ["3", "Бег", "a."])
def test_anything_said_is_not(text: str) -> None:
    assert not is_empty(text)


@pytest.mark.parametrize(
    "text",
    [
        "The man walks. " * 5,
        "A car turns left, " + "the car stops and the car starts and then " * 3,
        "no " * 9,
        "A boat drifts. " + "The sun rises slowly behind the mountains far away. " * 3,
        "一只狗在跑" * 4,
    ],
)
def test_a_phrase_three_times_in_a_row_is_a_loop(text: str) -> None:
    assert has_loop(text)


@pytest.mark.parametrize(
    "text",
    [
        "It is very, very, very good.",
        "The man walks. The dog runs. The man stops. The dog stops. The man walks. The dog sits.",
        "The car turns left and stops. The car turns left and stops.",
        GOOD,
        "",
    ],
)
def test_emphasis_and_two_copies_are_none(text: str) -> None:
    assert not has_loop(text)


@given(st.lists(st.text("abcdefgh", min_size=3, max_size=8), min_size=4, max_size=40), st.integers(3, 6))
def test_any_phrase_of_four_words_looped_is_found(words: list[str], copies: int) -> None:
    assert has_loop(" ".join(words * copies))


@given(st.integers(0, 600))
def test_words_that_never_come_again_are_no_loop(length: int) -> None:
    assert not has_loop(" ".join(f"w{k}" for k in range(length)))


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't describe people in this video.",
        "I\u2019m sorry, I cannot help with that.",
        "I am unable to view videos.",
        "As an AI language model, I do not have access to the video.",
        "There seems to be an issue: no video was provided. Please provide the video.",
        "Sure! However, I can't see any frames here.",
    ],
)
def test_a_refusal_is_found(text: str) -> None:
    assert is_refusal(text)
    assert "refusal" in checks(text, "stop", ENGLISH)


@pytest.mark.parametrize(
    "text",
    [
        "A man says he is sorry and walks away.",
        "The driver is unable to stop in time; the car cannot see around the bend.",
        "A sign reads: no video recording in this building.",
        GOOD + " " + GOOD + " At the end a caption on screen says: I'm sorry, I can't see you.",
    ],
)
def test_people_who_refuse_something_in_the_video_are_none(text: str) -> None:
    assert not is_refusal(text)


def test_a_caption_cut_at_the_limit_of_tokens_is_truncated() -> None:
    assert checks(GOOD, "length", ENGLISH) == ["truncated"]


def test_a_caption_that_an_endpoint_filters_is_truncated() -> None:
    assert checks(GOOD, "content_filter", ENGLISH) == ["truncated"]


@pytest.mark.parametrize(
    "text",
    [
        "一位穿蓝色外套的女士走在街上。",
        "Женщина идёт по улице.",
        "A woman walks 一位女士走在街上穿过马路然后停下来。",
        "女性が通りを歩いています。",
    ],
)
def test_a_caption_in_another_script_than_the_prompts_is_in_another_language(text: str) -> None:
    assert checks(text, "stop", ENGLISH) == ["language"]


def test_the_prompt_says_which_script_is_asked_for() -> None:
    assert not is_foreign("一位女士走在街上。", "请详细描述这段视频。")
    assert is_foreign("A woman walks along the street.", "请详细描述这段视频。")
    assert not is_foreign("女性が通りを歩いています。", "この動画を詳しく説明してください。")
    assert not is_foreign("12:30", ENGLISH)


def test_signs_of_japanese_count_as_one_script() -> None:
    assert scripts("通りを2 km") == {"CJK": 3, "LATIN": 2}


def test_several_codes_come_in_their_order() -> None:
    assert checks("I'm sorry. " * 6, "length", ENGLISH) == ["repetition", "truncated", "refusal"]
