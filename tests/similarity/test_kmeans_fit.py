"""The engine that fits the centers of k-means, the reason for it, and the centers."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.config.errors import SettingsError
from jobs.similarity import kmeans_fit, links
from jobs.similarity.kmeans_fit import Choice, choose, fit, hindrance, missing_package
from jobs.spark.resources import Facts
from udfs.dedup import Params
from udfs.runtime.context import Env
from udfs.similarity import assign
from udfs.similarity.kmeans import Floats, unit_vectors
from udfs.video import nvdec

GPUS = {
    "spark.executor.cores": "8",
    "spark.executor.resource.gpu.amount": "1",
    "spark.task.resource.gpu.amount": "0.125",
}
MLLIB, CUML = Choice("mllib", "as set"), Choice("cuml", "as set")
with_cuml = pytest.mark.skipif(
    not nvdec.num_visible_gpus() or bool(missing_package()), reason=f"no GPU here, or no {missing_package() or 'CUDA'}"
)


def frame(spark: SparkSession, vectors: object, seed: int | None = None, partitions: int = 2) -> DataFrame:
    """The vectors of clips 000, 001, ..., shuffled if there is a seed."""
    clips = [(f"{i:03d}", row) for i, row in enumerate(np.array(vectors, float).tolist())]
    if seed is not None:
        np.random.default_rng(seed).shuffle(clips)
    return spark.createDataFrame(
        spark.sparkContext.parallelize(clips, partitions), "clip_id string, vector array<float>"
    )


def groups(num_rows: int, noise: float = 0.08) -> Floats:
    """Four directions with a little noise."""
    random = np.random.default_rng(5)
    spread: Floats = random.normal(size=(num_rows, 12)) * noise
    return np.eye(4, 12)[random.integers(0, 4, num_rows)] + spread


# Which engine


@pytest.mark.parametrize(
    ("master", "conf", "visible", "why"),
    [
        ("local[2]", {}, 1, None),
        ("local[2]", {}, 0, "no GPU found on this machine"),
        ("local-cluster[2,2,1024]", GPUS, 0, "no GPU found on this machine"),
        ("spark://host:7077", GPUS, 0, None),
        ("spark://host:7077", {}, 1, "no GPU: spark.executor.resource.gpu.amount is not set"),
        (
            "yarn",
            GPUS | {"spark.dynamicAllocation.enabled": "true"},
            0,
            "no barrier stage runs under spark.dynamicAllocation",
        ),
        (
            "yarn",
            {k: v for k, v in GPUS.items() if "cores" not in k},
            0,
            "tasks would share a GPU: set spark.executor.cores",
        ),
        ("yarn", GPUS | {"spark.executor.resource.gpu.amount": "2"}, 0, "tasks would share a GPU"),
        ("yarn", {"spark.executor.resource.gpu.amount": "2", "spark.task.resource.gpu.amount": "1"}, 0, None),
        ("k8s://https://host", {k: v for k, v in GPUS.items() if "task" not in k}, 0, None),
    ],
)
def test_why_a_session_cannot_run_cuml(master: str, conf: dict[str, str], visible: int, why: str | None) -> None:
    found = hindrance(Facts.of(master, conf), visible)
    assert (found or "").startswith(why or "")
    assert (found is None) is (why is None)


@pytest.mark.spark
def test_auto_is_mllib_without_a_gpu_and_says_so(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(nvdec, "num_visible_gpus", lambda: 0)
    with caplog.at_level(logging.INFO, "reelmill"):
        assert choose(spark, Params()).engine == "mllib"
    assert [record.getMessage() for record in caplog.records] == [
        "dedup: k-means by Spark MLlib on the CPU (no GPU found on this machine)"
    ]


@pytest.mark.spark
def test_auto_is_cuml_with_a_gpu_and_the_packages(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvdec, "num_visible_gpus", lambda: 1)
    monkeypatch.setattr(kmeans_fit, "missing_package", lambda: None)
    assert choose(spark, Params()) == ("cuml", "there are GPUs and the packages for them")
    assert choose(spark, Params(engine="mllib")) == ("mllib", "as set")
    monkeypatch.setattr(kmeans_fit, "missing_package", lambda: "cuml")
    assert choose(spark, Params()) == ("mllib", "cuml is not installed: pip install 'reelmill[cuml]'")


@pytest.mark.spark
def test_cuml_by_name_is_not_replaced(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvdec, "num_visible_gpus", lambda: 0)
    with pytest.raises(SettingsError, match=r"^dedup\.engine = 'cuml': no GPU found on this machine$"):
        choose(spark, Params(engine="cuml"))


def test_cuml_by_name_needs_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans_fit, "missing_package", lambda: "cuml")
    with pytest.raises(SettingsError, match=r"^dedup\.engine = 'cuml' needs cuml: pip install 'reelmill\[cuml\]'$"):
        kmeans_fit.check(Params(engine="cuml"))
    kmeans_fit.check(Params())


# MLlib


@pytest.mark.spark
def test_centers_do_not_depend_on_order_or_partitions(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    params = Params(n_clusters=6, fit_data_fraction=0.6)
    first = fit(frame(spark, groups(200)), params, MLLIB)
    assert np.array_equal(first, fit(frame(spark, groups(200), seed=1, partitions=5), params, MLLIB))
    monkeypatch.setattr(kmeans_fit, "DRIVER_ROWS", 50)
    far, again = (
        fit(frame(spark, groups(200), seed, partitions), params, MLLIB) for seed, partitions in ((None, 2), (3, 4))
    )
    assert np.array_equal(far, again)
    assert far.shape == first.shape


@pytest.mark.spark
def test_centers_are_means_of_the_vectors_nearest_to_them(spark: SparkSession) -> None:
    vectors = unit_vectors(groups(120))
    found = fit(frame(spark, groups(120)), Params(n_clusters=4), MLLIB)
    label = assign.nearest_centers(vectors, found, 1, np.inf)[0][:, 0]
    assert found == pytest.approx(np.stack([vectors[label == k].mean(axis=0) for k in range(4)]), abs=1e-6)


@pytest.mark.spark
def test_starting_centers_may_be_any(spark: SparkSession) -> None:
    found = fit(frame(spark, [[1, 0]] * 5 + [[0, 1]] * 5), Params(n_clusters=4, init="random"), MLLIB)
    assert sorted(found.tolist()) == [[0, 1], [1, 0]]


@pytest.mark.spark
def test_a_share_of_the_vectors_is_those_of_the_least_hashes(spark: SparkSession) -> None:
    vectors = frame(spark, np.eye(12)).selectExpr("clip_id", "vector", "xxhash64(42, clip_id) AS hash")
    least = np.array([row["vector"] for row in vectors.orderBy("hash").limit(3).collect()])
    found = fit(vectors, Params(n_clusters=1, fit_data_fraction=0.25), MLLIB)
    assert found == pytest.approx(least.mean(axis=0, keepdims=True))


@pytest.mark.spark
@pytest.mark.parametrize(
    ("vectors", "expected"),
    [
        (np.zeros((0, 3)), np.zeros((0, 0))),
        ([[0, 0], [0, 0]], np.zeros((0, 0))),
        ([[3, 0]], [[1, 0]]),
        ([[0, 0], [1, 0], [0, 0], [2, 0]], [[1, 0]]),
        ([[0, 2]] * 9, [[0, 1]]),
        (np.eye(3), np.eye(3)),
    ],
    ids=["none", "zeros", "one", "zeros among them", "equal", "fewer than clusters"],
)
def test_no_more_centers_than_vectors_differ(spark: SparkSession, vectors: object, expected: object) -> None:
    found = fit(frame(spark, vectors), Params(n_clusters=5), MLLIB)
    assert sorted(found.tolist()) == sorted(np.array(expected, float).tolist())
    assert found.shape == np.array(expected).shape


@pytest.mark.spark
def test_a_vector_with_nan_stops_the_fit(spark: SparkSession) -> None:
    with pytest.raises(ValueError, match="vectors with NaN or infinity"):
        fit(frame(spark, [[1, 0], [float("nan"), 0]]), Params(), MLLIB)


# cuML


@pytest.mark.spark
def test_the_estimator_is_set_as_the_settings_say(spark: SparkSession) -> None:
    params = Params(max_iter=77, tol=1e-3, seed=2**31 + 5, init="random")
    made = kmeans_fit.estimator(7, params)
    assert (made.getK(), made.getMaxIter(), made.getTol(), made.getSeed(), made.getInitMode()) == (
        7,
        77,
        1e-3,
        5,
        "random",
    )
    assert (made.getFeaturesCol(), made._num_workers, made._float32_inputs) == ("vector", None, True)
    wanted = {"n_clusters": 7, "max_iter": 77, "tol": 1e-3, "random_state": 5, "init": "random", "n_init": 1}
    assert wanted.items() <= made.cuml_params.items()
    assert kmeans_fit.estimator(7, replace(params, init="k-means++")).cuml_params["init"] == "k-means||"
    made.num_workers = 3
    assert made._num_workers == 3
    made._validate_parameters()  # Spark's own KMeans takes them too


@pytest.mark.spark
@pytest.mark.skipif(bool(nvdec.num_visible_gpus()), reason="here it would run")
def test_all_but_cuda_runs_without_a_gpu(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvdec, "num_visible_gpus", lambda: 1)
    with pytest.raises(Exception, match=r"No module named 'cupy'|cudaError"):
        fit(frame(spark, groups(40)), Params(n_clusters=4), CUML)
    with pytest.raises(Exception, match=r"vectors with NaN or infinity"):
        fit(frame(spark, [[1, 0], [float("nan"), 0]]), Params(n_clusters=2), CUML)
    assert fit(frame(spark, [[1, 0]] * 3), Params(), CUML).tolist() == [[1, 0]]  # one cluster needs no GPU


@pytest.mark.spark
def test_cuml_gets_the_unit_vectors_that_have_a_direction(spark: SparkSession) -> None:
    rows = (
        frame(spark, [[3, 4], [0, 2]]).select("vector").mapInArrow(kmeans_fit._units, "vector array<float>").collect()
    )
    assert [np.round(row["vector"], 6).tolist() for row in rows] == [[0.6, 0.8], [0, 1]]


@pytest.mark.gpu
@pytest.mark.spark
@with_cuml
def test_cuml_finds_the_survivors_that_mllib_finds(spark: SparkSession) -> None:
    vectors, params = groups(400, noise=0.03), Params(n_clusters=4)
    kept = []
    for choice in (MLLIB, CUML):
        assigned = links.assignments(
            frame(spark, vectors).withColumn("dedup_run", F.lit(1)), fit(frame(spark, vectors), params, choice), params
        )
        found = links.links(assigned, None, 4, 2, params, Env("", ""))
        kept.append({row["clip_id"] for row in found.where("similarity is null or similarity < 0.9").collect()})
    assert len(kept[0] & kept[1]) >= 0.99 * len(kept[0] | kept[1])


def test_the_extra_of_developers_brings_no_gpu_packages() -> None:
    with open("pyproject.toml", encoding="utf-8") as file:
        dev = re.findall(r"^dev = \[(.*?)^\]", file.read(), flags=re.MULTILINE | re.DOTALL)[0]
    assert "spark-rapids-ml==26.6.*" in dev
    assert "cu12" not in dev
