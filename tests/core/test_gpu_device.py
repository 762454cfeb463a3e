"""The device of a task's model: the CPU, or the GPU that Spark assigned to the task."""

from __future__ import annotations

import pytest

from tests.support.hidden import run_without
from udfs.core import gpu_device
from udfs.core.errors import RunError
from udfs.core.gpu_device import NoDeviceError, Task, device, index, numbers, visible_gpus


def test_without_gpus_asked_for_the_device_is_the_cpu() -> None:
    assert device(Task(), 0.0, "auto") == "cpu"
    assert device(Task(gpus=("3",)), 1.0, "cpu") == "cpu"


def test_a_gpu_that_is_not_there_is_loud() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(NoDeviceError, match=r"sees no GPU, and the stage needs 0\.25"):
        device(Task(), 0.25, "auto")
    with pytest.raises(NoDeviceError, match=r"models\.device = 'cpu' runs it on the CPU$"):
        device(Task(gpus=("0",)), 1.0, "cuda")
    assert issubclass(NoDeviceError, RunError)  # so that it ends a run in one line


@pytest.mark.gpu
@pytest.mark.skipif(not visible_gpus(), reason="needs a GPU")
def test_a_gpu_that_is_there_is_numbered() -> None:
    assert device(Task(gpus=("0",)), 1.0, "auto") == "cuda:0"
    assert device(Task(partition=visible_gpus()), 0.0, "cuda") == "cuda:0"


@pytest.mark.parametrize(
    ("task", "visible", "gpu"),
    [
        (Task(gpus=("2",)), 4, 2),
        (Task(gpus=("2", "3")), 4, 2),  # a task with several: its first
        (Task(gpus=("2",)), 1, 0),  # a container's only one
        (Task(gpus=("GPU-6f0b",)), 1, 0),
        (Task(partition=5), 2, 1),  # local mode: in turn
        (Task(partition=5), 0, 0),
    ],
)
def test_the_gpu_of_a_task(task: Task, visible: int, gpu: int) -> None:
    assert index(task, visible) == gpu


def test_without_torch_no_gpu_is_seen() -> None:
    done = run_without("torch", "from udfs.core.gpu_device import visible_gpus; print(visible_gpus())")
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


@pytest.mark.parametrize(
    ("gpus", "visible", "expected"),
    [
        (2.0, 8, [[0, 1], [2, 3], [4, 5], [6, 7], [0, 1]]),
        (3.0, 8, [[0, 1, 2], [3, 4, 5], [0, 1, 2], [3, 4, 5], [0, 1, 2]]),
        (0.5, 2, [[0], [1], [0], [1], [0]]),
    ],
)
def test_tasks_that_take_several_gpus_take_groups_in_turn(gpus: float, visible: int, expected: list[list[int]]) -> None:
    tasks = (Task(partition) for partition in range(len(expected)))
    assert [numbers(index(task, visible, gpus), gpus, task.gpus) for task in tasks] == expected


def test_more_gpus_than_there_are_is_loud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_device, "visible_gpus", lambda: 2)
    assert device(Task(1), 2.0, "auto") == "cuda:0"
    with pytest.raises(NoDeviceError, match="sees 2 GPUs, and the stage needs 3"):
        device(Task(), 3.0, "auto")
