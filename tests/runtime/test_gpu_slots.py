"""Slots on a GPU among processes that start, work, idle and are killed."""

from __future__ import annotations

import select
import time
import uuid

import pytest

from tests.support.slot_holders import holder, idle, said
from udfs.runtime.gpu_slots import Slot


@pytest.fixture
def gpu() -> str:
    return f"test-{uuid.uuid4().hex}"


def test_as_many_processes_have_a_slot_as_may_share_the_gpu(gpu: str) -> None:
    with holder(gpu, 2) as a, holder(gpu, 2) as b:
        assert [said(a), said(b)] == ["holds", "holds"]
        with holder(gpu, 2) as late:
            assert late.stdout is not None
            assert select.select([late.stdout], [], [], 1.5)[0] == []
            a.kill()
            assert said(late) == "holds"


def test_slots_of_two_sizes_fill_one_gpu(gpu: str) -> None:
    with holder(gpu, 4) as quarter:
        assert said(quarter) == "holds"
        with holder(gpu, 2) as half:
            assert said(half) == "holds"
            with holder(gpu, 1) as whole:
                assert whole.stdout is not None
                assert select.select([whole.stdout], [], [], 1.0)[0] == []
                idle(quarter)
                assert said(quarter) == "gave up"
                assert select.select([whole.stdout], [], [], 1.0)[0] == []
                idle(half)
                assert said(half) == "gave up"
                assert said(whole) == "holds"


def test_a_waiting_process_gets_the_slot_of_an_idle_one(gpu: str) -> None:
    with holder(gpu, 1) as first:
        assert said(first) == "holds"
        with holder(gpu, 1) as second:
            time.sleep(0.5)
            idle(first)
            assert said(first) == "gave up"
            assert said(second) == "holds"


def test_a_working_process_keeps_its_slot(gpu: str) -> None:
    with holder(gpu, 1) as first:
        assert said(first) == "holds"
        started = time.monotonic()
        with holder(gpu, 1) as second:
            time.sleep(1.0)
            idle(first)
            assert said(second) == "holds"
            assert time.monotonic() - started >= 1.0


def test_an_idle_process_keeps_its_slot_while_no_other_waits(gpu: str) -> None:
    drops: list[bool] = []
    slot = Slot(gpu, 1, lambda: drops.append(True))
    other = Slot(f"{gpu}-other", 1, lambda: None)
    time.sleep(0.5)
    assert slot.is_held
    assert other.is_held
    assert not drops


def test_the_slot_of_a_killed_process_is_free(gpu: str) -> None:
    with holder(gpu, 1) as first:
        assert said(first) == "holds"
        first.kill()
        first.wait()
        with holder(gpu, 1) as second:
            assert said(second) == "holds"
