"""Hashes of clips in rank order -> the clips that agree with a kept earlier one, found by bands of equal bits."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from udfs import copies
from udfs.copies import Params

HASH_BITS = 64
ALL_BUT_FIRST = 2**63 - 1  # a frame of one shade has no bit but the first: its hash says nothing
PAIR = "later bigint, earlier bigint, num_agree int, distance double"  # udfs.copies.Pair


def numbers(phash: Column) -> Column:
    """Hashes of 16 hex digits as signed 64-bit numbers; NULL for one that says nothing, which agrees with none."""
    signed = F.transform(phash, lambda digits: F.conv(digits, 16, -10).cast("bigint"))  # -10: decimal, with a sign
    return F.transform(signed, lambda number: F.when(number.bitwiseAND(F.lit(ALL_BUT_FIRST)) != 0, number))


def ranked(clips: DataFrame, rank: dict[str, bool]) -> DataFrame:
    """Clips (clip_id, new, hashes, ranking columns) with their `place` in rank order, all that are not new first.

    `first` is the place of the first clip with the very same hashes. Places rise with gaps, and Spark may count others when it
    counts again: the rows must be stored before they are used.
    """
    by = [F.col(name).asc_nulls_last() if rises else F.col(name).desc_nulls_last() for name, rises in rank.items()]
    placed = clips.orderBy("new", *by, "clip_id").withColumn("place", F.monotonically_increasing_id())
    first = F.min("place").over(Window.partitionBy("hashes"))
    return placed.select("place", first.alias("first"), "clip_id", "new", "hashes")


def stand_ins(ranked: DataFrame, params: Params) -> DataFrame:
    """The new clips that are copies of an earlier one: clip_id, copy_of, num_agree, distance.

    A clip with the very same hashes as another goes where the first of them goes, so that many cost as much as one.
    """
    telling = F.size(F.filter("hashes", lambda number: number.isNotNull()))
    comparable = ranked.where(telling >= params.min_agree)
    firsts = comparable.where(F.col("place") == F.col("first"))
    settled = _settled(agreeing(firsts, params)).withColumnRenamed("later", "first")
    stands = comparable.select(F.col("place").alias("earlier"), F.col("clip_id").alias("copy_of"))
    led = comparable.where("new").join(settled, on="first", how="left")
    return (
        led.withColumn("earlier", F.coalesce("earlier", "first"))
        .where(F.col("earlier") != F.col("place"))
        .join(stands, on="earlier", how="inner")
        .select(
            "clip_id",
            "copy_of",
            F.coalesce("num_agree", telling).alias("num_agree"),
            F.coalesce("distance", F.lit(0.0)),
        )
        .toDF("clip_id", "copy_of", "num_agree", "distance")
    )


def agreeing(firsts: DataFrame, params: Params) -> DataFrame:
    """Every pair of a new clip and an earlier one that enough frames of agree, as far as the bands find it: columns of PAIR."""
    signature = firsts.select("place", "hashes")
    later, earlier = (signature.toDF(side, f"{side}_hashes") for side in ("later", "earlier"))
    apart = F.zip_with(
        "later_hashes", "earlier_hashes", lambda a, b: F.bit_count(a.bitwiseXOR(b))
    )  # NULL where one has none
    near = F.filter(apart, lambda bits: bits <= params.max_distance)
    total = F.aggregate("near", F.lit(0), lambda bits, more: bits + more)
    found = _candidates(firsts, params).join(later, on="later", how="inner").join(earlier, on="earlier", how="inner")
    agree = found.select("later", "earlier", near.alias("near")).withColumn("num_agree", F.size("near"))
    return agree.where(F.col("num_agree") >= params.min_agree).select(
        "later", "earlier", "num_agree", (total / F.col("num_agree")).alias("distance")
    )


def _candidates(firsts: DataFrame, params: Params) -> DataFrame:
    """Pairs with a frame that agrees and has an equal band; of each bucket the first max_bucket clips are compared with all."""
    banded = _banded(firsts, params.bands)
    turn = F.row_number().over(Window.partitionBy("bucket").orderBy("place"))
    first = banded.withColumn("turn", turn).where(F.col("turn") <= params.max_bucket)
    candidates = first.select("bucket", F.col("place").alias("earlier"), F.col("hash").alias("earlier_hash"))
    # Spark thinks of a file's size and not of its bands, and would send all of them to every executor.
    pairs = banded.where("new").join(candidates.hint("merge"), on="bucket", how="inner")
    apart = F.bit_count(F.col("hash").bitwiseXOR(F.col("earlier_hash")))
    near = (apart <= params.max_distance) & (F.col("earlier") < F.col("place"))
    return pairs.where(near).select(F.col("place").alias("later"), "earlier").distinct()


def _banded(firsts: DataFrame, bands: int) -> DataFrame:
    """A row a band of a frame: `bucket` holds the number of the frame and band above, the band's bits below."""
    frames = firsts.select("place", "new", F.posexplode("hashes").alias("frame", "hash")).where(
        F.col("hash").isNotNull()
    )
    ends = [HASH_BITS * i // bands for i in range(bands + 1)]
    buckets = []
    for i in range(bands):
        bits = F.shiftrightunsigned("hash", ends[i]).bitwiseAND(F.lit(2 ** (ends[i + 1] - ends[i]) - 1))
        buckets.append(F.shiftleft(F.col("frame").cast("bigint") * bands + i, HASH_BITS // 2).bitwiseOR(bits))
    return frames.select("place", "new", "hash", F.explode(F.array(*buckets)).alias("bucket"))


def _settled(pairs: DataFrame) -> DataFrame:
    """The pairs that drop a clip. One task sees them all in rank order: who is kept hangs on who was kept before."""
    best = ("later", F.desc("num_agree"), "distance", "earlier")
    return pairs.repartition(1).sortWithinPartitions(*best).mapInPandas(copies.rows, PAIR)
