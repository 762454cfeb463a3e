"""The GPUs that a task was given -> the device that its model runs on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from udfs.core.errors import RunError

Choice = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Task:
    """What Spark says of a running task: its partition and the addresses of its GPUs."""

    partition: int = 0
    gpus: tuple[str, ...] = ()


class NoDeviceError(RunError):
    """A GPU was asked for and there is none: no card, a broken driver, or a build of torch without CUDA."""


def device(task: Task, gpus: float, choice: Choice) -> str:
    """`cpu` or `cuda:N`, for a stage whose tasks take `gpus`.

    Where Spark gives no addresses (local mode), tasks are dealt to the GPUs in turn.

    Raises:
        NoDeviceError: the stage asks for a GPU and torch sees none. The CPU would take all night over it, and say nothing.
    """
    if choice == "cpu" or (gpus == 0 and choice == "auto"):
        return "cpu"
    visible = visible_gpus()
    if not visible:
        import torch

        where = f"torch {torch.__version__} on {os.uname().nodename}"
        raise NoDeviceError(f"{where} sees no GPU, and the stage asks for {gpus:g}; models.device = 'cpu' does without")
    return f"cuda:{index(task, visible)}"


def visible_gpus() -> int:
    """The number of GPUs that torch can use in this process; 0 if torch is not installed."""
    if find_spec("torch") is None:
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def index(task: Task, visible: int) -> int:
    """The number, among the GPUs that this process sees, of the one that a task was given."""
    if not task.gpus:
        return task.partition % max(1, visible)
    # YARN and Kubernetes name the host's GPUs and show a container only its own.
    address = int(task.gpus[0]) if task.gpus[0].isdigit() else 0
    return address if address < visible else 0
