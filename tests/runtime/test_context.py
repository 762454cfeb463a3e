"""The context of a stage's work travels to workers, and its columns are those of no table."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace

import pytest

from schemas import TABLES
from udfs.core.gpu_device import Task
from udfs.core.limits import Limits
from udfs.models import registry
from udfs.runtime.context import COST, FAILURE, GPU_COST, Env
from udfs.storage.settings import Params as Sources

ENV = Env(
    media_root="s3://bucket/output/media",
    fingerprint="0123456789abcdef",
    limits=Limits(timeout_s=7),
    sources=Sources(roots=("/videos",)),
    models=registry.Params(device="cpu"),
)


def test_a_worker_gets_the_context_that_the_driver_made() -> None:
    assert pickle.loads(pickle.dumps(ENV)) == ENV


def test_a_task_has_the_context_of_its_stage_and_its_own_gpus() -> None:
    task = replace(ENV, task=Task(3, ("1",)))
    assert (task.task.partition, task.task.gpus, ENV.task) == (3, ("1",), Task())
    assert replace(task, task=Task()) == ENV
    with pytest.raises(FrozenInstanceError):
        ENV.media_root = "/elsewhere"  # type: ignore[misc]


def test_a_context_of_two_names_has_the_published_limits() -> None:
    env = Env("media", "f" * 16)
    assert (env.limits, env.sources, env.models) == (Limits(), Sources(), registry.Params())


def test_columns_of_failures_and_costs_are_those_of_no_table() -> None:
    """The driver takes them out of the results, and with them any column of the same name, but for that of the cost."""
    added = {*FAILURE, COST, GPU_COST}
    assert len(added) == 5
    kept = {field.name for name, table in TABLES.items() if name != "runs" for field in table.schema}
    assert added & kept <= {COST}
