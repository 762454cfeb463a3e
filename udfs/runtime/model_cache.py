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

from udfs.core.gpu_device import Task, device
from udfs.core.task_resources import Resources
from udfs.models import user_models
from udfs.runtime.gpu_slots import Slot

log = logging.getLogger("reelmill")

Model = Callable[[list[Any]], Any]
# From a device. A partial of frozen values, so that the loaders of two tasks can be compared.
Load = Callable[[str], Model]
_cache: dict[str, Any] = {}  # "model", the "key" of its loader and device, and its "slot" on the GPU


@contextmanager
def cached_model(load: Load, task: Task, resources: Resources, choice: Any) -> Iterator[Model]:
    """The model for the duration of a task: that of this process if its loader is the same, else a new one.

    On a GPU no more processes keep a model than tasks may share the GPU: this waits until an idle
    process has dropped its model.
    """
    name = device(task, resources.gpus, choice)
    gpu = _gpu_id(name, task)
    if gpu is None:
        yield _model(load, name, resources.cpus)
        return
    slot = _slot(gpu, resources.share)
    try:
        yield _model(load, name, resources.cpus)
    finally:
        slot.busy.release()


def _slot(gpu: str, share: int) -> Slot:
    """A slot whose `busy` is locked: that of the last task, unless another process has asked for it since."""
    slot: Slot | None = _cache.get("slot")
    if slot is not None:
        slot.busy.acquire()
        if slot.is_held and (slot.gpu, slot.share) == (gpu, share):
            return slot
        slot.release()
        slot.busy.release()
    slot = Slot(gpu, share, drop)
    slot.busy.acquire()
    while not slot.is_held:  # another process asked for it between the two lines above
        slot.busy.release()
        slot = Slot(gpu, share, drop)
        slot.busy.acquire()
    _cache["slot"] = slot
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


def _gpu_id(device: str, task: Task) -> str | None:
    """An identifier of the GPU on its host; None if the task has none."""
    if device == "cpu":
        return task.gpus[0] if task.gpus else None
    import torch

    return str(torch.cuda.get_device_properties(device).uuid)  # addresses may differ between containers
