"""scheduling: tasks hold every input once and evenly, and waves stay within their limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.core.scheduling import Params, num_tasks, num_waves, pack

COSTS = st.lists(st.floats(0.01, 36_000), max_size=200)


@given(COSTS, st.integers(1, 64))
def test_every_input_is_in_exactly_one_task(costs: list[float], tasks: int) -> None:
    assert sorted(index for task in pack(costs, tasks) for index in task) == list(range(len(costs)))


@given(COSTS.filter(bool), st.integers(1, 64))
def test_no_task_is_dearer_than_the_bound_of_longest_first(costs: list[float], tasks: int) -> None:
    # Graham's list scheduling: the last input placed on the dearest task went to the cheapest one then.
    loads = [sum(costs[i] for i in task) for task in pack(costs, tasks)]
    assert max(loads) <= sum(costs) / tasks + max(costs) + 1e-6


@given(COSTS, st.integers(1, 64))
def test_the_dearest_task_comes_first(costs: list[float], tasks: int) -> None:
    loads = [sum(costs[i] for i in task) for task in pack(costs, tasks)]
    assert loads == sorted(loads, reverse=True)


@given(COSTS.filter(bool), st.integers(1, 64))
def test_no_task_stays_empty_while_there_is_work(costs: list[float], tasks: int) -> None:
    assert len(pack(costs, tasks)) == min(tasks, len(costs))


def test_a_long_film_does_not_wait_behind_short_ones() -> None:
    assert pack([1.0, 1.0, 1.0, 1.0, 100.0], 2) == [[4], [0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("costs", "slots", "tasks"),
    [([], 2, 1), ([1.0] * 3, 2, 3), ([10.0] * 100, 2, 8), ([300.0] * 100, 2, 100), ([30.0] * 1000, 2, 100)],
)
def test_tasks_fill_the_slots_and_stay_short(costs: list[float], slots: int, tasks: int) -> None:
    assert num_tasks(costs, slots, Params()) == tasks


@pytest.mark.parametrize(
    ("videos", "hours", "waves"), [(0, 0.0, 0), (1, 0.1, 1), (1000, 10.0, 1), (1001, 10.0, 2), (10, 5000.0, 10)]
)
def test_waves_are_bounded_by_videos_and_by_hours(videos: int, hours: float, waves: int) -> None:
    assert num_waves(videos, hours * 3600, Params()) == waves
