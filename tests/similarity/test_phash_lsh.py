"""Locality-sensitive hashing in Spark: the pairs and copies that comparing every clip with every other finds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.similarity import phash_lsh
from tests.test_copies import Found, Hashes, expected
from udfs.copies import Params

pytestmark = pytest.mark.spark
EXACT = Params(max_distance=2, min_agree=2, bands=4)  # more bands than bits may differ: the join misses nothing
BASE = "clip_id string, height int, phash array<string>, new boolean"


def joined(
    spark: SparkSession, folder: Path, ranked: Sequence[Hashes], num_old: int, params: Params, seed: int
) -> Found:
    """What the join in Spark finds, the rows shuffled by a seed over as many partitions."""
    digits = [[f"{h:016x}" if h is not None else "8000000000000000" for h in hashes] for hashes in ranked]
    # Of two as high, the clip_id decides.
    clips = [(f"{k:03d}", -(k // 2), digits[k], k >= num_old) for k in range(len(ranked))]
    np.random.default_rng(seed).shuffle(clips)
    hashes = phash_lsh.numbers(F.col("phash")).alias("hashes")
    frame = spark.createDataFrame(spark.sparkContext.parallelize(clips, seed), BASE).select(
        "clip_id", "height", "new", hashes
    )
    phash_lsh.rank_order(frame, {"height": False}).write.parquet(str(folder / str(seed)))
    found = phash_lsh.copy_links(spark.read.parquet(str(folder / str(seed))), params).collect()
    return {int(row["clip_id"]): (int(row["copy_of"]), row["num_agree"], row["distance"]) for row in found}


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


def test_the_join_finds_what_comparing_all_finds_whatever_the_order_of_rows(
    spark: SparkSession, tmp_path: Path
) -> None:
    ranked = crowd(48)
    found = expected(ranked, 8, EXACT)
    assert 20 < len(found) < 52
    assert len({earlier for earlier, _, _ in found.values()}) > 5
    assert joined(spark, tmp_path, ranked, 8, EXACT, seed=1) == found
    assert joined(spark, tmp_path, ranked, 8, EXACT, seed=5) == found


def test_a_bucket_that_everybody_is_in_stays_small(spark: SparkSession) -> None:
    card = 0x0123456789ABCDEF
    same = spark.createDataFrame([(k, [card, k + 1]) for k in range(12)], "place bigint, hashes array<bigint>")
    params = Params(min_agree=1, max_distance=0, max_bucket=2)
    found = phash_lsh.pairs(same.withColumn("new", F.lit(True)), params).collect()
    assert {(row["later"], row["earlier"]) for row in found} == {
        (1, 0),
        *((k, earlier) for k in range(2, 12) for earlier in (0, 1)),
    }


def test_hashes_are_signed_numbers_and_one_shade_is_none(spark: SparkSession) -> None:
    digits = ["0000000000000001", "7fffffffffffffff", "ffffffffffffffff", "8000000000000000", "0000000000000000"]
    frame = spark.createDataFrame([(digits,)], "phash array<string>")
    [row] = frame.select(phash_lsh.numbers(F.col("phash")).alias("hashes")).collect()
    assert row["hashes"] == [1, 2**63 - 1, -1, None, None]
