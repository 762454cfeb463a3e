"""Numbers with their nouns."""

from __future__ import annotations

import pytest

from udfs.core.words import counted


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows")], ids=["none", "one", "several"]
)
def test_only_one_is_singular(number: int, text: str) -> None:
    assert counted(number, "row") == text


def test_a_plural_may_be_given() -> None:
    assert [counted(number, "copy", "copies") for number in (1, 2)] == ["1 copy", "2 copies"]
