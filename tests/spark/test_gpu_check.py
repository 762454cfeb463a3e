"""A GPU that settings ask for and this machine does not have is refused, unless a cluster decides."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from jobs.config.errors import SettingsError
from jobs.spark import gpu_check
from udfs.core.gpu_device import visible_gpus
from udfs.core.task_resources import Resources

LOCAL = {"spark.master": "local[2]"}
CLUSTERS = ["spark://host:7077", "yarn", "k8s://host:6443", "local-cluster[2,1,1024]"]
without_gpu = pytest.mark.skipif(visible_gpus() > 0, reason="this machine has a GPU")


@pytest.fixture(autouse=True)
def _before_spark_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests of this process may have started a session."""
    monkeypatch.setattr(SparkSession, "getActiveSession", lambda: None)


@without_gpu
@pytest.mark.parametrize("spark", [{}, LOCAL, {"spark.master": "local"}, {"spark.master": "local[*,4]"}])
def test_a_stage_that_takes_a_gpu_is_refused_on_one_machine(spark: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as error:
        gpu_check.check("embed", Resources(gpus=0.25), "auto", spark)
    line = (
        "embed.resources.gpus = 0.25, but this machine has no GPU that torch can use: "
        "set it to 0, or models.device = cpu"
    )
    assert str(error.value) == line


@without_gpu
def test_the_device_cuda_is_refused_on_one_machine() -> None:
    with pytest.raises(SettingsError, match=r"^models\.device = cuda, but this machine has no GPU"):
        gpu_check.check("embed", Resources(), "cuda", LOCAL)


@pytest.mark.parametrize("master", CLUSTERS)
def test_a_cluster_decides_for_itself(master: str) -> None:
    gpu_check.check("embed", Resources(gpus=1), "cuda", {"spark.master": master})


@pytest.mark.parametrize("variable", ["PYSPARK_GATEWAY_PORT", "DATABRICKS_RUNTIME_VERSION"])
def test_the_master_of_spark_submit_and_databricks_is_not_known_yet(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    gpu_check.check("embed", Resources(gpus=1), "cuda", {})
    assert not gpu_check.runs_on_this_machine(LOCAL)


@pytest.mark.parametrize(("gpus", "device"), [(0, "auto"), (0, "cpu"), (1, "cpu")])
def test_settings_that_use_no_gpu_pass(gpus: float, device: str) -> None:
    gpu_check.check("embed", Resources(gpus=gpus), device, LOCAL)  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.skipif(not visible_gpus(), reason="needs a GPU")
def test_a_gpu_that_is_here_passes() -> None:
    gpu_check.check("embed", Resources(gpus=1), "cuda", LOCAL)


def test_more_gpus_than_there_are_is_refused_on_one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "visible_gpus", lambda: 2)
    gpu_check.check("caption", Resources(gpus=2), "auto", LOCAL)
    with pytest.raises(SettingsError) as error:
        gpu_check.check("caption", Resources(gpus=3), "auto", LOCAL)
    assert str(error.value) == "caption.resources.gpus = 3, but this machine has 2 GPUs that torch can use"
