"""The simulation: costs follow the rates, and a limit that is used more comes first."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.bench import scale
from tests.bench.scale import Library
from tests.support.goals import Report, Row


def test_twice_the_hours_cost_twice_as_much() -> None:
    one, two = ({name: usd for name, _, usd in scale.costs(Library(hours=hours))} for hours in (1e5, 2e5))
    assert two == {name: pytest.approx(2 * usd) for name, usd in one.items()}


def test_cpu_hours_are_the_rate_by_the_size_of_the_picture() -> None:
    library = Library(hours=100, pixels=4 * 640 * 360, cpu={"clip": 36.0, "embed": 36.0})
    assert library.cpu_hours("clip") == pytest.approx(4.0)
    assert library.cpu_hours("embed") == pytest.approx(1.0)


def test_the_nearest_limit_comes_first() -> None:
    shares = [limit.share for limit in scale.limits(Library())]
    assert shares == sorted(shares, reverse=True)


def test_more_waves_bring_commits_and_scans_nearer_to_their_limits() -> None:
    def shares(library: Library) -> dict[str, float]:
        return {limit.what: limit.share for limit in scale.limits(library)}

    few = Library(video_min=60)
    many = dataclasses.replace(few, video_min=6)
    assert many.waves > 4 * few.waves
    for what in ("commits of a run", "scans for pending work of a run", "files per table"):
        assert shares(many)[what] == pytest.approx(many.waves / few.waves * shares(few)[what])


def test_measured_rates_come_before_the_defaults(tmp_path: Path) -> None:
    Report("scaling", [Row(scale.rate_name("clip"), 77.0, "CPU s")]).write(tmp_path)
    assert scale.measured_cpu(folder=tmp_path) == scale.DEFAULT_CPU | {"clip": 77.0}


def test_the_report_names_every_cost_and_limit() -> None:
    text = scale.report(Library())
    assert all(f"| {name} |" in text for name, _, _ in scale.costs(Library()))
    assert all(f"| {limit.what} |" in text for limit in scale.limits(Library()))
