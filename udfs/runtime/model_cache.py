"""The model of this process, loaded once and kept from task to task."""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from udfs.core.gpu_device import Task, device, numbers
from udfs.core.task_resources import Resources
from udfs.models import user_models
from udfs.runtime.gpu_slots import Slot

log = logging.getLogger("reelmill")

Model = Callable[[list[Any]], Any]
# From a device. A partial of frozen values, so that the loaders of two tasks can be compared.
Load = Callable[[str], Model]
_cache: dict[str, Any] = {}  # "model", the "key" of its loader and device, and its "slots", one per GPU


@contextmanager
def cached_model(load: Load, task: Task, resources: Resources, choice: Any) -> Iterator[Model]:
    """The model for the duration of a task: that of this process if its loader is the same, else a new one.

    On a GPU no more processes keep a model than tasks may share the GPU: this waits until an idle
    process has dropped its model.
    """
    name = device(task, resources.gpus, choice)
    gpus = _gpu_ids(name, task, resources.gpus)
    if not gpus:
        yield _model(load, name, resources.cpus)
        return
    slots = _slots(gpus, resources.share)
    try:
        yield _model(load, name, resources.cpus)
    finally:
        for slot in slots:
            slot.busy.release()


def _slots(gpus: list[str], share: int) -> list[Slot]:
    """Slots whose `busy` is locked: those of the last task, unless another process has asked for one since.

    They are taken in one order, so that no two processes wait for each other.
    """
    slots: list[Slot] = _cache.get("slots", [])
    for slot in slots:
        slot.busy.acquire()
    if [(slot.gpu, slot.share) for slot in slots if slot.is_held] == [(gpu, share) for gpu in gpus]:
        return slots
    for slot in slots:
        slot.release()
        slot.busy.release()
    _cache["slots"] = slots = []
    for gpu in gpus:
        slots.append(_slot(gpu, share))
    return slots


def _slot(gpu: str, share: int) -> Slot:
    """A new slot whose `busy` is locked."""
    slot = Slot(gpu, share, drop)
    slot.busy.acquire()
    while not slot.is_held:  # another process asked for it between the two lines above
        slot.busy.release()
        slot = Slot(gpu, share, drop)
        slot.busy.acquire()
    return slot


def _model(load: Load, device: str, threads: int) -> Model:
    key = (*_identity(load), device)
    if _cache.get("key") != key:
        drop()
        started = time.monotonic()
        _cache["model"] = load(device)
        _cache["key"] = key
        torch = sys.modules.get("torch")
        if torch is not None and device == "cpu":
            torch.set_num_threads(threads)  # its default is a thread per core in each of as many tasks
        log.info("loaded %s on %s in %.1f s", key[0].__module__, device, time.monotonic() - started)
    model: Model = _cache["model"]
    return model


def _identity(load: Load) -> tuple[Any, ...]:
    if isinstance(load, partial):
        return load.func, load.args, tuple(sorted(load.keywords.items())), *user_models.places(load.args)
    return (load,)


def drop() -> None:
    """Drop the model, and return its memory to the GPU."""
    _cache.pop("key", None)
    if _cache.pop("model", None) is None:
        return
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _gpu_ids(device: str, task: Task, gpus: float) -> list[str]:
    """Identifiers of the task's GPUs on its host, sorted; none if the task has none."""
    if device == "cpu":
        return sorted(task.gpus[: max(1, int(gpus))])
    import torch

    visible, first = torch.cuda.device_count(), int(device.rpartition(":")[2])
    seen = {number % visible for number in numbers(first, gpus, task.gpus if gpus > 1 else ())}
    # Addresses may differ between containers.
    return sorted(str(torch.cuda.get_device_properties(number).uuid) for number in seen)
