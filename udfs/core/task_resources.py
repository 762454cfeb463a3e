"""[<stage>.resources]: what one task of a stage takes, of which jobs/spark/resources.py asks Spark."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

EFFORT = {"effort": True}  # json_schema_extra of a setting that changes what a stage costs, never what its rows hold


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Resources:
    """What a task takes; the executor_ settings count only where Spark may start executors for this stage alone."""

    cpus: Annotated[int, Field(ge=1, le=256, description="cores a task; as many threads decode for a model")] = 1
    gpus: Annotated[float, Field(ge=0, description="GPUs a task: 0, at most 0.5 (0.25: four tasks share one), or whole")] = 0.0
    executor_cores: Annotated[int | None, Field(ge=1, description="cores of an executor; as spark.executor.cores")] = None
    executor_gpus: Annotated[int | None, Field(ge=1, description="GPUs of an executor; as few as a task needs")] = None
    executor_memory: Annotated[str | None, Field(pattern=r"^\d+[kmgt]$", description="such as 16g; as spark.executor.memory")] = (
        None
    )

    def __post_init__(self) -> None:
        if 0.5 < self.gpus < 1 or (self.gpus > 1 and self.gpus != int(self.gpus)):
            raise ValueError(f"gpus {self.gpus:g}: Spark knows 0, at most 0.5, or a whole number")

    @property
    def share(self) -> int:
        """Tasks that may share one GPU."""
        return int(1 / self.gpus + 1e-6) if 0 < self.gpus < 1 else 1
