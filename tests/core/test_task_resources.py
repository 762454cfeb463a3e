"""[<stage>.resources]: what a task may take, and how many tasks then share a GPU."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from udfs.core.task_resources import Resources


@pytest.mark.parametrize("gpus", [0.25, 0.33, 0.5, 1, 2])
def test_shares_that_spark_knows(gpus: float) -> None:
    assert Resources(gpus=gpus).share == {0.25: 4, 0.33: 3, 0.5: 2, 1: 1, 2: 1}[gpus]


def test_a_share_that_no_float_holds_exactly_is_still_whole() -> None:
    assert [Resources(gpus=1 / number).share for number in range(2, 50)] == list(range(2, 50))


def test_a_stage_on_the_cpu_has_one_task_per_slot() -> None:
    assert Resources().share == 1


@pytest.mark.parametrize("gpus", [0.51, 0.75, 1.5])
def test_shares_that_spark_does_not_know(gpus: float) -> None:
    with pytest.raises(ValidationError, match=rf"gpus {gpus}: Spark takes 0, at most 0\.5, or a whole number"):
        Resources(gpus=gpus)


@pytest.mark.parametrize(
    "settings",
    [
        {"gpus": -1},
        {"cpus": 0},
        {"cpus": 257},
        {"executor_cores": 0},
        {"executor_gpus": 0},
        {"executor_memory": "16 GB"},
        {"executor_memory": "16G"},
        {"gpu": 1},
    ],
)
def test_settings_out_of_bounds_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(settings))):
        TypeAdapter(Resources).validate_python(settings)


@pytest.mark.parametrize("memory", ["16g", "900m", "1t"])
def test_memory_is_written_as_spark_writes_it(memory: str) -> None:
    assert Resources(executor_memory=memory).executor_memory == memory
