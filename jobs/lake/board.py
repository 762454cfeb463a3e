"""What a run is doing: how far each stage is, for whoever shows it on a terminal, in a file or in a log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

log = logging.getLogger("reelmill")
POLL_S = 0.3  # between two looks at the counters


@dataclass
class Work:
    """One wave of a stage, or a step that has no inputs to count."""

    stage: str
    total: int | None
    done: Callable[[], int]
    failed: Callable[[], int]
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None

    @property
    def seconds(self) -> float:
        """How long it has taken so far, or took."""
        return (self.ended or time.monotonic()) - self.began


class StageState(NamedTuple):
    """How far a stage is, over the waves that have begun."""

    stage: str
    total: int | None  # inputs; None of a step that has none to count
    done: int
    failed: int  # of those that are done
    seconds: float
    at_work: bool

    @property
    def rate(self) -> float | None:
        """Inputs per second."""
        return self.done / self.seconds if self.done and self.seconds else None

    @property
    def left_s(self) -> float | None:
        """Seconds that the rest of the waves that have begun takes at this rate."""
        if self.total is None or not self.rate or not self.at_work:
            return None
        return max(0.0, (self.total - self.done) / self.rate)


class View(Protocol):
    """What shows a board."""

    def show(self, board: Board) -> None:
        """Show how it is now; called again and again by one thread."""

    def hide(self) -> None:
        """Leave the terminal to what is printed next."""

    def close(self, board: Board, outcome: str) -> None:
        """Show the end, which is done or failed."""


class Board:
    """The work of a run, wave by wave."""

    def __init__(self) -> None:
        self.waves: tuple[int, int] | None = None  # the number of the last one that began, from 1, and of all
        self._works: list[Work] = []
        self._views: list[View] = []
        self._showing = threading.Lock()

    def begin(self, stage: str, total: int | None, done: Callable[[], int], failed: Callable[[], int]) -> Work:
        """Begin a wave of a stage."""
        work = Work(stage, total, done, failed)
        self._works.append(work)
        return work

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A step that has no inputs to count."""
        work = self.begin(name, None, lambda: 0, lambda: 0)
        try:
            yield
        finally:
            self.end(work)

    def end(self, work: Work) -> None:
        """End a wave, or a step; its counters stay as they are."""
        done, failed = work.done(), work.failed()
        work.done, work.failed, work.ended = lambda: done, lambda: failed, time.monotonic()

    def states(self) -> list[StageState]:
        """The stages in the order in which they began."""
        by_stage: dict[str, list[Work]] = {}
        for work in [*self._works]:
            by_stage.setdefault(work.stage, []).append(work)
        return [_state(stage, works) for stage, works in by_stage.items()]

    @contextmanager
    def shown_by(self, views: Sequence[View]) -> Iterator[None]:
        """Let these show the board until the block ends."""
        ended = threading.Event()
        self._views = [*views]
        watcher = threading.Thread(target=self._watch, args=(ended,), name="board", daemon=True)
        if views:
            watcher.start()
        outcome = "failed"
        try:
            yield
            outcome = "done"
        finally:
            ended.set()
            if views:
                watcher.join()
            self._each(lambda view: view.close(self, outcome))
            self._views = []

    def hide(self) -> None:
        """Leave the terminal to what is printed next; nothing is shown on it any more."""
        with self._showing:
            self._each(lambda view: view.hide())

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(POLL_S):
            with self._showing:
                self._each(lambda view: view.show(self))

    def _each(self, do: Callable[[View], None]) -> None:
        """A view that breaks is logged and is asked no longer: the run goes on, and its other views too."""
        for view in [*self._views]:
            try:
                do(view)
            except Exception:
                log.exception("%s no longer shows the run", type(view).__name__.lower())
                self._views.remove(view)


def _state(stage: str, works: Sequence[Work]) -> StageState:
    totals = [work.total for work in works]
    return StageState(
        stage,
        None if None in totals else sum(total or 0 for total in totals),
        sum(work.done() for work in works),
        sum(work.failed() for work in works),
        sum(work.seconds for work in works),
        any(work.ended is None for work in works),
    )
