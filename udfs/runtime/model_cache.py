"""A loader and a device -> its model, loaded once a process and kept from task to task."""

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
from udfs.runtime.gpu_slots import Slot

log = logging.getLogger("reelmill")

Model = Callable[[list[Any]], Any]
Load = Callable[[str], Model]  # of a device; a partial of frozen values, so that two tasks' loaders can be told to be the same
_held: dict[str, Any] = {}  # this process's model, under "model", what it was loaded by, under "key", and its "slot"


@contextmanager
def resident(load: Load, task: Task, resources: Resources, choice: Any) -> Iterator[Model]:
    """The model for the length of a task: the one this process has, if it is the same, else a new one in its place.

    On a GPU no more processes hold a model than tasks may share it: this waits until an idle one has let go of its own.
    """
    on = device(task, resources.gpus, choice)
    gpu = _gpu_name(on, task)
    if gpu is None:
        yield _model(load, on, resources.cpus)
        return
    slot = _slot(gpu, resources.share)
    try:
        yield _model(load, on, resources.cpus)
    finally:
        slot.busy.release()


def _slot(gpu: str, share: int) -> Slot:
    """A slot with `busy` held; that of the last task, where nobody has asked for it in the meantime."""
    slot: Slot | None = _held.get("slot")
    if slot is not None:
        slot.busy.acquire()
        if slot.held and (slot.gpu, slot.share) == (gpu, share):
            return slot
        slot.release()
        slot.busy.release()
    slot = Slot(gpu, share, drop)
    slot.busy.acquire()
    while not slot.held:  # taken back between the two lines above
        slot.busy.release()
        slot = Slot(gpu, share, drop)
        slot.busy.acquire()
    _held["slot"] = slot
    return slot


def _model(load: Load, on: str, threads: int) -> Model:
    key = (*_identity(load), on)
    if _held.get("key") != key:
        drop()
        started = time.monotonic()
        _held["model"] = load(on)
        _held["key"] = key
        torch = sys.modules.get("torch")
        if torch is not None and on == "cpu":
            torch.set_num_threads(threads)  # its own choice is a thread a core, in every one of as many tasks
        log.info("loaded %s on %s in %.1f s", key[0].__module__, on, time.monotonic() - started)
    model: Model = _held["model"]
    return model


def _identity(load: Load) -> tuple[Any, ...]:
    if isinstance(load, partial):
        return load.func, load.args, tuple(sorted(load.keywords.items()))
    return (load,)


def drop() -> None:
    """Forget the model, and give its memory back to the GPU."""
    _held.pop("key", None)
    if _held.pop("model", None) is None:
        return
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _gpu_name(on: str, task: Task) -> str | None:
    """What names a GPU on its host; None where the model uses none."""
    if on == "cpu":
        return task.gpus[0] if task.gpus else None
    import torch

    return str(torch.cuda.get_device_properties(on).uuid)  # an address may count within a container
