"""A clock that is set back during a run: its rows stay in their order, and the last run is the last."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.config.settings import load
from jobs.lake import clock, history, last_run
from jobs.lake.history import Work
from jobs.lake.last_run import CHAIN
from jobs.lake.run import Run
from tests.support.outputs import table

DAY_S = 86_400


@pytest.fixture
def _fresh() -> None:
    clock.restart()


def set_back(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the machine's clock show an earlier time from now on."""
    shown = time.time
    monkeypatch.setattr(time, "time", lambda: shown() - seconds)


@pytest.mark.usefixtures("_fresh")
def test_time_goes_on_whatever_the_clock_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    before = clock.now()
    set_back(monkeypatch, DAY_S)
    after = clock.now()
    assert timedelta(0) <= after - before < timedelta(seconds=10)
    set_back(monkeypatch, -2 * DAY_S)
    assert timedelta(hours=23) < clock.now() - after < timedelta(hours=25)
    clock.restart()
    set_back(monkeypatch, DAY_S)
    assert clock.now() < after + timedelta(hours=1)


@pytest.mark.spark
def test_a_clock_set_back_between_two_stages_loses_none_of_them(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "output"

    def chain(seconds: float) -> Run:
        run = Run(spark, str(output), load([], [])).after_last()
        started = clock.now()
        history.note(run, "clip", Work())
        set_back(monkeypatch, seconds)
        history.note(run, CHAIN, Work(started_at=started, cpu_s=0.0), summary=json.dumps({"at": run.run_id}))
        return run

    ids = []
    for _ in range(2):
        run = chain(DAY_S)
        ids.append(run.run_id)
        last = last_run.read(run.tables)
        assert json.loads(last.summary or "null") == {"at": run.run_id}
        assert "clip" in last.settled
    assert ids == sorted(ids)
    rows = [row for row in table(output, "runs") if row["run_id"] in ids]
    assert [row["run_id"] for row in sorted(rows, key=lambda row: row["ended_at"])] == sorted(2 * ids)
    assert all(row["started_at"] <= row["ended_at"] for row in rows)
