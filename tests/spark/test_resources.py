"""Which profile a stage gets on which master, and why."""

from __future__ import annotations

import pytest

from jobs.config.errors import SettingsError
from jobs.config.settings import Settings, load
from jobs.lake.fingerprints import fingerprint
from jobs.spark.resources import Facts, choose
from udfs.core.task_resources import Resources

GPUS = {
    "spark.executor.cores": "8",
    "spark.executor.memory": "20g",
    "spark.executor.memoryOverhead": "10g",
    "spark.executor.resource.gpu.amount": "1",
    "spark.executor.resource.gpu.discoveryScript": "/opt/discover_gpus.sh",
    "spark.task.resource.gpu.amount": "0.125",
}
DYNAMIC = {"spark.dynamicAllocation.enabled": "true"}
CLUSTERS = ("yarn", "spark://host:7077", "k8s://https://host", "local-cluster[2,2,1024]")


def test_local_mode_has_no_profiles() -> None:
    profile, why = choose(Facts.of("local[4]", {}), Resources(gpus=0.25))
    assert profile is None
    assert why == "local[4] schedules by cores alone: tasks take turns on the GPUs"


@pytest.mark.parametrize("master", CLUSTERS)
def test_what_spark_gives_anyway_needs_no_profile(master: str) -> None:
    assert choose(Facts.of(master, GPUS), Resources(gpus=0.125)).profile is None
    assert choose(Facts.of(master, {}), Resources()).profile is None


@pytest.mark.parametrize("master", CLUSTERS)
def test_without_dynamic_allocation_the_profile_is_of_tasks_alone(master: str) -> None:
    profile, why = choose(Facts.of(master, GPUS), Resources(cpus=2, gpus=0.5))
    assert profile is not None
    assert {name: request.amount for name, request in profile.taskResources.items()} == {"cpus": 2.0, "gpu": 0.5}
    assert profile.executorResources == {}
    assert why == "without dynamic allocation, a profile of tasks alone"


@pytest.mark.parametrize("master", CLUSTERS)
def test_with_dynamic_allocation_a_stage_asks_for_executors_of_its_own(master: str) -> None:
    wanted = Resources(cpus=4, gpus=2, executor_cores=16, executor_gpus=4, executor_memory="64g")
    profile, _ = choose(Facts.of(master, GPUS | DYNAMIC), wanted)
    assert profile is not None
    asked = profile.executorResources
    assert {name: request.amount for name, request in asked.items()} == {
        "cores": 16,
        "memory": 64 * 1024,
        "memoryOverhead": 10 * 1024,
        "gpu": 4,
    }
    assert asked["gpu"].discoveryScript == "/opt/discover_gpus.sh"


def test_executors_of_a_stages_own_are_like_the_sessions_where_nothing_is_said() -> None:
    profile, _ = choose(Facts.of("yarn", GPUS | DYNAMIC), Resources(gpus=1))
    assert profile is not None
    assert {name: request.amount for name, request in profile.executorResources.items()} == {
        "cores": 8,
        "memory": 20 * 1024,
        "memoryOverhead": 10 * 1024,
        "gpu": 1,
    }


def test_a_cpu_stage_asks_for_no_gpu_executors() -> None:
    profile, _ = choose(Facts.of("yarn", GPUS | DYNAMIC), Resources(cpus=4))
    assert profile is not None
    assert "gpu" not in profile.executorResources
    assert "gpu" not in profile.taskResources


def test_a_cluster_without_gpus_gives_none() -> None:
    profile, why = choose(Facts.of("yarn", {}), Resources(gpus=1))
    assert profile is None
    assert why.startswith("spark.executor.resource.gpu.amount is not set")


def test_databricks_is_given_no_executor_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    profile, _ = choose(Facts.of("spark://driver:7077", GPUS | DYNAMIC), Resources(gpus=1))
    assert profile is not None
    assert profile.executorResources == {}


def test_resources_are_settings_of_the_stage() -> None:
    assert load([], ["embed.resources.gpus=0.25", "embed.resources.cpus=2"]).embed.resources == Resources(
        cpus=2, gpus=0.25
    )
    with pytest.raises(SettingsError, match=r"no setting embed\.resources\.gpu; did you mean embed\.resources\.gpus"):
        load([], ["embed.resources.gpu=1"])
    with pytest.raises(
        SettingsError, match=r"embed\.resources: gpus 0\.75: Spark takes 0, at most 0\.5, or a whole number"
    ):
        load([], ["embed.resources.gpus=0.75"])


def test_what_only_changes_the_cost_keeps_the_rows() -> None:
    settings = load([], ["embed.resources.gpus=1", "embed.batch_size=7"])
    assert fingerprint("embed", settings) == fingerprint("embed", Settings())
