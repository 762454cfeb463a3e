"""Choose the device of a task's model: `cpu`, or one of the GPUs that Spark assigned to the task."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from udfs.core.errors import RunError

Choice = Literal["auto", "cpu", "cuda"]
NO_GPU = "this machine has no GPU that torch can use"


@dataclass(frozen=True)
class Task:
    """A running Spark task: its partition and the addresses of its GPUs."""

    partition: int = 0
    gpus: tuple[str, ...] = ()


FATAL_CUDA_ERRORS = ("CUDA error", "device-side assert", "CUBLAS_STATUS", "CUDNN_STATUS", "illegal memory access")


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a GPU was too full for a batch."""
    return type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error)


def has_failed(error: RuntimeError) -> bool:
    """Whether this process can no longer use its GPU after an error."""
    return any(sign in str(error) for sign in FATAL_CUDA_ERRORS)


class NoDeviceError(RunError):
    """A stage needs a GPU and torch sees none: no card, a broken driver, or a build of torch without CUDA."""


def device(task: Task, gpus: float, choice: Choice) -> str:
    """`cpu` or `cuda:N`, for a stage each of whose tasks takes `gpus` GPUs.

    Where Spark assigns no addresses (local mode), the partition number chooses the GPU.

    Raises:
        NoDeviceError: the stage needs a GPU and torch sees none. On the CPU it would silently take
            many times longer.
    """
    if choice == "cpu" or (gpus == 0 and choice == "auto"):
        return "cpu"
    visible = visible_gpus()
    if not visible:
        import torch

        where = f"torch {torch.__version__} on {os.uname().nodename}"
        raise NoDeviceError(
            f"{where} sees no GPU, and the stage needs {gpus:g}; models.device = 'cpu' runs it on the CPU"
        )
    return f"cuda:{index(task, visible)}"


def visible_gpus() -> int:
    """The number of GPUs that torch can use in this process; 0 if torch is not installed."""
    if find_spec("torch") is None:
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def index(task: Task, visible: int) -> int:
    """The number of a task's GPU among those that this process sees."""
    if not task.gpus:
        return task.partition % max(1, visible)
    # On YARN and Kubernetes addresses count the host's GPUs, while a container sees only its own.
    address = int(task.gpus[0]) if task.gpus[0].isdigit() else 0
    return address if address < visible else 0
