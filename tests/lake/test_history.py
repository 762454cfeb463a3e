"""The history of a run: sums of counts, and facts whose names cannot be misspelt."""

from __future__ import annotations

from collections import Counter

import pytest

from jobs.lake.history import Counts, Work


def test_a_misspelt_fact_is_an_error() -> None:
    with pytest.raises(TypeError, match="num_inn"):
        Work(num_inn=3)  # type: ignore[call-arg]


def test_counts_of_stages_add_up() -> None:
    cut = Counts(3, 2, Counter(CORRUPT=1), num_files=4)
    total = cut + Counts(2, 1, Counter(CORRUPT=1, OOM=1))
    assert total == Counts(5, 3, Counter(CORRUPT=2, OOM=1), num_files=4)
    assert str(total) == "done: 3 rows written, 3 inputs failed (CORRUPT 2, OOM 1)"


def test_counts_without_inputs_say_that_nothing_was_done() -> None:
    assert str(Counts(num_files=4)) == "nothing to do: 0 decoded, 0 rows written"


def test_one_of_a_thing_is_singular() -> None:
    assert str(Counts(2, 1, Counter(BUG=1), Counter(audio_warning=1))) == (
        "done: 1 row written, 1 input failed (BUG 1); 1 row with audio_warning"
    )
