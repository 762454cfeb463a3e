"""The model of a process: loaded once, dropped for another one, and kept only while it has a slot on the GPU."""

from __future__ import annotations

import select
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support import fake_models
from tests.support.slot_holders import holder, said
from udfs.core.gpu_device import NoDeviceError, Task, visible_gpus
from udfs.core.task_resources import Resources
from udfs.runtime import model_cache
from udfs.runtime.model_cache import Load, Model, cached_model

WHOLE, HALF = Resources(gpus=1), Resources(gpus=0.5)


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    """No model and no slot of an earlier test, and none for a later one."""
    model_cache.drop()
    yield
    model_cache.drop()
    for slot in model_cache._cache.pop("slots", []):
        with slot.busy:
            slot.release()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where models say that they are loaded and dropped."""
    return tmp_path / "log"


@pytest.fixture
def gpu() -> str:
    """A GPU that no other test has."""
    return f"test-{uuid.uuid4().hex}"


def events(log: Path) -> list[str]:
    """What happened to the models, in order."""
    return [line.split()[0] for line in log.read_text(encoding="utf-8").splitlines()]


def run_task(load: Load, task: Task | None = None, resources: Resources | None = None) -> int:
    """A task that asks the model for one answer, on the CPU."""
    with cached_model(load, task or Task(), resources or Resources(), "cpu") as model:
        [(item, *_)] = model([7])
    return int(item)


def fake(log: Path, **settings: Any) -> Load:
    """A loader, made again for each task, as each task unpickles its own."""
    return partial(fake_models.load, **({"log": str(log)} | settings))


def test_tasks_with_the_same_settings_share_one_model(log: Path) -> None:
    assert [run_task(fake(log), Task(number)) for number in range(3)] == [7, 7, 7]
    assert events(log) == ["load"]


def test_the_order_of_settings_makes_no_other_model(log: Path) -> None:
    run_task(partial(fake_models.load, log=str(log), room=5))
    run_task(partial(fake_models.load, room=5, log=str(log)))
    assert events(log) == ["load"]


def test_another_model_is_loaded_once_the_first_is_dropped(log: Path) -> None:
    run_task(fake(log))
    run_task(fake(log, room=5))
    assert events(log) == ["load", "drop", "load"]


def load_a_file(path: str, device: str) -> Model:
    """A model whose weights are a file."""
    Path(path).read_bytes()
    return fake_models.load(device)


def test_a_model_that_does_not_load_is_tried_again_by_the_next_task(log: Path, tmp_path: Path) -> None:
    run_task(fake(log))
    missing = partial(load_a_file, str(tmp_path / "weights"))
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            run_task(missing)
    assert events(log) == ["load", "drop"]  # the memory of the first one was needed
    (tmp_path / "weights").touch()
    assert run_task(missing) == 7


def test_a_dropped_model_is_loaded_again(log: Path) -> None:
    run_task(fake(log))
    model_cache.drop()
    model_cache.drop()
    assert events(log) == ["load", "drop"]
    run_task(fake(log))
    assert events(log) == ["load", "drop", "load"]


def test_on_the_cpu_torch_has_as_many_threads_as_the_task_has_cores(log: Path) -> None:
    before = torch.get_num_threads()
    try:
        for cpus in (1, 3):
            run_task(fake(log, room=cpus), resources=Resources(cpus=cpus))
            assert torch.get_num_threads() == cpus
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(visible_gpus() > 0, reason="this machine has a GPU")
def test_without_its_gpu_a_model_is_not_loaded(log: Path) -> None:
    with pytest.raises(NoDeviceError), cached_model(fake(log), Task(), WHOLE, "auto"):
        pass
    assert not log.exists()


def test_a_process_that_waits_gets_the_gpu_when_the_task_ends(log: Path, gpu: str) -> None:
    with ExitStack() as stack:
        with cached_model(fake(log), Task(gpus=(gpu,)), WHOLE, "cpu"):
            other = stack.enter_context(holder(gpu, 1))
            assert other.stdout is not None
            assert select.select([other.stdout], [], [], 1.0)[0] == []
            assert events(log) == ["load"]
        assert said(other) == "holds"
        assert events(log) == ["load", "drop"]
        other.kill()
        other.wait()
        run_task(fake(log), Task(gpus=(gpu,)), WHOLE)
    assert events(log) == ["load", "drop", "load"]


def test_a_model_is_kept_from_task_to_task_while_no_process_waits(log: Path, gpu: str) -> None:
    for _ in range(3):
        run_task(fake(log), Task(gpus=(gpu,)), WHOLE)
    assert events(log) == ["load"]


def test_two_processes_share_a_gpu_of_which_each_takes_half(log: Path, gpu: str) -> None:
    with cached_model(fake(log), Task(gpus=(gpu,)), HALF, "cpu"), holder(gpu, HALF.share) as other:
        assert said(other) == "holds"
        assert events(log) == ["load"]


def test_a_task_on_another_gpu_gives_the_first_one_up(log: Path, gpu: str) -> None:
    run_task(fake(log), Task(gpus=(gpu,)), WHOLE)
    with cached_model(fake(log), Task(gpus=(f"{gpu}-other",)), WHOLE, "cpu"):
        assert events(log) == ["load", "drop", "load"]
        with holder(gpu, 1) as other:
            assert said(other) == "holds"


def test_a_task_that_fails_leaves_its_slot_to_the_next(log: Path, gpu: str) -> None:
    with pytest.raises(MemoryError):
        run_task(fake(log, room=0), Task(gpus=(gpu,)), WHOLE)
    assert not any(slot.busy.locked() for slot in model_cache._cache["slots"])
    run_task(fake(log), Task(gpus=(gpu,)), WHOLE)


def test_a_task_of_two_gpus_holds_both_and_gives_both_up(log: Path, gpu: str) -> None:
    names = (f"{gpu}-b", f"{gpu}-a")
    with ExitStack() as stack:
        with cached_model(fake(log), Task(gpus=names), Resources(gpus=2), "cpu"):
            others = [stack.enter_context(holder(name, 1)) for name in names]
            outputs = [other.stdout for other in others if other.stdout is not None]
            assert select.select(outputs, [], [], 1.0)[0] == []
        assert [said(other) for other in others] == ["holds", "holds"]
        assert events(log) == ["load", "drop"]
        for other in others:
            other.kill()
            other.wait()
        run_task(fake(log), Task(gpus=names), Resources(gpus=2))
        run_task(fake(log), Task(gpus=names), Resources(gpus=2))
    assert events(log) == ["load", "drop", "load"]
