"""Locality-sensitive hashing in Spark: the pairs and copies that comparing every clip with every other finds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.lake.landing import Land
from jobs.similarity import phash_lsh
from tests.test_copies import Found, Hashes, expected
from udfs.copies import Params
from udfs.similarity.buckets import STORED

pytestmark = pytest.mark.spark
EXACT = Params(max_distance=2, min_agree=2, bands=4)  # more bands than bits may differ: the join misses nothing
BASE = "clip_id string, height int, phash array<string>, old boolean"


def joined(
    spark: SparkSession, folder: Path, ranked: Sequence[Hashes], num_old: int, params: Params, seed: int, one_task: int
) -> Found:
    """What the join in Spark finds, the rows shuffled by a seed over as many partitions."""
    digits = [[f"{h:016x}" if h is not None else "8000000000000000" for h in hashes] for hashes in ranked]
    # Of two as high, the clip_id decides.
    clips = [(f"{k:03d}", -(k // 2), digits[k], k < num_old) for k in range(len(ranked))]
    np.random.default_rng(seed).shuffle(clips)
    land = stored_under(spark, folder / str(seed))
    hashes = phash_lsh.numbers(F.col("phash")).alias("hashes")
    frame = land("clips", spark.createDataFrame(spark.sparkContext.parallelize(clips, seed), BASE))
    new = frame.where("NOT old").select("clip_id", "height", hashes)
    in_order = land("in_order", phash_lsh.rank_order(new, {"height": False}))
    keys, stored = (
        phash_lsh.with_keys(some, params, 4)
        for some in (phash_lsh.firsts(in_order, params), frame.where("old").select("clip_id", hashes))
    )
    pairs = phash_lsh.agreeing(keys, stored, 1, params, 4).where("full IS NULL")
    found = phash_lsh.copy_links(in_order, pairs, params, land, one_task).collect()
    return {int(row["clip_id"]): (int(row["copy_of"]), row["num_agree"], row["distance"]) for row in found}


def stored_under(spark: SparkSession, folder: Path) -> Land:
    """A function that stores rows in this folder by a name."""

    def land(name: str, frame: DataFrame) -> DataFrame:
        frame.write.parquet(str(folder / name))
        return spark.read.parquet(str(folder / name))

    return land


def crowd(num_clips: int) -> list[Hashes]:
    """Clips of four hashes or three around a few, some the very same, some with frames that say nothing."""
    dice = np.random.default_rng(11)
    centres = dice.integers(0, 2**64, (5, 4), np.uint64)
    crowd = list[Hashes]()
    for _ in range(num_clips):
        noise = [sum(1 << int(bit) for bit in set(dice.integers(0, 64, dice.integers(0, 3)))) for _ in range(4)]
        hashes = [int(h) ^ bits for h, bits in zip(centres[dice.integers(5)], noise, strict=True)]
        crowd.append(tuple(h if dice.random() > 0.2 else None for h in hashes)[: 4 - int(dice.random() < 0.2)])
    return crowd + crowd[: num_clips // 4] + [(None,) * 4] * 3 + [()]


@pytest.mark.parametrize(
    ("one_task", "seed"),
    [(phash_lsh.ONE_TASK, 1), pytest.param(0, 5, marks=pytest.mark.nights, id="all is settled in rounds")],
)
def test_the_join_finds_what_comparing_all_finds_whatever_the_order_of_rows(
    spark: SparkSession, tmp_path: Path, one_task: int, seed: int
) -> None:
    ranked = crowd(48)
    found = expected(ranked, 8, EXACT)
    assert 20 < len(found) < 52
    assert len({earlier for earlier, _, _ in found.values()}) > 5
    assert joined(spark, tmp_path, ranked, 8, EXACT, seed, one_task) == found


def test_a_bucket_that_everybody_is_in_stays_small_and_says_so(spark: SparkSession) -> None:
    card = 0x0123456789ABCDEF
    same = [(7, k, [card, k + 1]) for k in range(12)]
    new = spark.createDataFrame(same, "key bigint, place bigint, hashes array<bigint>")
    stored = spark.createDataFrame([(7, "old", [card, 99])], "key bigint, clip_id string, hashes array<bigint>")
    params = Params(min_agree=1, max_distance=0, max_bucket=2)
    found = phash_lsh.agreeing(new, stored, 13, params, 2).collect()
    assert {(row["later"], row["earlier"], row["copy_of"]) for row in found if row["full"] is None} == {
        (0, STORED, "old"),
        *((k, *earlier) for k in range(1, 12) for earlier in ((STORED, "old"), (0, None))),
    }
    assert {(row["later"], row["full"]) for row in found if row["full"] is not None} == {(k, 7) for k in range(1, 12)}
