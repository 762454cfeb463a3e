"""Fit the centers of k-means, by cuML on the GPUs of the session or by MLlib."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow.compute import sort_indices
from pyspark import RDD
from pyspark.mllib.clustering import KMeans, KMeansModel
from pyspark.mllib.linalg import DenseVector
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.config.errors import SettingsError
from jobs.spark import resources
from jobs.spark.resources import Facts
from udfs import dedup
from udfs.similarity import arrow, kmeans
from udfs.similarity.kmeans import Floats
from udfs.similarity.params import num_clusters
from udfs.video import nvdec

if TYPE_CHECKING:
    from spark_rapids_ml.clustering import KMeans as CumlKMeans

log = logging.getLogger("reelmill")

PER_CLUSTER = 256  # vectors that a center is fitted on; more hardly move it (Johnson et al., 2017, and FAISS since)
STARTS_PER_CLUSTER = 32  # vectors that a starting center is chosen from, since each choice reads them all
DRIVER_ROWS = 1 << 16  # vectors at most that the driver holds: 400 MB at 768 numbers each
DRIVER_BYTES = 1 << 27  # of them that go from the driver to MLlib: on one machine the JVM then has them twice
POINTS_BYTES = 1 << 25  # per partition of MLlib, whose iterations start two tasks per partition
BUCKET_BITS = 12  # hashes are counted by their first bits
WORKER_ROWS = 1000  # rows per worker of cuML: one without a row ends the job, and round robin then leaves none
ENGINES = {"cuml": "cuML on GPUs", "mllib": "Spark MLlib on the CPU"}


class Choice(NamedTuple):
    """The engine that fits the centers, and the reason in words."""

    engine: Literal["cuml", "mllib"]
    why: str


def check(params: dedup.Params) -> None:
    """Refuse, before Spark starts, an engine that is not installed.

    Raises:
        SettingsError: cuML is asked for by name, and it or spark-rapids-ml is not there.
    """
    if params.engine == "cuml" and (name := missing_package()):
        raise SettingsError(f"dedup.engine = 'cuml' needs {name}: pip install 'reelmill[cuml]'")


def choose(spark: SparkSession, params: dedup.Params) -> Choice:
    """The engine as set, or cuML wherever it can run.

    Raises:
        SettingsError: cuML is asked for by name, and cannot run in this session.
    """
    reason = "as set" if params.engine == "mllib" else _session_hindrance(spark)
    if params.engine == "cuml" and reason:
        raise SettingsError(f"dedup.engine = 'cuml': {reason}")
    choice = Choice("mllib", reason) if reason else Choice("cuml", "there are GPUs and the packages for them")
    log.info("dedup: k-means by %s (%s)", ENGINES[choice.engine], choice.why)
    return choice


def fit(vectors: DataFrame, params: dedup.Params, choice: Choice) -> Floats:
    """The centers of `vectors` (clip_id, vector), clusters x dim.

    There are fewer than the settings ask for where fewer vectors differ. They are fitted on the
    vectors whose clip_ids have the least hashes, without vectors of zeros, which have no direction.
    MLlib's centers are the same to the last bit for any order and partitioning: see
    udfs/similarity/kmeans.py on sums.

    Raises:
        ValueError: a vector to fit on has a number that is not finite; from a worker, it is the
            text of Spark's error.
    """
    hashed = vectors.select("clip_id", "vector", F.xxhash64(F.lit(params.seed), "clip_id").alias("hash"))
    counts = hashed.groupBy(_bucket().alias("bucket")).count().toPandas().sort_values("bucket", ignore_index=True)
    num_rows = int(counts["count"].sum())
    num_centers = num_clusters(num_rows, params)
    if num_centers == 0:
        return np.zeros((0, 0))
    size = _sample_size(num_rows, num_centers, params)
    on_driver = _vectors_on_driver(_sample(hashed, counts, min(size, DRIVER_ROWS)))
    if not len(on_driver):  # nothing but zeros in the sample
        size, on_driver = num_rows, _vectors_on_driver(_sample(hashed, counts, num_rows))
    if not len(on_driver):
        return np.zeros((0, 0))
    sample = _sample(hashed, counts, size)
    if choice.engine == "cuml" and num_centers > 1:  # spark-rapids-ml refuses a k of 1, as Spark's own class does
        return _cuml(sample, size, num_centers, params)
    # MLlib starts near the end already, since one of its steps takes 10 to 40 times as long: dot
    # products one by one, in a JVM without C2.
    first = kmeans.lloyd(on_driver, _starts(on_driver, num_centers, params), params.max_iter, params.tol)
    if num_centers == 1 and len(on_driver) >= size:
        return first  # the mean of them all
    return _mllib(_points(sample, on_driver, size), first, params)


def estimator(num_centers: int, params: dedup.Params) -> CumlKMeans:
    """The KMeans of spark-rapids-ml by the settings, with a worker for each GPU that it counts."""
    from spark_rapids_ml.clustering import KMeans as CumlKMeans

    return CumlKMeans(
        k=num_centers,
        initMode="k-means||" if params.init == "k-means++" else "random",
        maxIter=params.max_iter,
        tol=params.tol,
        seed=params.seed % 2**31,  # cuML's is an int32
        n_init=1,  # else 10 from random starts
        featuresCol="vector",
        float32_inputs=True,  # which loses nothing: the fixed steps of a unit vector fit in one
    )


def missing_package() -> str | None:
    """The first of the packages that cuML needs on the driver and that is not installed."""
    return next((name for name in ("spark_rapids_ml", "cuml") if find_spec(name) is None), None)


def hindrance(facts: Facts, num_visible_gpus: int) -> str | None:
    """Why the tasks of a barrier stage cannot have a GPU each.

    The visible GPUs are those of this machine, which count in local mode.
    """
    # Like spark-rapids-ml, also with local-cluster: a task's GPU is its partition's number.
    local = facts.master.startswith("local")
    if local and not num_visible_gpus:
        return "no GPU found on this machine"
    if not (local or facts.executor_gpus):
        return "no GPU: spark.executor.resource.gpu.amount is not set"
    if facts.dynamic:
        return "no barrier stage runs under spark.dynamicAllocation.enabled"
    # spark-rapids-ml gives a task a whole GPU by a profile of its own, if and only if an executor
    # has one GPU and several cores.
    if not (local or facts.task_gpus >= 1 or (facts.executor_gpus == 1 and facts.executor_cores > 1)):
        return (
            "tasks would share a GPU: set spark.executor.cores and one GPU an executor, "
            "or spark.task.resource.gpu.amount = 1"
        )
    return None


def _session_hindrance(spark: SparkSession) -> str | None:
    """Why cuML cannot run in this session."""
    if not isinstance(spark, SparkSession):
        return "Spark Connect has no barrier stages"
    if reason := hindrance(resources.facts(spark.sparkContext), nvdec.num_visible_gpus()):
        return reason
    return f"{name} is not installed: pip install 'reelmill[cuml]'" if (name := missing_package()) else None


def _bucket() -> Column:
    return F.shiftright("hash", 64 - BUCKET_BITS)


def _sample_size(num_rows: int, num_centers: int, params: dedup.Params) -> int:
    """How many vectors the centers are fitted on."""
    share = math.ceil(params.fit_data_fraction * num_rows) if params.fit_data_fraction else PER_CLUSTER * num_centers
    return min(num_rows, max(num_centers, share))


def _sample(hashed: DataFrame, counts: pd.DataFrame, size: int) -> DataFrame:
    """The rows of the first buckets that hold at least so many, without vectors of zeros.

    This needs no sort, and no task that holds all rows.
    """
    last = int(np.searchsorted(counts["count"].cumsum(), size))
    least = hashed.where(_bucket() <= int(counts["bucket"][last]))
    return least.where((F.array_max("vector") != 0) | (F.array_min("vector") != 0))


def _vectors_on_driver(sample: DataFrame) -> Floats:
    """Unit vectors on the driver, in the order of their hashes."""
    rows = sample.toArrow()
    if not len(rows):
        return np.zeros((0, 0))
    vectors = _unit(rows["vector"].combine_chunks())
    order = sort_indices(rows, [("hash", "ascending"), ("clip_id", "ascending")])
    in_order: Floats = vectors[order.to_numpy()]
    return in_order


def _unit(vectors: pa.ListArray) -> Floats:
    return kmeans.unit_vectors(arrow.matrix_from_lists(vectors))


def _starts(vectors: Floats, num_centers: int, params: dedup.Params) -> Floats:
    """The starting centers, from the first vectors if these differ enough."""
    if params.init == "random":
        return kmeans.distinct_rows(vectors, num_centers)
    starts = kmeans.starting_centers(vectors[: STARTS_PER_CLUSTER * num_centers], num_centers, params.seed)
    return starts if len(starts) == num_centers else kmeans.starting_centers(vectors, num_centers, params.seed)


def _points(sample: DataFrame, on_driver: Floats, size: int) -> RDD[DenseVector]:
    """The sample for MLlib: from the driver if it is small and all there, else from its files."""
    context = sample.sparkSession.sparkContext
    num_partitions = min(context.defaultParallelism, 1 + size * on_driver.shape[1] * on_driver.itemsize // POINTS_BYTES)
    if len(on_driver) >= size and on_driver.nbytes <= DRIVER_BYTES:
        return context.parallelize(map(DenseVector, on_driver), num_partitions)
    packed = sample.select("vector").mapInArrow(_packed, "vector binary").coalesce(num_partitions)
    return packed.rdd.map(lambda row: DenseVector(np.frombuffer(row["vector"])))


def _packed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    # As bytes: lists of numbers would be boxed one by one on their way out of the JVM.
    for batch in batches:
        yield pa.RecordBatch.from_pydict({"vector": arrow.binary_from_matrix(_unit(batch.column("vector")))})


def _mllib(points: RDD[DenseVector], first: Floats, params: dedup.Params) -> Floats:
    model = KMeans.train(
        points, len(first), maxIterations=params.max_iter, epsilon=params.tol, initialModel=KMeansModel(list(first))
    )
    return np.array(model.clusterCenters, np.float64)


def _cuml(sample: DataFrame, size: int, num_centers: int, params: dedup.Params) -> Floats:
    cuml = estimator(num_centers, params)
    parallelism = sample.sparkSession.sparkContext.defaultParallelism
    cuml.num_workers = min(cuml.num_workers, parallelism, max(1, size // WORKER_ROWS))
    units = sample.select("vector").mapInArrow(_units, "vector array<float>").repartition(cuml.num_workers)
    centers = np.array(cuml.fit(units).clusterCenters(), np.float64)
    return np.unique(centers, axis=0)  # of equal vectors cuML makes equal centers


def _units(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        column = batch.column("vector")
        floats = pa.array(_unit(column).astype(np.float32).ravel())
        offsets = pa.array(np.arange(len(column) + 1, dtype=np.int32) * (len(floats) // max(1, len(column))))
        yield pa.RecordBatch.from_pydict({"vector": pa.ListArray.from_arrays(offsets, floats)})
