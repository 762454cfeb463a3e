"""Labels lie in a Delta table, one row per clip, label and person."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.reports import labels
from jobs.reports.labels import Label
from tests.reports.conftest import asking
from tests.support import small_output
from udfs.storage.settings import Params as Sources

GIVEN = "SELECT clip_id, label, who FROM labels ORDER BY clip_id, label, who"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output without labels."""
    return small_output.write(tmp_path / "out")


def test_a_label_is_given_once_and_taken_back(output: Path) -> None:
    assert asking(output)(GIVEN) == []
    for label in (Label("c1", "good", "ann"), Label("c1", "good", "ann"), Label("c1", "it's bad", "o'neil")):
        labels.add(str(output), Sources(), label)
    assert asking(output)(GIVEN) == [("c1", "good", "ann"), ("c1", "it's bad", "o'neil")]
    labels.remove(str(output), Sources(), Label("c1", "it's bad", "o'neil"))
    labels.remove(str(output), Sources(), Label("c1", "unknown", "ann"))
    assert asking(output)(GIVEN) == [("c1", "good", "ann")]


def test_quotes_in_a_label_remove_no_other(output: Path) -> None:
    labels.add(str(output), Sources(), Label("c1", "good", "ann"))
    labels.remove(str(output), Sources(), Label("c1", "x' OR 'a' = 'a", "ann"))
    assert asking(output)("SELECT count(*) FROM labels") == [(1,)]


def test_nothing_is_removed_where_there_is_no_table(output: Path) -> None:
    labels.remove(str(output), Sources(), Label("c1", "good", "ann"))
    assert not (output / "tables/labels").exists()


@pytest.mark.parametrize(("text", "is_short"), [("x", True), ("x" * 100, True), ("x" * 101, False), (" ", False)])
def test_a_label_is_a_few_words(text: str, is_short: bool) -> None:
    assert Label("c1", text, "ann").is_short == is_short
