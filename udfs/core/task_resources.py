"""[<stage>.resources]: the cores, GPUs and memory that one task of a stage takes."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

EFFORT = {"effort": True}  # json_schema_extra of a setting that changes what a stage costs, but never its rows


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Resources:
    """What a task takes.

    The executor_ settings count only where Spark can start executors for one stage alone.
    """

    cpus: Annotated[int, Field(ge=1, le=256, description="cores per task; as many threads decode for a model")] = 1
    gpus: Annotated[
        float, Field(ge=0, description="GPUs per task: 0, at most 0.5 (0.25: four tasks share one), or whole")
    ] = 0.0
    executor_cores: Annotated[
        int | None, Field(ge=1, description="cores per executor; empty: spark.executor.cores")
    ] = None
    executor_gpus: Annotated[
        int | None, Field(ge=1, description="GPUs per executor; empty: as few as a task needs")
    ] = None
    executor_memory: Annotated[
        str | None, Field(pattern=r"^\d+[kmgt]$", description="per executor, such as 16g; empty: spark.executor.memory")
    ] = None

    def __post_init__(self) -> None:
        if 0.5 < self.gpus < 1 or (self.gpus > 1 and self.gpus != int(self.gpus)):
            raise ValueError(f"gpus {self.gpus:g}: Spark takes 0, at most 0.5, or a whole number")

    @property
    def share(self) -> int:
        """How many tasks may share one GPU."""
        return int(1 / self.gpus + 1e-6) if 0 < self.gpus < 1 else 1
