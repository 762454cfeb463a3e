"""Near-copies by locality-sensitive hashing: pairs of clips whose perceptual hashes share a band.

Of the pairs that agree, udfs/copies.py keeps the links to clips that are no copies themselves.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from udfs import copies
from udfs.copies import Params

HASH_BITS = 64
ALL_BUT_FIRST = 2**63 - 1  # a frame of one shade has no bit but the first: its hash says nothing
PAIR = "later bigint, earlier bigint, num_agree int, distance double"  # udfs.copies.Pair


def numbers(phash: Column) -> Column:
    """Hashes of 16 hex digits as signed 64-bit numbers.

    NULL for one that says nothing, so that it agrees with none.
    """
    signed = F.transform(phash, lambda digits: F.conv(digits, 16, -10).cast("bigint"))  # -10: decimal, with a sign
    return F.transform(signed, lambda number: F.when(number.bitwiseAND(F.lit(ALL_BUT_FIRST)) != 0, number))


def rank_order(clips: DataFrame, rank: dict[str, bool]) -> DataFrame:
    """Clips (clip_id, new, hashes, ranking columns) with their `place` in rank order.

    Clips that are not new come first. `first` is the place of the first clip with the very same
    hashes. Places rise with gaps, and Spark may count others when it counts again: the rows must be
    stored before they are used.
    """
    by = [F.col(name).asc_nulls_last() if rises else F.col(name).desc_nulls_last() for name, rises in rank.items()]
    in_order = clips.orderBy("new", *by, "clip_id").withColumn("place", F.monotonically_increasing_id())
    first = F.min("place").over(Window.partitionBy("hashes"))
    return in_order.select("place", first.alias("first"), "clip_id", "new", "hashes")


def copy_links(clips: DataFrame, params: Params) -> DataFrame:
    """The new clips that are copies of an earlier one: clip_id, copy_of, num_agree, distance.

    `clips` are rows of `rank_order`. A clip with the very same hashes as another is linked as the
    first of them is, so that many of them cost as much as one.
    """
    num_hashes = F.size(F.filter("hashes", lambda number: number.isNotNull()))
    comparable = clips.where(num_hashes >= params.min_agree)
    firsts = comparable.where(F.col("place") == F.col("first"))
    links = _links(pairs(firsts, params)).withColumnRenamed("later", "first")
    earlier = comparable.select(F.col("place").alias("earlier"), F.col("clip_id").alias("copy_of"))
    new = comparable.where("new").join(links, on="first", how="left")
    return (
        new.withColumn("earlier", F.coalesce("earlier", "first"))
        .where(F.col("earlier") != F.col("place"))
        .join(earlier, on="earlier", how="inner")
        .select(
            "clip_id",
            "copy_of",
            F.coalesce("num_agree", num_hashes).alias("num_agree"),
            F.coalesce("distance", F.lit(0.0)),
        )
        .toDF("clip_id", "copy_of", "num_agree", "distance")
    )


def pairs(firsts: DataFrame, params: Params) -> DataFrame:
    """Pairs of a new clip and an earlier one of which enough frames agree: columns of PAIR.

    Pairs without a common band are missed.
    """
    hashes = firsts.select("place", "hashes")
    later, earlier = (hashes.toDF(side, f"{side}_hashes") for side in ("later", "earlier"))
    # NULL where one of both has no hash.
    distances = F.zip_with("later_hashes", "earlier_hashes", lambda a, b: F.bit_count(a.bitwiseXOR(b)))
    near = F.filter(distances, lambda bits: bits <= params.max_distance)
    total = F.aggregate("near", F.lit(0), lambda bits, more: bits + more)
    candidates = _candidates(firsts, params).join(later, on="later", how="inner")
    both = candidates.join(earlier, on="earlier", how="inner")
    agree = both.select("later", "earlier", near.alias("near")).withColumn("num_agree", F.size("near"))
    return agree.where(F.col("num_agree") >= params.min_agree).select(
        "later", "earlier", "num_agree", (total / F.col("num_agree")).alias("distance")
    )


def _candidates(firsts: DataFrame, params: Params) -> DataFrame:
    """Pairs with a frame that agrees and has an equal band.

    In each bucket, all clips are compared with the first `max_bucket` ones only.
    """
    bands = _bands(firsts, params.bands)
    number = F.row_number().over(Window.partitionBy("bucket").orderBy("place"))
    first = bands.withColumn("number", number).where(F.col("number") <= params.max_bucket)
    candidates = first.select("bucket", F.col("place").alias("earlier"), F.col("hash").alias("earlier_hash"))
    # Spark estimates by the size of the file and not of its bands, and would broadcast all of them.
    both = bands.where("new").join(candidates.hint("merge"), on="bucket", how="inner")
    distance = F.bit_count(F.col("hash").bitwiseXOR(F.col("earlier_hash")))
    near = (distance <= params.max_distance) & (F.col("earlier") < F.col("place"))
    return both.where(near).select(F.col("place").alias("later"), "earlier").distinct()


def _bands(firsts: DataFrame, num_bands: int) -> DataFrame:
    """One row per band of a frame.

    The high bits of `bucket` are the number of the frame and band, the low bits those of the band.
    """
    frames = firsts.select("place", "new", F.posexplode("hashes").alias("frame", "hash"))
    ends = [HASH_BITS * i // num_bands for i in range(num_bands + 1)]
    buckets = []
    for i in range(num_bands):
        bits = F.shiftrightunsigned("hash", ends[i]).bitwiseAND(F.lit(2 ** (ends[i + 1] - ends[i]) - 1))
        buckets.append(F.shiftleft(F.col("frame").cast("bigint") * num_bands + i, HASH_BITS // 2).bitwiseOR(bits))
    bucket = F.explode(F.array(*buckets)).alias("bucket")
    return frames.where(F.col("hash").isNotNull()).select("place", "new", "hash", bucket)


def _links(pairs: DataFrame) -> DataFrame:
    """The pairs that drop a clip.

    One task sees all pairs in rank order, since a clip is kept or not by which were kept before it.
    """
    best = ("later", F.desc("num_agree"), "distance", "earlier")
    return pairs.repartition(1).sortWithinPartitions(*best).mapInPandas(copies.rows, PAIR)
