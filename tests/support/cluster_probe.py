"""Program for test_cluster.py: run stages of models on two fake GPUs, and print when tasks ran."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from pyspark.sql import SparkSession

from jobs.spark import resources
from jobs.spark.session import connect
from tests.support import fake_gpus, fake_models
from tests.support.conf_lines import lines
from udfs.core.task_resources import Resources
from udfs.models.registry import Params
from udfs.runtime.context import Env

TESTS = Path(__file__).parents[1]
FIELDS = "key string, pid long, gpu string, started double, ended double, began double"
NUM_TASKS = 24  # three per slot where four tasks share a GPU
SHIPPED = ("spark.dynamicAllocation.", "spark.executor.resource.gpu.amount")  # what yarn.conf says of executors


def work(batches: Iterable[pd.DataFrame], options: dict[str, Any]) -> Iterator[pd.DataFrame]:
    """The stage of tests/support/fake_models.py, on an executor."""
    task_start = time.time()
    env = Env("unused", "f" * 16, models=Params(device="cpu"), task=resources.task())
    for batch in fake_models.rows(batches, env, **options):
        yield batch.assign(began=task_start)[[name.split()[0] for name in FIELDS.split(", ")]].astype({"pid": int})


def run_stage(
    spark: SparkSession, name: str, requested: Resources, num_rows: int = 16, items: int = 1, **options: Any
) -> dict[str, Any]:
    """Run a stage with one row per task, and return what each task did and when."""
    choice = resources.choose(resources.facts(spark.sparkContext), requested)
    rows = [(f"{name}{k}", items, "f") for k in range(num_rows)]
    inputs = spark.createDataFrame(
        spark.sparkContext.parallelize(rows, num_rows), "key string, num_items int, fingerprint string"
    )
    with resources.own_workers(spark.sparkContext, requested):
        done = inputs.mapInPandas(
            partial(work, options=options | {"resources": requested}), FIELDS, profile=choice.profile
        )
    return {"why": choice.why, "tasks": [row.asDict() for row in done.collect()]}


def session(folder: Path, conf: dict[str, str]) -> SparkSession:
    """A session that sends its workers these modules, as a user's are sent: the decoding process reads no others."""
    spark = connect(conf, verbose=False)
    (folder / "sent" / "tests").mkdir(parents=True, exist_ok=True)
    shutil.copy(TESTS / "__init__.py", folder / "sent" / "tests")
    shutil.copytree(TESTS / "support", folder / "sent" / "tests" / "support", dirs_exist_ok=True)
    spark.sparkContext.addPyFile(shutil.make_archive(str(folder / "tests"), "zip", folder / "sent"))
    return spark


def come_and_go(folder: Path) -> None:
    """Run stages with and without GPUs by the lines of yarn.conf on executors that come and go; print as `main`."""
    conf = fake_gpus.conf(folder, cores=2) | {"spark.dynamicAllocation.executorIdleTimeout": "2s"}
    del conf["spark.task.resource.gpu.amount"]
    asked = {key: value for key, value in lines("yarn") if key.startswith(SHIPPED)}
    spark = session(folder, conf | asked | {"spark.dynamicAllocation.maxExecutors": "2"})
    options: dict[str, Any] = {"model": {"seconds": 0.3}}
    report = {"cpu": run_stage(spark, "cpu", Resources(), num_rows=8, **options)}
    for gpus in (1, 0.5):
        report[f"{gpus:g}"] = run_stage(spark, "gpu", Resources(gpus=gpus), num_rows=NUM_TASKS, **options)
    report["again"] = run_stage(spark, "cpu", Resources(), num_rows=8, **options)
    print(json.dumps(report))
    spark.stop()


def main(folder: Path) -> None:
    """Run the stages one after the other, and print their tasks as JSON."""
    spark = session(folder, fake_gpus.conf(folder))
    # This stage leaves more idle workers than there are GPUs.
    run_stage(spark, "cpu", Resources(), num_rows=16, model={"seconds": 0.3})
    report = {}
    for gpus in (0.25, 0.5, 1):
        # Long enough that all tasks of a machine with other work overlap.
        options: dict[str, Any] = {"model": {"seconds": 0.8, "log": f"{folder}/{gpus:g}.log"}}
        run_stage(spark, "first", Resources(gpus=gpus), **options)  # while workers start one after the other
        report[f"{gpus:g}"] = run_stage(spark, "then", Resources(gpus=gpus), num_rows=NUM_TASKS, **options)
    both: dict[str, Any] = {"decode_s": 0.1, "batch_size": 1, "model": {"seconds": 0.1}}
    run_stage(spark, "overlap", Resources(gpus=1), num_rows=6, **both)  # starts workers and decoding processes
    report["overlap"] = run_stage(spark, "overlap", Resources(gpus=1), num_rows=2, items=40, **both)
    print(json.dumps(report))
    spark.stop()


if __name__ == "__main__":
    (come_and_go if "--come-and-go" in sys.argv else main)(Path(sys.argv[1]))
