"""Groups of copies: a row counts as long as the clip it names, or stands for, is there and passes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from jobs.config.settings import load
from jobs.lake.fingerprints import fingerprint
from jobs.lake.run import Run
from jobs.similarity import copy_groups
from tests.support.two_settings import add
from tests.support.vectors import write_embeddings

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips a to f: a with its copy b, black c with its copy d, e whose kept clip is gone, and f without a row."""
    folder = tmp_path_factory.mktemp("copies")
    vectors = np.ones((6, 2)) / np.sqrt(2)
    write_embeddings(folder, list("abcdef"), vectors, blackness=[0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    rows = {"a": None, "b": "a", "c": None, "d": "c", "e": "gone"}
    made = {"fingerprint": fingerprint("copies", load([], []))}
    add(folder, "copies", [made | {"clip_id": clip_id, "copy_of": of} for clip_id, of in rows.items()])
    return folder


def states(spark: SparkSession, output: Path, *settings: str) -> dict[str, tuple[str | None, bool]]:
    """The clips that pass the gates: whose copies they are, and whether they are to be compared."""
    rows = copy_groups.with_copies(Run(spark, str(output), load([], list(settings)))).collect()
    return {row["clip_id"]: (row["copy_of"], row["new"]) for row in rows}


def test_a_row_counts_while_its_kept_clip_is_there(spark: SparkSession, output: Path) -> None:
    assert states(spark, output) == {
        "a": (None, False),
        "b": ("a", False),
        "c": (None, False),
        "d": ("c", False),
        "e": ("gone", True),
        "f": (None, True),
    }


def test_a_copy_of_a_clip_that_fails_a_gate_is_compared_again(spark: SparkSession, output: Path) -> None:
    passing = states(spark, output, "filter.black=true")
    assert "c" not in passing
    assert {clip_id for clip_id, (_, is_new) in passing.items() if is_new} == {"d", "e", "f"}


def test_rows_of_other_settings_do_not_count(spark: SparkSession, output: Path) -> None:
    run = Run(spark, str(output), load([], ["copies.max_distance=3"]))
    assert sorted(row["clip_id"] for row in copy_groups.pending(run).collect()) == list("abcdef")


def test_a_clip_that_the_condition_drops_stands_for_none_that_it_does_not(spark: SparkSession, output: Path) -> None:
    kept = {"a": (None, False), "b": ("a", True), "c": (None, False), "d": ("c", False)}
    assert states(spark, output, "filter.where=c.clip_id <> 'a'") == kept | {"e": ("gone", True), "f": (None, True)}
    both = states(spark, output, "filter.where=c.clip_id NOT IN ('a', 'b')")
    assert (both["a"], both["b"]) == ((None, False), ("a", False))  # no need to look for another: b is dropped, too
