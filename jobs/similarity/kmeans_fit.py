"""Vectors -> the centres of k-means, by cuML on the GPUs of the session or by MLlib, and which of the two and why."""

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

PER_CLUSTER = 256  # vectors that a centre is fitted on; more hardly move it (Johnson et al., 2017, and FAISS since)
STARTS_PER_CLUSTER = 32  # vectors that a starting centre is chosen from, since each choice reads them all
HELD = 1 << 16  # vectors at most that the driver holds: 400 MB at 768 numbers each
DEALT_BYTES = 1 << 27  # of them that go from the driver to MLlib: on one machine the JVM then has them twice
POINTS_BYTES = 1 << 25  # of a partition of MLlib's, each of whose iterations starts a task a partition, twice
BUCKET_BITS = 12  # hashes are counted by their first bits
WORKER_ROWS = 1000  # a worker of cuML's without a row ends the job; dealt in turn, so many leave none without


class Choice(NamedTuple):
    """What fits the centres, and the reason in words."""

    engine: Literal["cuml", "mllib"]
    why: str


def check(params: dedup.Params) -> None:
    """Refuse, before Spark starts, an engine that is not installed.

    Raises:
        SettingsError: cuML is asked for by name, and it or spark-rapids-ml is not there.
    """
    if params.engine == "cuml" and (name := missing()):
        raise SettingsError(f"dedup.engine = 'cuml' needs {name}: pip install 'reelmill[cuml]'")


def choose(spark: SparkSession, params: dedup.Params) -> Choice:
    """The engine as set, or cuML wherever it can run.

    Raises:
        SettingsError: cuML is asked for by name, and cannot run in this session.
    """
    trouble = "as set" if params.engine == "mllib" else _trouble(spark)
    if params.engine == "cuml" and trouble:
        raise SettingsError(f"dedup.engine = 'cuml': {trouble}")
    choice = Choice("mllib", trouble) if trouble else Choice("cuml", "there are GPUs and the packages for them")
    log.info("dedup: %s: %s", choice.engine, choice.why)
    return choice


def fit(vectors: DataFrame, params: dedup.Params, choice: Choice) -> Floats:
    """The centres of `vectors` (clip_id, vector), clusters x dim: fewer than asked for where fewer vectors differ.

    They are fitted on the vectors whose clip_ids have the least hashes; vectors of zeros have no direction, and no part in it.
    MLlib's are the same to the last bit for any order and partitioning: see udfs/similarity/kmeans.py on sums.

    Raises:
        ValueError: a vector to fit on has a number that is not finite; from a worker, it is the text of Spark's error.
    """
    hashed = vectors.select("clip_id", "vector", F.xxhash64(F.lit(params.seed), "clip_id").alias("hash"))
    counts = hashed.groupBy(_bucket().alias("bucket")).count().toPandas().sort_values("bucket", ignore_index=True)
    num_rows = int(counts["count"].sum())
    wanted = num_clusters(num_rows, params)
    if wanted == 0:
        return np.zeros((0, 0))
    size = _size(num_rows, wanted, params)
    held = _held(_least(hashed, counts, min(size, HELD)))
    if not len(held):  # nothing but zeros in the sample
        size, held = num_rows, _held(_least(hashed, counts, num_rows))
    if not len(held):
        return np.zeros((0, 0))
    sample = _least(hashed, counts, size)
    if choice.engine == "cuml" and wanted > 1:  # a k of 1 spark-rapids-ml refuses, as Spark's own class does
        return _cuml(sample, size, wanted, params)
    # Near the end already, for MLlib takes 10 to 40 times as long over a step: dot products one by one, in a JVM without C2.
    first = kmeans.lloyd(held, _starts(held, wanted, params), params.max_iter, params.tol)
    if wanted == 1 and len(held) >= size:
        return first  # the mean of them all
    return _mllib(_points(sample, held, size), first, params)


def estimator(wanted: int, params: dedup.Params) -> CumlKMeans:
    """spark-rapids-ml's KMeans as the settings have it, with a worker for each GPU that it counts."""
    from spark_rapids_ml.clustering import KMeans as CumlKMeans

    return CumlKMeans(
        k=wanted,
        initMode="k-means||" if params.init == "k-means++" else "random",
        maxIter=params.max_iter,
        tol=params.tol,
        seed=params.seed % 2**31,  # cuML's is an int32
        n_init=1,  # else 10 from random starts
        featuresCol="vector",
        float32_inputs=True,  # which loses nothing: the fixed steps of a unit vector fit in one
    )


def missing() -> str | None:
    """The first of the packages that cuML needs on the driver and that is not installed."""
    return next((name for name in ("spark_rapids_ml", "cuml") if find_spec(name) is None), None)


def hindrance(found: Facts, visible: int) -> str | None:
    """Why the tasks of a barrier stage cannot have a GPU each; `visible` are this machine's, which count in local mode."""
    # As spark-rapids-ml has it, local-cluster too: a task's GPU is its partition's number.
    local = found.master.startswith("local")
    if local and not visible:
        return "no GPU: CUDA shows none on this machine"
    if not (local or found.executor_gpus):
        return "no GPU: spark.executor.resource.gpu.amount is not set"
    if found.dynamic:
        return "no barrier stage runs under spark.dynamicAllocation.enabled"
    # spark-rapids-ml gives a task a whole GPU by a profile of its own, if and only if an executor has one and several cores.
    if not (local or found.task_gpus >= 1 or (found.executor_gpus == 1 and found.executor_cores > 1)):
        return "tasks would share a GPU: set spark.executor.cores and one GPU an executor, or spark.task.resource.gpu.amount = 1"
    return None


def _trouble(spark: SparkSession) -> str | None:
    if not isinstance(spark, SparkSession):
        return "Spark Connect has no barrier stages"
    found = resources.facts(spark.sparkContext)
    if why := hindrance(found, nvdec.num_visible_gpus()):
        return why
    return f"{name} is not installed: pip install 'reelmill[cuml]'" if (name := missing()) else None


def _bucket() -> Column:
    return F.shiftright("hash", 64 - BUCKET_BITS)


def _size(num_rows: int, wanted: int, params: dedup.Params) -> int:
    """How many vectors the centres are fitted on."""
    share = math.ceil(params.fit_data_fraction * num_rows) if params.fit_data_fraction else PER_CLUSTER * wanted
    return min(num_rows, max(wanted, share))


def _least(hashed: DataFrame, counts: pd.DataFrame, size: int) -> DataFrame:
    """The rows of the first buckets that hold at least so many, but for zeros: no sort, and no task that has to hold them all."""
    last = int(np.searchsorted(counts["count"].cumsum(), size))
    least = hashed.where(_bucket() <= int(counts["bucket"][last]))
    return least.where((F.array_max("vector") != 0) | (F.array_min("vector") != 0))


def _held(sample: DataFrame) -> Floats:
    """Unit vectors on the driver, in the order of their hashes."""
    found = sample.toArrow()
    if not len(found):
        return np.zeros((0, 0))
    vectors = _unit(found["vector"].combine_chunks())
    order = sort_indices(found, [("hash", "ascending"), ("clip_id", "ascending")])
    in_order: Floats = vectors[order.to_numpy()]
    return in_order


def _unit(vectors: pa.ListArray) -> Floats:
    return kmeans.unit_vectors(arrow.matrix_from_lists(vectors))


def _starts(held: Floats, wanted: int, params: dedup.Params) -> Floats:
    if params.init == "random":
        return kmeans.distinct_rows(held, wanted)
    few = kmeans.starting_centers(held[: STARTS_PER_CLUSTER * wanted], wanted, params.seed)
    return few if len(few) == wanted else kmeans.starting_centers(held, wanted, params.seed)


def _points(sample: DataFrame, held: Floats, size: int) -> RDD[DenseVector]:
    """The sample for MLlib: from the driver where that holds it all and it is small, else from where it lies."""
    context = sample.sparkSession.sparkContext
    num_partitions = min(context.defaultParallelism, 1 + size * held.shape[1] * held.itemsize // POINTS_BYTES)
    if len(held) >= size and held.nbytes <= DEALT_BYTES:
        return context.parallelize(map(DenseVector, held), num_partitions)
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


def _cuml(sample: DataFrame, size: int, wanted: int, params: dedup.Params) -> Floats:
    made = estimator(wanted, params)
    made.num_workers = min(
        made.num_workers, sample.sparkSession.sparkContext.defaultParallelism, max(1, size // WORKER_ROWS)
    )
    units = sample.select("vector").mapInArrow(_units, "vector array<float>").repartition(made.num_workers)
    centres = np.array(made.fit(units).clusterCenters(), np.float64)
    return np.unique(centres, axis=0)  # of equal vectors cuML makes equal centres


def _units(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        column = batch.column("vector")
        floats = pa.array(_unit(column).astype(np.float32).ravel())
        offsets = pa.array(np.arange(len(column) + 1, dtype=np.int32) * (len(floats) // max(1, len(column))))
        yield pa.RecordBatch.from_pydict({"vector": pa.ListArray.from_arrays(offsets, floats)})
