"""Language codes: codes of two and three letters name the same language."""

from __future__ import annotations

import pytest

from udfs.audio.languages import same_language
from udfs.clip import Params


@pytest.mark.parametrize(
    ("one", "other", "same"), [("ger", "deu", True), ("DE_at", "ger", True), ("", "", False), ("en", "fr", False)]
)
def test_codes_name_the_same_language(one: str, other: str, same: bool) -> None:
    assert same_language(one, other) is same


@pytest.mark.parametrize("code", ["english", "e", "en US", "12"])
def test_a_language_that_is_no_code_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match="audio_language"):
        Params(audio_language=code)
