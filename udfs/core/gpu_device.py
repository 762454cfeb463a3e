"""Choose the device of a task's model: `cpu`, or one of the GPUs that Spark assigned to the task."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from udfs.core.errors import RunError
from udfs.core.words import counted

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
    """A stage needs more GPUs than torch sees: no card, a broken driver, or a build of torch without CUDA."""


def device(task: Task, gpus: float, choice: Choice) -> str:
    """`cpu` or `cuda:N`, for a stage each of whose tasks takes `gpus` GPUs.

    Where Spark assigns no addresses (local mode), the partition number chooses the GPU.

    Raises:
        NoDeviceError: the stage needs more GPUs than torch sees. On the CPU it would silently take
            many times longer.
    """
    if choice == "cpu" or (gpus == 0 and choice == "auto"):
        return "cpu"
    visible = visible_gpus()
    if not visible or (not task.gpus and gpus > visible):
        import torch

        where = f"torch {torch.__version__} on {os.uname().nodename}"
        seen = counted(visible, "GPU") if visible else "no GPU"
        raise NoDeviceError(
            f"{where} sees {seen}, and the stage needs {gpus:g}; models.device = 'cpu' runs it on the CPU"
        )
    return f"cuda:{index(task, visible, gpus)}"


def visible_gpus() -> int:
    """The number of GPUs that torch can use in this process; 0 if torch is not installed."""
    if find_spec("torch") is None:
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def index(task: Task, visible: int, gpus: float = 1) -> int:
    """The number of a task's GPU, or of the first of several, among those that this process sees."""
    if not task.gpus:
        several = max(1, int(gpus))  # groups of so many, in turn
        return task.partition % max(1, visible // several) * several
    # On YARN and Kubernetes addresses count the host's GPUs, while a container sees only its own.
    address = int(task.gpus[0]) if task.gpus[0].isdigit() else 0
    return address if address < visible else 0


def numbers(first: int, gpus: float, addresses: Sequence[str]) -> list[int]:
    """The numbers of all GPUs of a task: its addresses if Spark assigned several, else consecutive ones."""
    if len(addresses) > 1 and all(address.isdigit() for address in addresses):
        return [int(address) for address in addresses]
    return list(range(first, first + max(1, int(gpus))))
