"""Refuse settings that ask for a GPU where Spark runs on this machine, and this machine has no GPU."""

from __future__ import annotations

import os
from typing import Literal

from pyspark.sql import SparkSession

from jobs.config.errors import SettingsError
from jobs.spark.session import ONE_MACHINE
from udfs.core.gpu_device import NO_GPU, visible_gpus
from udfs.core.task_resources import Resources
from udfs.core.words import counted


def check(
    section: str, resources: Resources, device: Literal["auto", "cpu", "cuda"], spark_settings: dict[str, str]
) -> None:
    """Check that a stage's tasks find the GPUs that its settings ask for; a cluster decides by its own resources.

    Raises:
        SettingsError: `models.device` is cuda, or `<section>.resources.gpus` is above 0, without as many GPUs.
    """
    if device == "cpu" or not (resources.gpus or device == "cuda") or not runs_on_this_machine(spark_settings):
        return
    visible = visible_gpus()
    if visible >= max(1, resources.gpus):
        return
    if visible:
        asked = f"{section}.resources.gpus = {resources.gpus:g}"
        raise SettingsError(f"{asked}, but this machine has {counted(visible, 'GPU')} that torch can use")
    if device == "cuda":
        raise SettingsError(f"models.device = cuda, but {NO_GPU}: set it to auto or cpu")
    asked = f"{section}.resources.gpus = {resources.gpus:g}"
    raise SettingsError(f"{asked}, but {NO_GPU}: set it to 0, or models.device = cpu")


def runs_on_this_machine(spark_settings: dict[str, str]) -> bool:
    """Whether Spark's tasks run on this machine, as far as that is known before Spark starts.

    Databricks and spark-submit decide on the master by themselves.
    """
    active = SparkSession.getActiveSession()
    if active is not None:
        return ONE_MACHINE.fullmatch(str(active.sparkContext.master)) is not None
    if "DATABRICKS_RUNTIME_VERSION" in os.environ or "PYSPARK_GATEWAY_PORT" in os.environ:
        return False
    return ONE_MACHINE.fullmatch(spark_settings.get("spark.master", "local[*]")) is not None
