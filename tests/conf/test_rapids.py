"""conf/spark/rapids.conf: versions of plugin, Spark and Delta match, and every key is known."""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement

from jobs.spark.resources import Facts, choose
from udfs.core.task_resources import Resources

CONF = dict(
    line.split(maxsplit=1)
    for line in Path("conf/spark/rapids.conf").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
)
# What the jar rapids-4-spark_2.13-26.08.1 holds a shim for, beside Databricks 17.3; it compares the whole version.
SHIMS = {"26.08.1": {"4.0.0", "4.0.1", "4.0.2", "4.0.3", "4.0.4", "4.1.1", "4.1.2", "4.1.3", "4.2.0"}}
# From the plugin's own docs/configs.md and docs/additional-functionality/advanced_configs.md.
KEYS = {
    "spark.rapids.memory.gpu.allocFraction",
    "spark.rapids.memory.gpu.maxAllocFraction",
    "spark.rapids.memory.gpu.minAllocFraction",
    "spark.rapids.memory.gpu.pool",
    "spark.rapids.memory.gpu.reserve",
    "spark.rapids.memory.pinnedPool.size",
    "spark.rapids.python.concurrentPythonWorkers",
    "spark.rapids.python.memory.gpu.pooling.enabled",
    "spark.rapids.sql.batchSizeBytes",
    "spark.rapids.sql.concurrentGpuTasks",
    "spark.rapids.sql.exec.ArrowEvalPythonExec",
    "spark.rapids.sql.exec.MapInPandasExec",
    "spark.rapids.sql.exec.PythonMapInArrowExec",
    "spark.rapids.sql.python.gpu.enabled",
}


def coordinates() -> dict[str, str]:
    """The version of each package that the conf asks Maven for."""
    return {name: v for _, name, v in (package.split(":") for package in CONF["spark.jars.packages"].split(","))}


def test_the_plugin_knows_the_installed_spark() -> None:
    assert version("pyspark") in SHIMS[coordinates()["rapids-4-spark_2.13"]]


def test_no_spark_that_the_project_allows_is_unknown_to_the_plugin() -> None:
    requirements = [
        Requirement(line) for line in re.findall(r'^    "(pyspark[^"]*)"', Path("pyproject.toml").read_text(), re.M)
    ]
    known = SHIMS[coordinates()["rapids-4-spark_2.13"]]
    allowed = [v for v in (f"4.0.{patch}" for patch in range(2, 8)) if requirements[0].specifier.contains(v)]
    released = {"4.0.2", "4.0.3", "4.0.4", "4.0.5"}
    assert set(allowed) & released <= known


def test_delta_is_the_one_that_the_project_runs() -> None:
    assert coordinates()["delta-spark_2.13"] == version("delta-spark")


def test_every_key_is_one_that_the_plugin_knows() -> None:
    assert {key for key in CONF if key.startswith("spark.rapids.")} <= KEYS


def test_the_plugin_leaves_model_stages_and_memory_to_torch() -> None:
    assert CONF["spark.plugins"] == "com.nvidia.spark.SQLPlugin"
    assert CONF["spark.rapids.sql.exec.MapInPandasExec"] == "false"
    assert float(CONF["spark.rapids.memory.gpu.maxAllocFraction"]) <= 0.5


def test_a_stage_with_gpus_gets_a_profile_under_this_conf() -> None:
    assert choose(Facts.of("spark://host:7077", CONF), Resources(gpus=0.5)).profile is not None


def test_the_discovery_script_tells_what_nvidia_smi_lists(tmp_path: Path) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\nprintf '0\\n1\\n'\n", encoding="utf-8")
    smi.chmod(0o755)
    run = subprocess.run(
        ["conf/discover_gpus.sh"], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    assert run.stdout == '{"name": "gpu", "addresses": ["0","1"]}\n'
