"""Near-copies by locality-sensitive hashing: pairs of clips whose perceptual hashes share a key.

Of the pairs that agree, udfs/copies.py keeps the links to clips that are no copies themselves.
"""

from __future__ import annotations

from functools import partial, reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from jobs.lake.landing import Land, landed
from udfs import copies
from udfs.copies import Params
from udfs.similarity import buckets, hash_keys
from udfs.similarity.hash_keys import Key

HASH_BITS = hash_keys.HASH_BITS
ALL_BUT_FIRST = 2**63 - 1  # a frame of one shade has no bit but the first: its hash says nothing
PAIR = "later bigint, earlier bigint, num_agree int, distance double, copy_of string"  # udfs.copies.Pair
LINK = "clip_id string, copy_of string, num_agree int, distance double"
TASK_ROWS = 1 << 20  # rows of keys that one task holds in memory
ONE_TASK = 1 << 21  # pairs that one task settles


def numbers(phash: Column) -> Column:
    """Hashes of 16 hex digits as signed 64-bit numbers.

    NULL for one that says nothing, so that it agrees with none.
    """
    signed = F.transform(phash, lambda digits: F.conv(digits, 16, -10).cast("bigint"))  # -10: decimal, with a sign
    return F.transform(signed, lambda number: F.when(number.bitwiseAND(F.lit(ALL_BUT_FIRST)) != 0, number))


def rank_order(clips: DataFrame, rank: dict[str, bool]) -> DataFrame:
    """New clips (clip_id, hashes, ranking columns) with their `place` in rank order.

    `first` is the place of the first clip with the very same hashes. Places rise with gaps, and
    Spark may count others when it counts again: the rows must be stored before they are used.
    """
    by = [F.col(name).asc_nulls_last() if rises else F.col(name).desc_nulls_last() for name, rises in rank.items()]
    in_order = clips.orderBy(*by, "clip_id").withColumn("place", F.monotonically_increasing_id())
    first = F.min("place").over(Window.partitionBy("hashes"))
    return in_order.select("place", first.alias("first"), "clip_id", "hashes")


def firsts(clips: DataFrame, params: Params) -> DataFrame:
    """The clips of `rank_order` to compare: the first of those with the same hashes, if these say enough."""
    return clips.where(is_first(params))


def is_first(params: Params) -> Column:
    """Whether a clip of `rank_order` is one of the `firsts`."""
    return _is_comparable(params) & (F.col("place") == F.col("first"))


def comparable(clips: DataFrame, params: Params) -> DataFrame:
    """The clips of which enough hashes say something to agree with others."""
    return clips.where(_is_comparable(params))


def with_keys(clips: DataFrame, params: Params, num_frames: int) -> DataFrame:
    """One row per key of each clip, with the columns of the clip and `key`."""
    every = hash_keys.keys(num_frames, params.min_agree, params.bands)
    of_all = "xxhash64(-1, hashes)"  # so that a copy of the very same hashes shares a bucket with few others
    keys = ", ".join([of_all, *(_key_sql(number, key) for number, key in enumerate(every))])
    return clips.select("*", F.explode(F.expr(f"array_compact(array({keys}))")).alias("key"))


def num_keys(params: Params, num_frames: int) -> int:
    """How many keys a clip has at most."""
    return 1 + len(hash_keys.keys(num_frames, params.min_agree, params.bands))


def agreeing(new: DataFrame, stored: DataFrame | None, num_rows: int, params: Params, num_frames: int) -> DataFrame:
    """`buckets.ROWS` of new clips (key, place, hashes) and stored ones (key, clip_id, hashes), `num_rows` in all.

    Pairs without a common key are missed. A pair may come several times.
    """
    frames = F.sequence(F.lit(0), F.lit(num_frames - 1))
    hashes = F.transform(frames, lambda i: F.coalesce(F.get("hashes", i), F.lit(0))).alias("hashes")
    rows = new.select("key", "place", F.lit(None).cast("string").alias("clip_id"), hashes)
    if stored is not None:
        place = F.lit(buckets.STORED).cast("bigint").alias("place")
        rows = rows.unionByName(stored.select("key", place, "clip_id", hashes))
    by_key = rows.repartition(1 + num_rows // TASK_ROWS, "key")
    limits = buckets.Limits(params.max_distance, params.min_agree, params.max_bucket)
    return by_key.mapInArrow(partial(buckets.rows, limits=limits), from_arrow_schema(buckets.ROWS))


def copy_links(clips: DataFrame, pairs: DataFrame, params: Params, land: Land, one_task: int = ONE_TASK) -> DataFrame:
    """The clips of `rank_order` that are copies of an earlier one: clip_id, copy_of, num_agree, distance.

    `pairs` are those of `agreeing` between `firsts`. A clip with the very same hashes as another is
    linked as the first of them is, so that many of them cost as much as one. More pairs than
    `one_task` are settled in rounds.
    """
    every = comparable(clips, params)
    links = _links(pairs, land, one_task).withColumnRenamed("later", "first")
    earlier = every.select(F.col("place").alias("earlier"), F.col("clip_id").alias("new_copy_of"))
    return (
        every.join(links, on="first", how="left")
        .withColumn("earlier", F.coalesce("earlier", "first"))
        .where(F.col("earlier") != F.col("place"))
        .join(earlier, on="earlier", how="left")
        .select(
            "clip_id",
            F.coalesce("copy_of", "new_copy_of").alias("copy_of"),
            F.coalesce("num_agree", _num_hashes()).alias("num_agree"),
            F.coalesce("distance", F.lit(0.0)).alias("distance"),
        )
    )


def _is_comparable(params: Params) -> Column:
    return _num_hashes() >= params.min_agree


def _num_hashes() -> Column:
    return F.size(F.filter("hashes", lambda number: number.isNotNull()))


def _key_sql(number: int, key: Key) -> str:
    """The hash of a key's bits; NULL where a frame says nothing. A dozen columns made one by one took 0.1 s."""
    one, other = (f"get(hashes, {part.frame}) & {part.mask}L" for part in key)
    return f"CASE WHEN ({one}) IS NOT NULL AND ({other}) IS NOT NULL THEN xxhash64({number}, {one}, {other}) END"


def _links(pairs: DataFrame, land: Land, one_task: int) -> DataFrame:
    """The pairs that drop a clip: columns of PAIR.

    Whether a clip is kept depends on which were kept before it, so that one task sees the pairs in
    rank order. Of too many pairs, most are settled before that.
    """
    rank = F.struct(
        (-F.col("num_agree")).alias("minus_agree"), "distance", (~F.col("same")).alias("differs"), "earlier", "copy_of"
    )
    ranked = pairs.select("later", "earlier", rank.alias("rank"))  # the least rank is the best
    is_stored = F.col("earlier") == buckets.STORED
    of_stored = ranked.where(is_stored).groupBy("later", "earlier").agg(F.min("rank").alias("rank"))
    of_new = ranked.where(~is_stored).dropDuplicates(["later", "earlier"])
    every, num = landed(land, "ranked-pairs", of_new.unionByName(of_stored), rows=F.count("*"))
    left, rounds = every, list[DataFrame]()
    while num["rows"] > one_task:
        rounds.append(land(f"dropped-{len(rounds)}", _dropped_at_once(left)))
        undecided = _without(_without(left, "later", rounds[-1]), "earlier", rounds[-1])
        left, num = landed(land, f"left-{len(rounds)}", undecided, rows=F.count("*"))
    settled = _pairs(left.repartition(1).sortWithinPartitions("later", "rank")).mapInPandas(copies.rows, PAIR)
    if not rounds:
        return settled
    dropped = reduce(DataFrame.unionByName, rounds, land("settled", settled).select("later"))
    with_kept = _without(every, "earlier", dropped).join(dropped, on="later", how="left_semi")
    return _pairs(with_kept.groupBy("later").agg(F.min("rank").alias("rank")))


def _pairs(ranked: DataFrame) -> DataFrame:
    """Columns of PAIR, from `later` and `rank`."""
    num_agree = (-F.col("rank.minus_agree")).alias("num_agree")
    return ranked.select("later", "rank.earlier", num_agree, "rank.distance", "rank.copy_of")


def _dropped_at_once(pairs: DataFrame) -> DataFrame:
    """The clips (later) that agree with one that agrees with none before it, and so is kept."""
    kept = pairs.select("earlier").join(pairs.select(F.col("later").alias("earlier")), on="earlier", how="left_anti")
    return pairs.join(kept, on="earlier", how="left_semi").select("later").distinct()


def _without(pairs: DataFrame, column: str, dropped: DataFrame) -> DataFrame:
    return pairs.join(dropped.select(F.col("later").alias(column)), on=column, how="left_anti")
