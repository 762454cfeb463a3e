"""Views of a run's board: a table on a terminal, the progress file of the output, and events of a log."""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import SparkSession
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from jobs.lake import fingerprints, history, progress_file
from jobs.lake.board import Board, StageState, View
from jobs.lake.run import Run
from jobs.spark import metrics
from udfs.core.words import duration

log = logging.getLogger("reelmill")
EVENTS_EVERY_S = 10.0  # between two events of a stage at work


@dataclass
class Terminal:
    """A line per stage on a terminal: done of all, the rate, the time left and failures."""

    bars: Bars | None = None
    hidden: bool = False
    tasks: dict[str, TaskID] = field(default_factory=dict)
    handlers: dict[logging.StreamHandler[Any], Any] = field(default_factory=dict)

    def show(self, board: Board) -> None:
        """Draw the stages that have begun."""
        states = board.states()
        if self.hidden or not states:
            return
        bars = self.bars or self._started()
        for state in states:
            if state.stage not in self.tasks:
                self.tasks[state.stage] = bars.add_task(
                    f"{state.stage:<9}", total=None, of="", rate="", left="", failed=""
                )
            bars.update(self.tasks[state.stage], **_cells(state))
        bars.refresh()

    def hide(self) -> None:
        """Wipe the lines, and let the log write to the terminal by itself again."""
        self.hidden = True
        if self.bars is None:
            return
        self.bars.stop()
        for handler, stream in self.handlers.items():
            handler.setStream(stream)
        self.bars = None

    def close(self, board: Board, outcome: str) -> None:
        """Wipe the lines."""
        self.hide()

    def _started(self) -> Bars:
        """The lines; what the log writes meanwhile comes above them."""
        columns = [TextColumn(f"{{task.{name}}}") for name in ("description", *_FIELDS)]
        bar = BarColumn(bar_width=20)
        stderr = sys.stderr
        self.bars = Bars(
            *(columns[0], bar, *columns[1:]),
            console=Console(stderr=True),
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
        )
        self.bars.start()
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is stderr:
                self.handlers[handler] = handler.setStream(sys.stderr)
        return self.bars


_FIELDS = ("fields[of]", "fields[rate]", "fields[left]", "fields[failed]")


def _cells(state: StageState) -> dict[str, Any]:
    """What a line shows of a stage."""
    if state.total is None:
        return {} if state.at_work else {"total": 1, "completed": 1, "left": duration(state.seconds)}
    left = f"{duration(state.left_s)} left" if state.left_s is not None else duration(state.seconds)
    return {
        "total": state.total,
        "completed": state.done,
        "of": f"{state.done}/{state.total}",
        "rate": f"{state.rate:.2f}/s" if state.rate else "",
        "left": left,
        "failed": f"{state.failed} failed" if state.failed else "",
    }


class File:
    """The progress file of the output."""

    def __init__(self, run: Run, job: str) -> None:
        self._run, self._every_s = run, progress_file.every_s(run.output)
        settings = {"fingerprints": fingerprints.every(run.settings), "settings": json.loads(history.conf(run))}
        head = {"run_id": run.run_id, "job": job, "started_at": progress_file.now_text(), "every_s": self._every_s}
        self._known = head | progress_file.process() | settings
        self._written = float("-inf")

    def show(self, board: Board) -> None:
        """Write the file again, every few seconds."""
        if time.monotonic() - self._written >= self._every_s:
            self._write(board, None)

    def hide(self) -> None:
        """Nothing: a file is in no one's way."""

    def close(self, board: Board, outcome: str) -> None:
        """Write how the run ended."""
        self._write(board, outcome)

    def _write(self, board: Board, outcome: str | None) -> None:
        now = progress_file.now_text()
        stages = [state._asdict() for state in board.states()]
        end = {"updated_at": now, "ended_at": now if outcome else None, "outcome": outcome}
        found = self._known | end | {"waves": board.waves, "stages": stages}
        progress_file.write(self._run.output, self._run.settings.sources, found)
        self._written = time.monotonic()


@dataclass
class Events:
    """A line of the log per stage at work, every few seconds, for programs that read the log."""

    written: float = field(default_factory=time.monotonic)

    def show(self, board: Board) -> None:
        """Log how far the stages at work are."""
        if time.monotonic() - self.written < EVENTS_EVERY_S:
            return
        self.written = time.monotonic()
        for state in board.states():
            if state.at_work:
                event = state._asdict() | {"rate": state.rate, "left_s": state.left_s}
                log.info("%s: at work", state.stage, extra={"event": event})

    def hide(self) -> None:
        """Nothing: a log is no terminal."""

    def close(self, board: Board, outcome: str) -> None:
        """Nothing: the last lines of the run say it."""


class Metrics:
    """Counters among Spark's metrics, which Prometheus collects from Spark's page."""

    def __init__(self, spark: SparkSession) -> None:
        self._counters = metrics.Counters(spark)

    def show(self, board: Board) -> None:
        """Set the counters of every stage."""
        for state in board.states():
            counts = {"done": state.done, "failed": state.failed, "total": state.total or 0}
            self._counters.set({f"{state.stage}.{name}": value for name, value in counts.items()})

    def hide(self) -> None:
        """Nothing: metrics are no terminal."""

    def close(self, board: Board, outcome: str) -> None:
        """Set the counters for the last time."""
        self.show(board)


def of_run(run: Run, job: str, *, writes: bool, events: bool) -> list[View]:
    """The views of a run: its file if it `writes`, and a terminal or events."""
    views: list[View] = [File(run, job)] if writes else []
    if metrics.are_served(run.spark):
        views.append(Metrics(run.spark))
    if events:
        return [*views, Events()]
    return [*views, Terminal()] if run.live else views
