"""What a session on one machine gives to its Python workers."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from jobs.spark.session import _standalone

pytestmark = pytest.mark.spark


def path(batches: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    for _ in batches:
        yield pd.DataFrame({"entry": sys.path})


def test_workers_read_no_archive_at_the_start_of_every_task(spark: SparkSession) -> None:
    entries = {row["entry"] for row in spark.range(1).mapInPandas(path, "entry string").collect()}
    assert not [entry for entry in entries if entry.endswith((".jar", ".zip")) and "/python3" not in entry]


@pytest.mark.parametrize(
    ("master", "own"), [("local[4]", True), ("local-cluster[2,2,1024]", False), ("spark://host:7077", False)]
)
def test_only_workers_of_this_machine_are_forked_from_code_that_is_only_here(master: str, own: bool) -> None:
    assert ("spark.python.daemon.module" in _standalone({"spark.master": master})) is own
