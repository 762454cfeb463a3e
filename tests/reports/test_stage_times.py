"""Stages of a run beside the runs before it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from jobs.config.errors import UsageError
from jobs.reports import stage_times
from jobs.reports.stage_times import Measure
from tests.reports.conftest import asking
from tests.support import small_output
from tests.support.small_output import START


def test_the_last_run_is_compared_with_the_seven_before_it(library: Path) -> None:
    run = stage_times.read(asking(library), None)
    assert run is not None
    assert (run.run_id, run.num_before) == ("20260509T123000-abcdef", 7)
    assert [stage.times.stage for stage in run.stages][:3] == ["ingest", "split", "clip"]
    took = run.stages[0].took_s
    assert took.history == [11, 12, 10, 11, 12, 10, 11, 12]
    assert (took.value, took.median) == (12, 11)
    assert took.change == pytest.approx(1 / 11)
    assert run.stages[0].times.inputs_per_s == pytest.approx(700 / 12)
    assert run.stages[0].times.media_rate == pytest.approx(700 * 7 / 12)
    assert [stage.gpu_s.value is None for stage in run.stages] == [stage.times.stage != "embed" for stage in run.stages]


def test_a_run_is_named_by_its_beginning(library: Path) -> None:
    run = stage_times.read(asking(library), "20260502")
    assert run is not None
    assert (run.run_id, run.num_before) == ("20260502T123000-abcdef", 1)


def test_a_run_that_is_not_there_is_one_line(library: Path) -> None:
    with pytest.raises(UsageError, match=r"--run x: no such run; the last ones are 20260509T123000-abcdef, 20260508"):
        stage_times.read(asking(library), "x")


def test_nothing_is_compared_with_nothing() -> None:
    assert Measure(1.0, None, [1.0]).change is None
    assert Measure(None, 2.0, [None]).change is None


def test_a_stage_took_what_its_waves_took(tmp_path: Path) -> None:
    """Between them the other stages are at work."""
    waves = [
        {"stage": stage, "run_id": "1", "num_in": 4, "started_at": START + at, "ended_at": START + at + took}
        for at in (timedelta(), timedelta(hours=1))
        for stage, took in (("split", timedelta(seconds=2)), ("clip", timedelta(seconds=8)))
    ]
    small_output.fill(tmp_path, "runs", waves, "")
    run = stage_times.read(asking(tmp_path), None)
    assert run is not None
    took = {stage.times.stage: (stage.took_s.value, stage.times.inputs_per_s) for stage in run.stages}
    assert took == {"split": (4, 2), "clip": (16, 0.5)}
