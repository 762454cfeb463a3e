"""Choose the ResourceProfile of a stage by its [resources] and Spark's master, with the reason."""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

from pyspark import SparkContext, TaskContext
from pyspark.resource import ExecutorResourceRequests, ResourceProfile, ResourceProfileBuilder, TaskResourceRequests

from udfs.core.gpu_device import Task
from udfs.core.task_resources import Resources
from udfs.core.words import counted

log = logging.getLogger("reelmill")

POOL = "REELMILL_WORKERS"  # a variable of the Python workers: those of one value are never used for a stage of another
GPU = "gpu"
_defining = threading.Lock()


@dataclass(frozen=True)
class Facts:
    """What scheduling depends on: Spark's master and its settings."""

    master: str
    task_cpus: int
    task_gpus: float
    executor_cores: int
    executor_gpus: int
    executor_memory: str
    overhead: str
    script: str
    vendor: str
    dynamic: bool

    @classmethod
    def of(cls, master: str, conf: Mapping[str, str]) -> Facts:
        """From a session's settings, with Spark's defaults."""
        gpu = "spark.executor.resource.gpu"
        return cls(
            master=master,
            task_cpus=int(conf.get("spark.task.cpus", 1)),
            task_gpus=float(conf.get("spark.task.resource.gpu.amount", 0)),
            executor_cores=int(conf.get("spark.executor.cores", 1)),
            executor_gpus=int(conf.get(f"{gpu}.amount", 0)),
            executor_memory=conf.get("spark.executor.memory", "1g"),
            overhead=conf.get("spark.executor.memoryOverhead", ""),
            script=conf.get(f"{gpu}.discoveryScript", ""),
            vendor=conf.get(f"{gpu}.vendor", ""),
            dynamic=conf.get("spark.dynamicAllocation.enabled", "false").lower() == "true",
        )

    @property
    def cluster(self) -> str | None:
        """The kind of cluster behind the master's address; None where it knows no profiles."""
        if "DATABRICKS_RUNTIME_VERSION" in os.environ:
            return "databricks"
        if self.master.startswith(("spark://", "local-cluster")):
            return "standalone"
        if self.master == "yarn" or self.master.startswith("k8s://"):
            return self.master.partition(":")[0]
        return None

    @property
    def has_gpus(self) -> bool:
        """Whether the executors have GPUs, or may be asked to have some."""
        return self.executor_gpus > 0 or (self.dynamic and bool(self.script))


class Choice(NamedTuple):
    """How a stage is scheduled, and the reason in words."""

    profile: ResourceProfile | None
    why: str


def choose(session: Facts, needs: Resources) -> Choice:
    """The profile for a stage's tasks; none where Spark's defaults suffice, or where its master knows no profiles."""
    if (needs.cpus, needs.gpus) == (session.task_cpus, session.task_gpus):
        return Choice(None, "Spark's own amounts a task are those of the stage")
    if session.cluster is None:
        return Choice(None, f"{session.master} schedules by cores alone: tasks take turns on the GPUs")
    if needs.gpus and not session.has_gpus:
        return Choice(None, "spark.executor.resource.gpu.amount is not set: the executors have no GPUs to give")
    if session.dynamic and session.cluster != "databricks":
        return Choice(
            _profile(needs, _executor(needs, session)), "dynamic allocation starts executors of the stage's own kind"
        )
    return Choice(_profile(needs, None), "without dynamic allocation, a profile of tasks alone")


def num_slots(context: SparkContext, needs: Resources) -> int:
    """How many tasks of a stage run at once, as far as it is known now."""
    session = facts(context)
    if not (needs.gpus and session.executor_gpus):
        return max(1, context.defaultParallelism // needs.cpus)
    executors = max(1, context.defaultParallelism // session.executor_cores)
    return max(1, int(executors * session.executor_gpus / needs.gpus))


def log_choice(stage: str, needs: Resources, choice: Choice) -> None:
    """Log once per stage and process how it is scheduled; without --verbose, only of a stage that asks for GPUs."""
    takes = f"{counted(needs.cpus, 'CPU')} and {needs.gpus:g} GPUs per task"
    profile = "a resource profile" if choice.profile else "no resource profile"
    _log_once(logging.INFO if needs.gpus else logging.DEBUG, f"{stage}: {takes}; {profile}: {choice.why}")


@cache
def _log_once(level: int, line: str) -> None:
    log.log(level, "%s", line)


@contextmanager
def scheduled(stage: str, context: SparkContext, needs: Resources) -> Iterator[ResourceProfile | None]:
    """The profile for the frames that a stage defines within, and workers of its own; logs once how it is scheduled."""
    choice = choose(facts(context), needs)
    log_choice(stage, needs, choice)
    with own_workers(context, needs):
        yield choice.profile


@contextmanager
def own_workers(context: SparkContext, needs: Resources) -> Iterator[None]:
    """What is defined within runs, on a cluster's GPUs, in Python workers kept for stages of the same share of a GPU.

    Otherwise Spark would give its tasks to every idle worker of the CPU stages before it, and each would load a model.
    """
    with _defining:  # the variables are the whole session's, and waves overlap
        if needs.gpus and facts(context).cluster:
            context.environment[POOL] = f"{needs.gpus:g} gpus"
        try:
            yield
        finally:
            context.environment.pop(POOL, None)


def task() -> Task:
    """The task that runs in this Python worker; on an executor."""
    context = TaskContext.get()
    if context is None:
        return Task()
    gpus = context.resources().get(GPU)
    return Task(context.partitionId(), tuple(gpus.addresses) if gpus else ())


@lru_cache(maxsize=1)
def facts(context: SparkContext) -> Facts:
    """The facts of a running session. Its settings are fixed; reading them from the JVM takes 50 ms."""
    return Facts.of(str(context.master), dict(context.getConf().getAll()))


def _profile(needs: Resources, executor: ExecutorResourceRequests | None) -> ResourceProfile:
    tasks = TaskResourceRequests().cpus(needs.cpus)
    if needs.gpus:
        tasks = tasks.resource(GPU, needs.gpus)
    builder = ResourceProfileBuilder().require(tasks)
    return (builder.require(executor) if executor else builder).build


def _executor(needs: Resources, session: Facts) -> ExecutorResourceRequests:
    """Like the session's executors, but with as many GPUs as this stage's tasks take; a CPU stage's have none."""
    cores = needs.executor_cores or max(session.executor_cores, needs.cpus)
    executor = ExecutorResourceRequests().cores(cores).memory(needs.executor_memory or session.executor_memory)
    if session.overhead:
        executor = executor.memoryOverhead(session.overhead)
    if needs.gpus:
        amount = needs.executor_gpus or max(session.executor_gpus, math.ceil(needs.gpus))
        executor = executor.resource(GPU, amount, session.script, session.vendor)
    return executor
