"""Stored keys are found wherever they lie, by reading the parts that can hold them, and few are written often."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.config.settings import load
from jobs.lake.landing import Land
from jobs.lake.run import Run
from jobs.similarity import copy_keys

pytestmark = pytest.mark.spark
ROWS = "key bigint, clip_id string, hashes array<bigint>"
SMALL = 16  # rows of level 0 here


def lander(run: Run, folder: Path) -> Land:
    """A function that stores rows, whatever their name."""

    def land(name: str, rows: DataFrame) -> DataFrame:
        path = str(folder / f"{name}-{len(list(folder.iterdir()))}")
        rows.write.parquet(path)
        return run.spark.read.schema(rows.schema).parquet(path)

    folder.mkdir(exist_ok=True)
    return land


def found(run: Run, keys: list[int], folder: Path) -> set[tuple[int, str]]:
    """The stored rows with these keys."""
    wanted = run.spark.createDataFrame([(key,) for key in keys], "key bigint")
    rows = copy_keys.matching(run, wanted, copy_keys.size(run.tables), lander(run, folder)).collect()
    assert len(rows) == len({(row["key"], row["clip_id"]) for row in rows})
    assert all(row["hashes"] == [row["key"], None] for row in rows)
    return {(row["key"], row["clip_id"]) for row in rows}


def parts(run: Run) -> dict[int, int]:
    """The number of rows of each part."""
    return {row["part"]: row["count"] for row in run.tables.read("copy_keys").groupBy("part").count().collect()}


@pytest.fixture
def run(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run of an output without tables, whose levels are small."""
    monkeypatch.setattr(copy_keys, "LEVEL_ROWS", SMALL)
    monkeypatch.setattr(copy_keys, "WHOLE_BYTES", 0)
    return Run(spark, str(tmp_path / "output"), load([], []))


@pytest.mark.nights
def test_rows_move_up_the_levels_and_are_found_in_all_of_them(run: Run, tmp_path: Path) -> None:
    dice, stored = np.random.default_rng(1), set[tuple[int, str]]()
    for number, size in enumerate((9, 5, 300, 4, 9, 12, 7)):
        rows = [(int(key), f"clip {number}") for key in dice.integers(-(2**63), 2**63, size)]
        frame = run.spark.createDataFrame([(key, clip_id, [key, None]) for key, clip_id in rows], ROWS)
        copy_keys.add(run, frame, size)
        stored |= set(rows)
        keys = sorted(key for key, _ in stored)
        assert found(run, [keys[0], 12345, keys[-1], *keys[::7]], tmp_path / "found") == {
            row for row in stored if row[0] in (keys[0], keys[-1], *keys[::7])
        }
    of_level = [
        sum(n for part, n in parts(run).items() if first <= part < after)
        for first, after in zip(copy_keys.FIRST_PARTS[:-1], copy_keys.FIRST_PARTS[1:], strict=True)
    ]
    assert sum(of_level) == len(stored) == 346
    assert of_level[:4] == [7, 25, 0, 314]  # at most 16, 64, 256, 1024


def test_only_files_of_parts_with_such_keys_are_read(run: Run, tmp_path: Path) -> None:
    keys = [int(key) for key in np.random.default_rng(2).integers(-(2**63), 2**63, 900)]
    copy_keys.add(run, run.spark.createDataFrame([(key, "a", [key, None]) for key in keys], ROWS), len(keys))
    folder = Path(run.output, "tables", "copy_keys")
    files = sorted(folder.rglob("part=*/*.parquet"))
    assert len(files) == len(parts(run)) == 64
    assert {path.parent.name for path in files} == {f"part={21 + number}" for number in range(64)}
    for path in files:
        if path.parent.name != f"part={21 + (keys[0] % 2**64 >> 58)}":
            path.unlink()
    assert found(run, [keys[0]], tmp_path / "found") == {(keys[0], "a")}


def test_a_key_of_other_settings_is_not_found(run: Run, tmp_path: Path) -> None:
    copy_keys.add(run, run.spark.createDataFrame([(7, "a", [7, None])], ROWS), 1)
    other = Run(run.spark, run.output, load([], ["copies.max_distance=3"]))
    assert found(other, [7], tmp_path / "found") == set()
    assert found(run, [7], tmp_path / "found") == {(7, "a")}


@pytest.mark.nights
def test_each_row_is_written_a_few_times_per_level(run: Run) -> None:
    rows = run.spark.range(240).select(
        F.xxhash64("id").alias("key"), F.lit("a").alias("clip_id"), F.array("id").alias("hashes")
    )
    for number in range(24):
        copy_keys.add(run, rows.where(f"hashes[0] % 24 = {number}"), 10)
    history = run.spark.sql(f"DESCRIBE HISTORY {run.tables.sql('copy_keys')}")
    written = [int(row["operationMetrics"].get("numOutputRows", 0)) for row in history.collect()]
    assert sum(parts(run).values()) == 240
    assert sum(written) == 4 * 240  # 3,000 if all were written again each time


def test_no_keys_make_no_table(run: Run) -> None:
    copy_keys.add(run, run.spark.createDataFrame([], ROWS), 0)
    assert not run.tables.exists("copy_keys")
