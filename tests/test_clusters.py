"""Clusters and duplicates of vectors in Spark."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs import clusters
from udfs import dedup
from udfs.kmeans import Floats

pytestmark = pytest.mark.spark
COLUMNS = "clip_id string, vector array<float>, duration_s double"


def frame(spark: SparkSession, vectors: object, seed: int | None = None, partitions: int = 2) -> DataFrame:
    """The vectors as embeddings of clips 000, 001, ..., shuffled if there is a seed."""
    rows = np.array(vectors, float).tolist()
    clips = [(f"{i:03d}", row, float(i)) for i, row in enumerate(rows)]
    if seed is not None:
        np.random.default_rng(seed).shuffle(clips)
    return spark.createDataFrame(spark.sparkContext.parallelize(clips, partitions), COLUMNS)


def found(embeddings: DataFrame, params: dedup.Params) -> tuple[Floats, pd.DataFrame]:
    centres, assigned = clusters.fit_predict(embeddings, params)
    rows = clusters.duplicates(assigned, params).toPandas()
    return centres, rows.sort_values("clip_id", ignore_index=True)


def groups(num_rows: int) -> Floats:
    """Four directions with a little noise, so that each holds many duplicates."""
    random = np.random.default_rng(5)
    noise: Floats = random.normal(size=(num_rows, 12)) * 0.08
    return np.eye(4, 12)[random.integers(0, 4, num_rows)] + noise


def test_clusters_and_duplicates_do_not_depend_on_order_or_partitions(spark: SparkSession) -> None:
    params = dedup.Params(n_clusters=6, eps=0.05)
    centres, rows = found(frame(spark, groups(200)), params)
    again, shuffled = found(frame(spark, groups(200), seed=1, partitions=5), params)
    assert np.array_equal(centres, again)
    pd.testing.assert_frame_equal(rows, shuffled, check_exact=True)
    assert 0 < rows["duplicate_of"].notna().sum() < 200


def test_centres_are_the_means_of_their_clusters(spark: SparkSession) -> None:
    vectors = groups(120)
    centres, rows = found(frame(spark, vectors), dedup.Params(n_clusters=4))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    means = [unit[rows["cluster_id"] == k].mean(axis=0) for k in range(4)]
    assert centres == pytest.approx(np.stack(means), abs=1e-5)
    nearness = (unit * centres[rows["cluster_id"]]).sum(axis=1) / np.linalg.norm(centres, axis=1)[rows["cluster_id"]]
    assert rows["distance_to_centroid"].to_numpy(float) == pytest.approx(1 - nearness, abs=1e-5)


def test_no_vectors_give_no_clusters(spark: SparkSession) -> None:
    centres, rows = found(frame(spark, np.zeros((0, 3))), dedup.Params())
    assert (centres.shape, len(rows)) == ((0, 0), 0)


def test_one_vector_is_kept(spark: SparkSession) -> None:
    centres, rows = found(frame(spark, [[3, 4]]), dedup.Params(n_clusters=5))
    assert centres.round(6).tolist() == [[0.6, 0.8]]
    assert rows["duplicate_of"].tolist() == [None]


def test_fewer_vectors_than_clusters_are_one_each(spark: SparkSession) -> None:
    centres, rows = found(frame(spark, np.eye(3)), dedup.Params(n_clusters=10))
    assert len(centres) == 3
    assert sorted(rows["cluster_id"]) == [0, 1, 2]


def test_of_equal_vectors_one_is_kept_wherever_they_lie(spark: SparkSession) -> None:
    centres, rows = found(frame(spark, [[1, 2]] * 9, partitions=4), dedup.Params(n_clusters=3))
    assert len(centres) == 1
    assert rows["duplicate_of"].tolist() == [None, *["000"] * 8]


def test_zeros_lie_in_no_cluster(spark: SparkSession) -> None:
    centres, rows = found(frame(spark, [[0, 0], [1, 0], [0, 0], [1, 0]]), dedup.Params())
    assert centres.tolist() == [[1, 0]]
    assert rows["cluster_id"].isna().tolist() == [True, False, True, False]
    assert rows["duplicate_of"].tolist() == [None, None, None, "001"]
    assert rows["method"].tolist() == ["semantic"] * 4


def test_what_is_not_known_is_null_not_nan(spark: SparkSession) -> None:
    _, assigned = clusters.fit_predict(frame(spark, [[0, 0], [1, 0]]), dedup.Params())
    zero, first = clusters.duplicates(assigned, dedup.Params()).orderBy("clip_id").collect()
    assert zero[1:] == (None, None, None, None, "semantic")
    assert first[1:] == (0, 0.0, None, None, "semantic")


def test_nothing_but_zeros_is_kept(spark: SparkSession) -> None:
    centres, rows = found(frame(spark, [[0, 0], [0, 0]]), dedup.Params())
    assert len(centres) == 0
    assert rows["duplicate_of"].isna().all()


def test_ranking_columns_reach_the_clusters(spark: SparkSession) -> None:
    _, rows = found(frame(spark, [[1, 0]] * 3), dedup.Params(rank="duration_s desc"))
    assert rows["duplicate_of"].tolist() == ["002", "002", None]


def test_a_vector_with_nan_stops_the_job(spark: SparkSession) -> None:
    with pytest.raises(Exception, match="vectors with NaN or infinity"):
        found(frame(spark, [[1, 0], [float("nan"), 0]]), dedup.Params())
