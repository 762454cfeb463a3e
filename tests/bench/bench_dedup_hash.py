"""The join of a million hashes: its recall, and its cost over decoding 1 % of the clips."""

from __future__ import annotations

import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.similarity import phash_lsh
from jobs.spark.session import compiled, connect
from tests.support.reels import real_clip
from udfs.copies import Params
from udfs.core.limits import Limits
from udfs.similarity import ranking
from udfs.video import container, decode

CORES, NUM_CLIPS, NUM_FRAMES = 2, 250_000, 4
RECALL = 0.99  # at least, of planted copies
# Shares of the clips: near-copies; clips that share their first hash; clips with equal hashes.
COPIES, SHARED, SAME = 0.1, 0.05, 0.01
DECODED = 0.01  # of the clips
CLIP_S = 10
Words = npt.NDArray[np.uint64]


class Report(NamedTuple):
    """The cost and the recall of the join."""

    seconds: float
    core_seconds: float  # of the JVM, which other work on the machine does not change
    recall: float  # of the planted copies that differ in no more bits than the settings allow
    found: int
    planted: int


def hash_join(spark: SparkSession, num_clips: int) -> Report:
    """Read hashes from a file, join them by the job's code, and write the links to a file."""
    with tempfile.TemporaryDirectory() as folder:
        planted = _plant(Path(folder) / "hashes", num_clips)
        params, begin, spent = Params(), time.perf_counter(), _core_seconds(spark)
        land = partial(_store, spark, Path(folder))
        hashed = spark.read.parquet(f"{folder}/hashes").withColumns(
            {"hashes": phash_lsh.numbers(F.col("phash")), "num_bytes": F.lit(1)}
        )
        clips = land("ranked", phash_lsh.rank_order(hashed, ranking.columns(params.rank)))
        keys = phash_lsh.with_keys(phash_lsh.firsts(clips, params), params, NUM_FRAMES)
        num_rows = num_clips * phash_lsh.num_keys(params, NUM_FRAMES)
        rows = land("pairs", phash_lsh.agreeing(keys, None, num_rows, params, NUM_FRAMES))
        land("found", phash_lsh.copy_links(clips, rows.where("full IS NULL"), params, land))
        seconds, core_seconds = time.perf_counter() - begin, _core_seconds(spark) - spent
        found = spark.read.parquet(f"{folder}/found").toPandas()
    of = dict(zip(found["clip_id"], found["copy_of"], strict=True))
    return Report(
        seconds,
        core_seconds,
        sum(of.get(young) == elder for young, elder in planted) / len(planted),
        len(of),
        len(planted),
    )


def _store(spark: SparkSession, folder: Path, name: str, rows: DataFrame) -> DataFrame:
    """Write rows to a file, and read them from there."""
    rows.write.parquet(f"{folder}/{name}")
    return spark.read.parquet(f"{folder}/{name}")


def _plant(folder: Path, num_clips: int) -> list[tuple[str, str]]:
    """Write random hashes, the last of them near-copies of the first; returns the pairs."""
    dice = np.random.default_rng(7)
    hashes: Words = dice.integers(0, 2**64, (num_clips, NUM_FRAMES), np.uint64)
    copies, shared, same = (int(num_clips * share) for share in (COPIES, SHARED, SAME))
    later = np.arange(num_clips - copies, num_clips)
    hashes[later] = hashes[:copies] ^ _noise(dice, copies)
    hashes[copies : copies + shared, 0] = hashes[copies, 0]
    hashes[copies + shared : copies + shared + same] = hashes[copies + shared]
    folder.mkdir()
    ids, heights = (
        [f"{i:036d}" for i in range(num_clips)],
        np.where(np.arange(num_clips) < num_clips - copies, 1080, 360),
    )
    texts = pa.array([[f"{word:016x}" for word in row] for row in hashes.tolist()], pa.list_(pa.string()))
    pq.write_table(pa.table({"clip_id": ids, "height": heights, "phash": texts}), folder / "part.parquet")
    return [(ids[num_clips - copies + i], ids[i]) for i in range(copies)]


def _noise(dice: np.random.Generator, num_clips: int) -> Words:
    """Up to max_distance random bits of each hash."""
    noise = np.zeros((num_clips, NUM_FRAMES), np.uint64)
    for _ in range(Params().max_distance):
        bit = np.uint64(1) << dice.integers(0, 64, noise.shape, np.uint64)
        noise |= np.where(dice.random(noise.shape) < 0.75, bit, np.uint64(0))
    return noise


def decode_seconds() -> dict[str, float]:
    """Core seconds of decoding 10 s of a real clip, by its name and size."""
    seconds = {}
    for name in ("bikes", "bigbuckbunny"):
        path = str(real_clip(name))
        begin = time.process_time()
        with container.open_video(path, Limits()) as video:
            decoded_s = sum(1 for _ in decode.frames(video)) / float(video.framerate)
            size = f"{video.stream.width}x{video.stream.height}"
        seconds[f"{name}, {size}"] = (time.process_time() - begin) * CLIP_S / decoded_s
    return seconds


def _peak_gib(spark: SparkSession) -> float:
    """The peak memory of the JVM."""
    return int(_jvm(spark, "status").partition("VmHWM:")[2].split()[0]) / 2**20


def _core_seconds(spark: SparkSession) -> float:
    """The CPU seconds of the JVM so far."""
    user, system = _jvm(spark, "stat").rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _jvm(spark: SparkSession, name: str) -> str:
    gateway: Any = spark.sparkContext._gateway
    return Path(f"/proc/{gateway.proc.pid}/{name}").read_text(encoding="utf-8")


def test_the_join_costs_less_than_decoding_a_hundredth_of_the_clips(tmp_path: Path) -> None:
    spark = connect({"spark.master": f"local[{CORES}]", "spark.local.dir": str(tmp_path)}, verbose=False)
    with compiled(spark):  # as in a run of so many clips
        report = hash_join(spark, NUM_CLIPS)
    peak_gib = _peak_gib(spark)
    spark.stop()
    took = f"{report.seconds:.1f} s, {report.core_seconds:.0f} core s"
    print(f"\n{NUM_CLIPS:,} clips of {NUM_FRAMES} hashes on {CORES} cores: {took}; {report.found:,} copies found,")
    print(
        f"{report.recall:.2%} of {report.planted:,} planted ones among them; most memory of the JVM: {peak_gib:.2f} GiB"
    )
    decoding = {name: seconds * NUM_CLIPS * DECODED for name, seconds in decode_seconds().items()}
    for name, whole in decoding.items():
        print(f"decoding {DECODED:.0%} of them, each {CLIP_S} s of {name}: {whole:.0f} core s")
    assert report.recall >= RECALL
    assert report.core_seconds < min(decoding.values())
