"""The keys of kept clips, stored so that those of a few new clips are found by reading little.

Keys lie in levels, each of which holds four times the rows of the one below. New rows are appended
to level 0. When it is full, it is merged with as many of the next levels as it takes to find room,
in one commit (a log-structured merge tree: O'Neil et al., 1996). A row is so written a few times
per level, and there are as many levels as the logarithm of the rows. Level l has 4^l parts by the
first 2 l bits of the key, each a partition of the table, so that a key lies in one part per level.
"""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.flow import conditions, score_gates
from jobs.flow.gates import gated
from jobs.lake import lookup
from jobs.lake.landing import Land, landed
from jobs.lake.run import Run, without_superseded
from jobs.lake.tables import Tables
from jobs.similarity import copy_groups, phash_lsh
from jobs.spark import session
from schemas import TABLES
from udfs.filter import where_gate

KEY_BITS, LEVEL_BITS = 64, 2
LEVEL_ROWS = 1 << 16  # that level 0 holds
LAST_LEVEL = 9  # holds any number; a billion clips have 30 billion keys
FIRST_PARTS = [0, *accumulate(1 << LEVEL_BITS * level for level in range(LAST_LEVEL + 1))]  # of each level; the end
MOST_PARTS = 1 << 14  # in a query
TASK_ROWS = 1 << 19  # of keys to sort and write
WHOLE_BYTES = 8 << 20  # of a small table
BROADCAST_ROWS = 1 << 22  # keys that every executor holds, in some 200 MB


class Size(NamedTuple):
    """How many files and bytes the table has."""

    num_files: int
    num_bytes: int

    @property
    def is_small(self) -> bool:
        """Whether the table is read whole, without a look at which parts have a key."""
        return self.num_bytes <= WHOLE_BYTES

    @property
    def num_levels(self) -> int:
        """How many levels there can be: each part of a level has a file, since keys are spread evenly."""
        return sum(1 << LEVEL_BITS * level <= 2 * self.num_files for level in range(LAST_LEVEL + 1))


def size(tables: Tables) -> Size:
    """The size of the table."""
    if not tables.exists("copy_keys"):
        return Size(0, 0)
    detail = DeltaTable.forName(tables.spark, tables.sql("copy_keys")).detail()
    return Size(*detail.select("numFiles", "sizeInBytes").collect()[0])


def fill(run: Run, land: Land) -> None:
    """Store the keys of clips that were kept before this table was there, if none are stored.

    A run looks at that once.
    """
    if run.tables.keys_filled:
        return
    if run.tables.exists("copies") and not _rows(run).take(1) and not run.made("copies").isEmpty():
        _fill(run, land)
    run.tables.keys_filled = True


def _fill(run: Run, land: Land) -> None:
    params, number = run.settings.copies, F.row_number().over(Window.partitionBy("key").orderBy("clip_id"))
    kept = copy_groups.with_copies(run).where(~F.col("new") & F.col("copy_of").isNull())
    hashes = phash_lsh.numbers(F.col("phash")).alias("hashes")
    with session.compiled(run.spark, run.last.num_verdicts):
        clips = phash_lsh.comparable(land("kept", kept.select("clip_id", hashes)), params)
        keys = phash_lsh.with_keys(clips, params, run.settings.phash.num_frames)
        some = keys.withColumn("number", number).where(F.col("number") <= params.max_bucket)
        first, num = landed(land, "first-keys", some.drop("number"), rows=F.count("*"))
        add(run, first, num["rows"])


def matching(run: Run, keys: DataFrame, size: Size, land: Land) -> DataFrame:
    """The stored rows (key, clip_id, hashes) with one of these keys, from a table of this size.

    Of a large one, first the keys alone are read, of the parts in which these keys lie, and then all
    columns of the parts that have some of them.
    """
    wanted = keys.select("key").distinct()
    if size.is_small:
        return _rows(run).join(wanted, on="key", how="left_semi")
    wanted, num = landed(land, "wanted", wanted, rows=F.count("*"))
    if num["rows"] <= BROADCAST_ROWS:
        wanted = F.broadcast(wanted)
    levels = range(size.num_levels)
    parts = wanted.select(F.explode(F.array(*map(_part, levels))).alias("part"))
    there = _in_parts(_rows(run), parts).select("part", "key").join(wanted, on="key", how="left_semi")
    found = land("found", there.distinct())
    return _in_parts(_rows(run), found).join(found.select("key"), on="key", how="left_semi")


def with_kept(run: Run, pairs: DataFrame) -> DataFrame:
    """The pairs of clips of which the earlier is new or, by `copy_of`, still kept.

    It is no longer kept once it is gone, was made by other settings, or fails a gate, that of
    `filter.where` and those on what models found included. Only the rows of these clips are looked up.
    """
    is_stored = F.col("copy_of").isNotNull()
    ids = pairs.where(is_stored).select(F.col("copy_of").alias("clip_id")).distinct()
    made = (run.made("copies"), run.made("clips"), run.made("signals"), run.made("spans"))
    copies, every, signals, spans = lookup.of_clips(run, ids, *made)
    spans = without_superseded(spans, run.tables.read("videos"))
    clips = gated(every, signals, run.settings).join(spans, on="clip_id", how="left_semi")
    if where_gate(run.settings.filter):
        accepted = conditions.accepted(run, every).where("accepted")
        clips = clips.join(accepted, on="clip_id", how="left_semi")
    if (failing := score_gates.failing_verdicts(run, ids)) is not None:
        clips = clips.join(failing, on="clip_id", how="left_anti")
    kept = clips.join(copies.where(F.col("copy_of").isNull()), on="clip_id", how="left_semi")
    of_kept = pairs.where(is_stored).join(kept.select(F.col("clip_id").alias("copy_of")), on="copy_of", how="left_semi")
    return pairs.where(~is_stored).unionByName(of_kept)


def add(run: Run, keys: DataFrame, num_rows: int) -> None:
    """Store the keys of kept clips: rows of key, clip_id and hashes, `num_rows` at most."""
    if not num_rows:
        return
    level, num_rows = _level(run.tables, num_rows)
    run.tables.make("copy_keys")
    stamp = {"fingerprint": F.lit(run.fingerprint("copies")), "run_id": F.lit(run.run_id)}
    new = keys.select("key", "clip_id", "hashes").withColumns(stamp)
    if level == 0:
        run.tables.add("copy_keys", _laid_out(new, level, num_rows))
        return
    is_merged = F.col("part") < FIRST_PARTS[level + 1]
    rows = run.tables.read("copy_keys").where(is_merged).drop("part").unionByName(new)
    _laid_out(rows, level, num_rows).writeTo(run.tables.sql("copy_keys")).overwrite(is_merged)


def _rows(run: Run) -> DataFrame:
    """The rows that these settings made."""
    return run.tables.read("copy_keys").where(F.col("fingerprint") == run.fingerprint("copies"))


def _in_parts(rows: DataFrame, parts: DataFrame) -> DataFrame:
    """The rows of the parts (`part`); all rows if that are too many for a query."""
    listed = [row["part"] for row in parts.select("part").distinct().limit(MOST_PARTS + 1).collect()]
    if len(listed) > MOST_PARTS:
        return rows
    return rows.where(f"part IN ({', '.join(map(str, listed))})" if listed else "false")


def _level(tables: Tables, num_rows: int) -> tuple[int, int]:
    """The first level with room for these rows and those of the levels below, and how many that are."""
    is_there = tables.exists("copy_keys")
    for level in range(LAST_LEVEL + 1):
        parts = F.col("part").between(FIRST_PARTS[level], FIRST_PARTS[level + 1] - 1)
        num_rows += tables.read("copy_keys").where(parts).count() if is_there else 0
        if num_rows <= LEVEL_ROWS << LEVEL_BITS * level:
            return level, num_rows
    return LAST_LEVEL, num_rows


def _laid_out(rows: DataFrame, level: int, num_rows: int) -> DataFrame:
    """The rows as a level has them: a file per part, sorted by key."""
    tasks = min(1 << LEVEL_BITS * level, 1 + num_rows // TASK_ROWS)
    placed = rows.withColumn("part", _part(level))
    by_part = placed.repartitionByRange(tasks, "part") if tasks > 1 else placed.coalesce(1)
    return by_part.sortWithinPartitions("part", "key").select(*TABLES["copy_keys"].schema.names)


def _part(level: int) -> Column:
    """The part of a level in which a key lies."""
    if level == 0:
        return F.lit(FIRST_PARTS[0])
    return F.shiftrightunsigned("key", KEY_BITS - LEVEL_BITS * level).cast("int") + FIRST_PARTS[level]
