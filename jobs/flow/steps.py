"""Steps of a run that have no inputs to count, on its board and as names of Spark's jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from jobs.lake.run import Run
from jobs.spark import job_names


@contextmanager
def step(run: Run, name: str) -> Iterator[None]:
    """A step of a run, until the block ends."""
    with run.board.step(name), named(run, name):
        yield


@contextmanager
def named(run: Run, text: str) -> Iterator[None]:
    """Give Spark's jobs that this thread starts a name, until the block ends."""
    with job_names.described(run.spark, run.run_id, text):
        yield
