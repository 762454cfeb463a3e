"""Near-copies by hashes at scale: recall and cost as a library grows, and what follows for a billion clips.

The first test measures keys on real footage, that of bench_copies.py: how often re-encoded copies
share one, and how often clips that are no copies do. The pieces for the latter are the frames, and
parts of them cut out at random, so that few videos give many pictures. From both it computes recall
and the size of buckets in a library of a billion clips.

The second fills libraries of $REELMILL_COPIES_SIZES generated clips (default 100000 and 1000000)
through the job and its tables, with planted copies whose hashes differ as those of real copies did,
and then lets NEW clips arrive, half of them copies.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import imagehash
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import copies
from jobs.config.settings import load
from jobs.lake.run import Run
from jobs.similarity.phash_lsh import ALL_BUT_FIRST
from jobs.spark.session import connect
from tests.bench.bench_copies import REENCODED, VARIANTS, first_frames, videos, write_variant
from udfs.copies import Params
from udfs.core.limits import Limits
from udfs.frames.sampler import luma
from udfs.frames.timestamps import middles
from udfs.signals.phash import dct_hash
from udfs.similarity.hash_keys import Key, keys
from udfs.video import container, rescale

CORES = 2
NUM_FRAMES, CLIP_S = 4, 2.0
PARAMS = Params()
KEYS = keys(NUM_FRAMES, PARAMS.min_agree, PARAMS.bands)
BILLION = 1_000_000_000
STILL = 0.2  # share of the clips in which nothing moves, in the computation and among the generated
RECALL = 0.99  # at least, of copies that agree by the rule
SIZES = [int(size) for size in os.environ.get("REELMILL_COPIES_SIZES", "100000,1000000").split(",")]
NEW, NEW_S = 100, 60  # clips that arrive, and the most seconds that they may take
FEW_RECALL = 0.96  # of their copies: one of fifty may be missed
FILL_S = 1800  # at most
PLANTED = 0.05  # of the clips
# How many bits of a frame differ in real copies by the kinds of bench_copies.py, and how often
# (2026-11-28, ten videos): always an even number, since half of the bits of a hash are set.
APART = {0: 0.60, 2: 0.32, 4: 0.08}

Words = npt.NDArray[np.uint64]
Footage = tuple[npt.NDArray[np.float64], Words]  # times and hashes of frames


class Line(NamedTuple):
    """A line of the table: what was measured, beside the goal."""

    what: str
    goal: str
    measured: float
    is_met: bool

    def __str__(self) -> str:
        verdict = "met" if self.is_met else "NOT MET"
        return f"{self.what:66}{self.goal:>12}{self.measured:>12.4g}   {verdict}"


def at_least(what: str, goal: float, measured: float) -> Line:
    """A line whose goal is a least value."""
    return Line(what, f">= {goal:g}", measured, measured >= goal)


def at_most(what: str, goal: float, measured: float) -> Line:
    """A line whose goal is a greatest value."""
    return Line(what, f"<= {goal:g}", measured, measured <= goal)


def footage_hashes(path: Path) -> Footage:
    """The times and hashes of all frames."""
    scaler = rescale.Scaler()
    with container.open_video(str(path), Limits()) as video:
        rows = [(at_s, int(dct_hash(frame, scaler), 16)) for at_s, frame in first_frames(video)]
    return np.array([at_s for at_s, _ in rows]), np.array([number for _, number in rows], np.uint64)


def clip_hashes(times: npt.NDArray[np.float64], hashes: Words, num_clips: int) -> Words:
    """The hashes of clips of CLIP_S seconds that begin every half second: clips x frames."""
    middle = np.array([float(at_s) for at_s in middles(CLIP_S, NUM_FRAMES)])
    at = np.arange(num_clips)[:, None] * 0.5 + middle
    found: Words = hashes[np.searchsorted(times, at, side="right").clip(1) - 1]
    return found


def share_a_key(one: Words, other: Words) -> npt.NDArray[np.bool_]:
    """Whether clips (rows x frames) share one of the KEYS."""
    apart = one ^ other
    shared: npt.NDArray[np.bool_] = np.any([(masked(apart, key) == 0).all(axis=0) for key in KEYS], axis=0)
    return shared


def masked(hashes: Words, key: Key) -> Words:
    """The bits of the two frames of a key."""
    return np.stack([hashes[:, part.frame] & np.uint64(part.mask % 2**64) for part in key])


def pieces(path: Path, dice: np.random.Generator) -> Iterator[int]:
    """Hashes of parts of every 12th frame, cut out at random places in random sizes."""
    scaler = rescale.Scaler()
    with container.open_video(str(path), Limits()) as video:
        for number, (_, frame) in enumerate(first_frames(video)):
            picture = luma(frame, scaler)
            for _ in range(40 if number % 12 == 0 else 0):
                height, width = (max(48, int(side * dice.uniform(0.25, 1))) for side in picture.shape)
                top, left = (
                    int(dice.integers(0, max(1, side))) for side in np.subtract(picture.shape, (height, width))
                )
                cut = np.ascontiguousarray(picture[top : top + height, left : left + width])
                yield int(str(imagehash.phash(Image.fromarray(cut))), 16)


def chance(hashes: Words, video: npt.NDArray[np.int64], mask: int) -> float:
    """The chance that these bits of the hashes of two different videos are equal, where the hashes do not agree."""
    bits = hashes & np.uint64(mask % 2**64)
    order = np.argsort(bits, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(bits[order]) != 0) + 1)
    apart = 0
    for group in groups:
        one, other = (group[i] for i in np.triu_indices(len(group), 1))
        differ = np.bitwise_count(hashes[one] ^ hashes[other]) > PARAMS.max_distance
        apart += int((differ & (video[one] != video[other])).sum())
    _, sizes = np.unique(video, return_counts=True)
    return 2 * apart / float(len(hashes) ** 2 - (sizes**2).sum())


def report(title: str, lines: Sequence[Line]) -> None:
    """Print a table, and fail if a goal is missed."""
    print(f"\n{title}\n{'':66}{'goal':>12}{'measured':>12}")
    for line in lines:
        print(line)
    assert all(line.is_met for line in lines)


def recall_lines(originals: dict[Path, Footage], folder: Path) -> Iterator[Line]:
    """Of each kind of copy, the share of those that agree by the rule that share a key."""
    for kind in (*REENCODED, "cropped by 5 %"):
        found = list[npt.NDArray[np.bool_]]()
        for number, (path, original) in enumerate(originals.items()):
            copy = footage_hashes(write_variant(path, VARIANTS[kind], folder / f"{number}.mp4"))
            num_clips = int(2 * (original[0][-1] - CLIP_S)) + 1
            one, other = (clip_hashes(*footage, num_clips) for footage in (original, copy))
            near = np.bitwise_count(one ^ other) <= PARAMS.max_distance
            is_copy = near.sum(axis=1) >= PARAMS.min_agree
            found.append(share_a_key(one[is_copy], other[is_copy]))
        if len(every := np.concatenate(found)):
            yield at_least(f"recall of {len(every)} copies, {kind}", RECALL if kind in REENCODED else 0, every.mean())


def pieces_of(paths: Sequence[Path]) -> tuple[Words, npt.NDArray[np.int64]]:
    """The hashes of `pieces` that say something, and the number of the video of each."""
    dice = np.random.default_rng(3)
    by_video = [np.array(list(pieces(path, dice)), np.uint64) for path in paths]
    hashes, video = np.concatenate(by_video), np.repeat(np.arange(len(by_video)), [len(some) for some in by_video])
    telling = hashes & np.uint64(ALL_BUT_FIRST) != 0
    return hashes[telling], video[telling]


def test_keys_find_real_copies_and_few_others_in_a_billion_clips(tmp_path: Path) -> None:
    originals = {path: footage_hashes(path) for path in videos()}
    lines = [*recall_lines(originals, tmp_path)]
    hashes, video = pieces_of([*originals])
    of_frames = KEYS[:14]  # the same bits of other frames follow
    still = float(np.mean([chance(hashes, video, one.mask | other.mask) for one, other in of_frames]))
    moving = float(np.mean([np.prod([chance(hashes, video, part.mask) for part in key]) for key in of_frames]))
    print(f"\n{len(hashes)} hashes of parts of {len(originals)} videos. The chance to share a key by accident is")
    print(f"2^{np.log2(still):.1f} if nothing moves, 2^{np.log2(moving):.1f} if frames are different pictures")
    in_still, in_moving = BILLION * STILL * still, BILLION * (1 - STILL) * moving
    comparisons = len(KEYS) * (STILL * in_still + (1 - STILL) * in_moving)
    lines += [
        at_most("a billion clips, all moving: others in a bucket", PARAMS.max_bucket, BILLION * moving),
        at_most(f"a billion, {STILL:.0%} still: others in the bucket of a still one", PARAMS.max_bucket, in_still),
        at_most("of these: comparisons of a clip by accident", len(KEYS) * PARAMS.max_bucket, comparisons),
    ]
    report("keys of real footage", lines)


def generated(spark: SparkSession, first: int, after: int, copied: Column | None) -> DataFrame:
    """Clips by number: clip_id, copy_of, height, phash; `copied` is the number of a clip's original or NULL."""
    original = F.lit(None).cast("bigint") if copied is None else copied
    rows = spark.range(first, after).select(F.col("id").alias("number"), original.alias("original"))
    shown = F.coalesce("original", "number")
    is_still = F.pmod(F.xxhash64(shown), F.lit(100)) < round(100 * STILL)
    hashes = []
    for number in range(NUM_FRAMES):
        frame = F.when(is_still, 0).otherwise(number)  # what differs in a copy also stays where nothing moves
        differs = F.when(F.col("original").isNotNull(), _noise(frame)).otherwise(F.lit(0).cast("bigint"))
        hashes.append(F.lower(F.lpad(F.hex(F.xxhash64(shown, frame).bitwiseXOR(differs)), 16, "0")))
    height = F.when(F.col("original").isNull(), 1080).otherwise(360)
    ids = (_clip_id("number"), _clip_id("original").alias("copy_of"))
    return rows.select("number", *ids, height.alias("height"), F.array(*hashes).alias("phash"))


def _noise(frame: Column) -> Column:
    """Bits that differ in a frame of a copy, as often as APART says."""
    dice = F.pmod(F.xxhash64("number", frame, F.lit("how many")), F.lit(100))
    places = [F.pmod(F.xxhash64("number", frame, F.lit(i)), F.lit(64)).cast("int") for i in range(4)]
    one, two, three, four = (F.call_function("shiftleft", F.lit(1).cast("bigint"), place) for place in places)
    none, some = F.lit(0).cast("bigint"), one.bitwiseXOR(two)
    noise = F.when(dice < 100 * APART[0], none).when(dice < 100 * (APART[0] + APART[2]), some)
    return noise.otherwise(some.bitwiseXOR(three).bitwiseXOR(four))


def _clip_id(number: str) -> Column:
    return F.md5(F.col(number).cast("string")).alias("clip_id")


def store(run: Run, clips: DataFrame) -> None:
    """Write the rows of these clips that `copies` reads."""
    for name, stage in (("spans", "split"), ("clips", "clip"), ("signals", "analyze")):
        known = {"fingerprint": F.lit(run.fingerprint(stage)), "run_id": F.lit(run.run_id), "video_id": F.lit("v")}
        rows = clips.withColumns(known | {"end_s": F.lit(1.0)})
        columns = []
        for column in run.tables.read(name).schema:
            zero = F.lit(None) if column.nullable else F.lit("0")
            columns.append(
                F.col(column.name) if column.name in rows.columns else zero.cast(column.dataType).alias(column.name)
            )
        run.tables.add(name, rows.select(*columns))


def recall(run: Run, planted: DataFrame) -> float:
    """The share of planted copies whose row names their original."""
    rows = run.tables.read("copies").select("clip_id", F.col("copy_of").alias("found"))
    is_found = F.col("found").eqNullSafe(F.col("copy_of")).cast("int")
    row = planted.where("copy_of IS NOT NULL").join(rows, on="clip_id", how="inner").agg(F.avg(is_found)).first()
    assert row is not None
    return float(row[0])


def seconds(run: Run, new: DataFrame | None = None) -> float:
    """How long the job takes."""
    begin = time.perf_counter()
    copies.run(run, copies.Options(output=run.output), new, have_rows=new is None)
    return time.perf_counter() - begin


@pytest.mark.parametrize("num_clips", SIZES)
def test_planted_copies_are_found_and_few_new_clips_cost_seconds(num_clips: int, tmp_path: Path) -> None:
    spark = connect({"spark.master": f"local[{CORES}]", "spark.local.dir": str(tmp_path / "spark")}, verbose=False)
    first, second = (Run(spark, str(tmp_path / "output"), load([], [])) for _ in range(2))
    start = num_clips - int(num_clips * PLANTED)
    library = generated(spark, 0, num_clips, F.when(F.col("id") >= start, F.col("id") - start))
    store(first, library)
    filled_s = seconds(first)
    of_stored = F.col("id") - num_clips + (num_clips - start)  # that have no copy yet
    arriving = generated(spark, num_clips, num_clips + NEW, F.when(F.col("id") % 2 == 0, of_stored))
    store(second, arriving)
    arrived_s = seconds(second, arriving.withColumn("num_bytes", F.lit(1)))
    folder = tmp_path / "output" / "tables" / "copy_keys"
    gigabytes = sum(path.stat().st_size for path in folder.rglob("*.parquet")) / 1e9
    lines = [
        at_least(f"recall of {num_clips - start} planted copies", RECALL, recall(first, library)),
        at_most("seconds of the first run, of a million clips", FILL_S, filled_s / num_clips * 1e6),
        at_least(f"recall of {NEW // 2} copies among {NEW} new clips", FEW_RECALL, recall(second, arriving)),
        at_most(f"seconds of a run of {NEW} new clips", NEW_S, arrived_s),
    ]
    spark.stop()
    report(f"{num_clips:,} generated clips on {CORES} cores; keys on disk: {gigabytes:.2f} GB", lines)
