"""Compute what a stage costs in dollars from its seconds of CPU cores and GPUs."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

Price = Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[cost]"""

    cpu_core_hour: Annotated[
        Price, Field(description="dollars per CPU core and hour; 0: unknown, no cost is computed")
    ] = 0.0
    gpu_hour: Annotated[
        Price, Field(description="dollars per GPU and hour; 0: unknown, no cost for stages on GPUs")
    ] = 0.0


def usd(params: Params, cpu_s: float | None, gpu_s: float | None, gpus: float) -> float | None:
    """Dollars for the seconds of a stage, None where a price or a number of seconds is not known.

    `gpus` is the share of a GPU that each task takes, 0 if the stage ran on cores.
    """
    if cpu_s is None or (gpus and gpu_s is None):
        return None
    on_gpu_s = (gpu_s or 0.0) * gpus
    if (cpu_s and not params.cpu_core_hour) or (on_gpu_s and not params.gpu_hour):
        return None
    return (cpu_s * params.cpu_core_hour + on_gpu_s * params.gpu_hour) / 3600
