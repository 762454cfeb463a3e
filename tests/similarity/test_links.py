"""Links in Spark: vectors in partitions of clusters, linked within a dedup run and to earlier ones."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.similarity import links
from tests.similarity.test_levels import by_hand, clouds
from udfs.dedup import Params
from udfs.runtime.context import Env
from udfs.similarity.kmeans import ROUNDING, Floats

pytestmark = pytest.mark.spark
ENV = Env("", "")


def frame(spark: SparkSession, vectors: npt.ArrayLike, seed: int | None = None, partitions: int = 2) -> DataFrame:
    """The vectors as embeddings of clips 000, 001, ..., shuffled if there is a seed.

    The first clips are the longest.
    """
    clips = [(f"{i:03d}", row, -float(i), 1) for i, row in enumerate(np.asarray(vectors, float).tolist())]
    if seed is not None:
        np.random.default_rng(seed).shuffle(clips)
    columns = "clip_id string, vector array<float>, duration_s double, dedup_run int"
    return spark.createDataFrame(spark.sparkContext.parallelize(clips, partitions), columns)


def linked(embeddings: DataFrame, centers: Floats, params: Params, parts: int = 2) -> pd.DataFrame:
    assigned = links.assignments(embeddings, centers, params).localCheckpoint()
    found = links.links(assigned, None, len(centers), parts, params, ENV).toPandas()
    return found.sort_values("clip_id", ignore_index=True)


BY_ID = "duration_s desc"


def test_links_do_not_depend_on_order_or_partitions(spark: SparkSession) -> None:
    rows, centers = clouds(3, 150), clouds(4, 5).astype(float)
    params = Params(rank="hard", probe_clusters=3)
    once = linked(frame(spark, rows), centers, params)
    again = linked(frame(spark, rows, seed=1, partitions=5), centers, params, parts=5)
    pd.testing.assert_frame_equal(once, again, check_exact=True)
    assert 20 < (once["similarity"] >= 0.9).sum() < 150


def test_each_cluster_is_linked_as_defined(spark: SparkSession) -> None:
    rows, centers = clouds(3, 150), clouds(4, 4).astype(float)
    found = linked(frame(spark, rows), centers, Params(rank=BY_ID, probe_clusters=1), parts=3)
    assert found["cluster_id"].nunique() == 4
    for _, cluster in found.groupby("cluster_id"):
        similarity = by_hand(rows[cluster.index], Params().levels)[1]
        assert np.allclose(cluster["similarity"], similarity, atol=1e-6, equal_nan=True)


def test_probes_find_what_lies_beyond_a_border(spark: SparkSession) -> None:
    rows = clouds(5, 150)
    centers = rows[:40].astype(float)  # so many that groups are torn apart
    cosines = np.tril(rows.astype(float) @ rows.T.astype(float), k=-1)
    alike = (cosines >= 0.9).any(axis=1)
    recall = []
    for probes in (1, 40):
        found = linked(frame(spark, rows), centers, Params(rank=BY_ID, probe_clusters=probes))
        dropped = found["similarity"].to_numpy(float) >= 0.9 - ROUNDING
        assert not (dropped & ~alike).any()
        recall.append(dropped.sum() / alike.sum())
        targets = found["duplicate_of"].dropna()
        assert (targets.astype(int) < targets.index).all()  # earlier clips only: links form no circle
    assert recall[0] < 0.8 < recall[1]


def test_zeros_lie_in_no_cluster(spark: SparkSession) -> None:
    found = linked(frame(spark, np.array([[0, 0], [1, 0], [0, 0], [2, 0]])), np.array([[1.0, 0.0]]), Params())
    assert found["clip_id"].tolist() == ["001", "003"]
    assert found["duplicate_of"].tolist() == [None, "001"]


def test_equal_vectors_are_linked_to_the_first(spark: SparkSession) -> None:
    found = linked(frame(spark, np.array([[1, 2]] * 9), partitions=4), np.array([[0.4, 0.9]]), Params())
    assert found["duplicate_of"].tolist() == [None, *["000"] * 8]
    assert found["similarity"].tolist()[1:] == [pytest.approx(1)] * 8


def test_what_is_stored_is_found_by_a_later_run(spark: SparkSession) -> None:
    rows, centers = clouds(6, 160), clouds(7, 6).astype(float)
    params = Params(rank=BY_ID, probe_clusters=6)
    rows[120:] = rows[:40]
    old, new = frame(spark, rows[:120]), frame(spark, rows).where("clip_id >= '120'").withColumn("dedup_run", F.lit(2))
    before = links.assignments(old, centers, params).localCheckpoint()
    placed = links.links(before, None, 6, 2, params, ENV).localCheckpoint()
    assigned = links.assignments(new, centers, params).localCheckpoint()
    (near,) = links.nearest_stored(assigned, before, placed.select("clip_id", "cluster_id", "similarity"), params, ENV)
    found = links.links(assigned, near, 6, 2, params, ENV).toPandas().sort_values("clip_id", ignore_index=True)
    assert (found["similarity"].to_numpy(float) >= 0.99 - ROUNDING).all()
    stands = set(placed.where(f"similarity is null or similarity < {0.99 - ROUNDING}").toPandas()["clip_id"])
    for clip, elder in found[["clip_id", "duplicate_of"]].itertuples(index=False):
        copy = f"{int(clip) - 120:03d}"
        assert (elder == copy) if copy in stands else (elder in stands)


def test_a_run_is_compared_in_pieces_that_fit_into_memory(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "PASS_BYTES", 16 * 4 * 30)
    rows = clouds(8, 100)
    params = Params(probe_clusters=1)
    assigned = links.assignments(frame(spark, rows), rows[:2].astype(float), params).localCheckpoint()
    fallen = spark.createDataFrame([], "clip_id string, cluster_id int, similarity double")
    pieces = list(links.nearest_stored(assigned, assigned, fallen, params, ENV))
    assert [piece.count() for piece in pieces] == [30, 30, 30, 10]
    first = pieces[0].orderBy("clip_id").first()
    assert first is not None
    assert [(near["last_level"], near["duplicate_of"]) for near in first["stored_neighbors"]] == [(2, "000")]
    assert first["stored_neighbors"][0]["similarity"] == pytest.approx(1)


@pytest.mark.parametrize("parts", [1, 2, 7, 40])
def test_a_part_is_a_partition_of_neighboring_clusters(spark: SparkSession, parts: int) -> None:
    rows = spark.range(80).select(F.col("id").cast("int").alias("cluster_id"), F.lit(1).alias("dedup_run"))
    placed = (
        links.cluster_partitions(rows, 80, parts).select("cluster_id", F.spark_partition_id().alias("part")).toPandas()
    )
    spans = placed.groupby("part")["cluster_id"].agg(["min", "max", "count"])
    assert len(spans) == parts
    assert (spans["max"] - spans["min"] + 1 == spans["count"]).all()
    assert spans["count"].max() - spans["count"].min() <= 1


def test_what_lies_in_no_cluster_is_in_the_first_part(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(None,), (5,), (0,)], "cluster_id int")
    first = (
        links.cluster_partitions(rows, 6, 2)
        .where("cluster_id is null or cluster_id = 0")
        .select(F.spark_partition_id())
    )
    assert first.distinct().count() == 1


@pytest.mark.parametrize(
    ("wanted", "at_most"), [([3], 5), ([1, 2, 3, 9, 10, 40], 5), ([1, 2, 3, 9, 10, 40], 2), ([0, 39], 1)]
)
def test_a_query_names_the_clusters_or_few_ranges(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, wanted: list[int], at_most: int
) -> None:
    monkeypatch.setattr(links, "RANGES", at_most)
    ids = spark.range(60).select(F.col("id").alias("cluster_id"))
    found = ids.where(links._between(wanted)).toPandas()["cluster_id"].tolist()
    assert set(found) >= set(wanted)
    runs = 1 + sum(b - a > 1 for a, b in pairwise(found))
    assert runs <= at_most
    if at_most == 5:
        assert found == wanted


def test_files_are_as_many_as_the_vectors_need(monkeypatch: pytest.MonkeyPatch) -> None:
    centers = np.zeros((1000, 256))
    assert links.num_parts(100, centers[:3]) == 3
    assert links.num_parts(100, centers) == links.MIN_PARTS
    assert links.num_parts(100, centers, min_parts=1) == 1
    assert links.num_parts(10_000_000, centers) == 4 * 10_000_000 * 256 // links.PART_BYTES
    assert links.num_parts(0, np.zeros((0, 0))) == 1
