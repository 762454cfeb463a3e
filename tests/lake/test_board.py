"""The board of a run: stages over their waves, rates, views that show it, and how it ended."""

from __future__ import annotations

import time

import pytest

from jobs.lake.board import POLL_S, Board


class Told:
    """A view that keeps what it was asked to show."""

    def __init__(self) -> None:
        self.shown = list[int]()
        self.hidden = False
        self.outcome = ""

    def show(self, board: Board) -> None:
        self.shown.append(sum(state.done for state in board.states()))

    def hide(self) -> None:
        self.hidden = True

    def close(self, board: Board, outcome: str) -> None:
        self.outcome = outcome


def test_a_stage_is_the_sum_of_its_waves() -> None:
    board = Board()
    first = board.begin("clip", 10, lambda: 10, lambda: 1)
    first.began -= 5
    board.end(first)
    second = board.begin("clip", 20, lambda: 5, lambda: 0)
    second.began -= 10
    board.begin("embed", 4, lambda: 0, lambda: 0)
    clip, embed = board.states()
    assert (clip.stage, clip.total, clip.done, clip.failed, clip.at_work) == ("clip", 30, 15, 1, True)
    assert clip.rate == pytest.approx(1.0, rel=0.1)
    assert clip.left_s == pytest.approx(15.0, rel=0.1)
    assert (embed.rate, embed.left_s) == (None, None)


def test_counters_stay_when_a_stage_has_ended() -> None:
    board, done = Board(), [3]
    work = board.begin("clip", 3, lambda: done[0], lambda: 0)
    board.end(work)
    done[0] = 0
    [state] = board.states()
    assert (state.done, state.at_work, state.left_s) == (3, False, None)


def test_a_step_has_no_number() -> None:
    board = Board()
    with board.step("dedup"):
        assert [(state.total, state.at_work) for state in board.states()] == [(None, True)]
    assert [(state.total, state.at_work) for state in board.states()] == [(None, False)]


def test_views_are_shown_until_the_end() -> None:
    board, view = Board(), Told()
    with board.shown_by([view]):
        board.begin("clip", 3, lambda: 2, lambda: 0)
        time.sleep(3 * POLL_S)
        board.hide()
    assert view.shown[-1] == 2
    assert (view.hidden, view.outcome) == (True, "done")
    number = len(view.shown)
    time.sleep(2 * POLL_S)
    assert len(view.shown) == number


def test_a_run_that_breaks_has_failed() -> None:
    board, view = Board(), Told()
    with pytest.raises(KeyError), board.shown_by([view]):
        raise KeyError("uri")
    assert view.outcome == "failed"


class Blind(Told):
    """A view that breaks when it is asked to show."""

    def show(self, board: Board) -> None:
        raise RuntimeError("no page")


def test_a_view_that_breaks_stops_neither_the_run_nor_the_others(caplog: pytest.LogCaptureFixture) -> None:
    board, blind, view = Board(), Blind(), Told()
    with board.shown_by([blind, view]):
        board.begin("clip", 3, lambda: 2, lambda: 0)
        time.sleep(4 * POLL_S)
    assert (view.shown[-1], view.outcome, blind.outcome) == (2, "done", "")
    [record] = caplog.records
    assert record.message == "blind no longer shows the run"
