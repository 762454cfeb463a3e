"""The progress of a stage: its tasks count inputs for the board of the run, and the log gets a line when it ends."""

from __future__ import annotations

import logging
from types import TracebackType

from pyspark import Accumulator
from pyspark.sql import Row

from jobs.lake.run import Run

log = logging.getLogger("reelmill")


class Progress:
    """Count a stage's inputs as its tasks finish them, and those that failed."""

    def __init__(self, run: Run, stage: str, items: list[Row]) -> None:
        context = run.spark.sparkContext
        self.total = len(items)
        self.done: Accumulator[int] = context.accumulator(0)
        self.failed: Accumulator[int] = context.accumulator(0)
        self._board = run.board
        self._work = run.board.begin(stage, self.total, lambda: self.done.value, lambda: self.failed.value)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._board.end(self._work)
        if kind is not None:
            return
        work, seconds = self._work, self._work.seconds
        event = {"stage": work.stage, "done": self.total, "failed": self.failed.value, "seconds": seconds}
        line = "%s: %d done in %.1f s, %.2f/s"
        log.info(line, work.stage, self.total, seconds, self.total / seconds, extra={"event": event})
