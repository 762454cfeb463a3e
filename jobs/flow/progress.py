"""The progress of a stage: a live line on a terminal, and a log line when it ends."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import Any

from pyspark import Accumulator
from pyspark.sql import Row
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from jobs.lake.run import Run

log = logging.getLogger("reelmill")
POLL_S = 0.3


class Progress:
    """Count a stage's inputs as its tasks finish them, and show their number, the rate and the time left."""

    def __init__(self, run: Run, stage: str, items: list[Row]) -> None:
        self.stage = stage
        self.total = len(items)
        self.done: Accumulator[int] = run.spark.sparkContext.accumulator(0)
        self.started = time.monotonic()
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True) if run.live else None

    def __enter__(self) -> Progress:
        if self._watcher:
            self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._watcher:
            self._watcher.join()
        if kind is None:
            seconds = time.monotonic() - self.started
            log.info("%s: %d done in %.1f s, %.2f/s", self.stage, self.total, seconds, self.total / seconds)

    def _watch(self) -> None:
        shape: Any = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(show_speed=True),
        )
        with Bars(
            *shape, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
        ) as bars:
            line = bars.add_task(f"{self.stage:<8}", total=self.total)
            while not self._ended.wait(POLL_S):
                bars.update(line, completed=self.done.value)
