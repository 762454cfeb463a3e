"""sql: answers printed as tables."""

from __future__ import annotations

import pytest

from jobs.lake.answers import MAX_WIDTH, cell


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1 / 3, "0.333333"),
        (None, "NULL"),
        (True, "True"),
        ("a\nb\x1b[2J", "a\\nb\\x1b[2J"),
        ("/out/" + "p" * 200 + ".webp", "/out/" + "p" * 200 + ".webp"),
    ],
)
def test_a_value_is_one_line_and_a_path_is_whole(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_prose_is_cut() -> None:
    shown = cell("many words " * 20)
    assert len(shown) == MAX_WIDTH
    assert shown.endswith("...")
