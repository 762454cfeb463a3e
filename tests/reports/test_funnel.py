"""The funnel counts clips and hours after each gate, and for each reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.reports import funnel
from jobs.reports.funnel import Amount, Reason
from jobs.reports.selection import Selection
from tests.reports.conftest import asking


def test_each_gate_leaves_fewer_clips(small: Path) -> None:
    found = funnel.read(asking(small), Selection(), ["blur", "motion", "duplicate"])
    assert [(step.name, step.number, step.hours * 3600) for step in found.steps] == [
        ("videos", 2, pytest.approx(42.5)),
        ("spans", 4, pytest.approx(22.5)),
        ("clips", 4, pytest.approx(22.5)),
        ("after the gate blur", 3, pytest.approx(17.0)),
        ("after the gate motion", 3, pytest.approx(17.0)),
        ("after the gate duplicate", 2, pytest.approx(10.75)),
        ("kept", 2, pytest.approx(10.75)),
        ("kept, with a caption", 1, pytest.approx(4.5)),
    ]
    assert found.clips == Amount("clips", 4, pytest.approx(22.5 / 3600))


def test_a_reason_counts_the_clips_that_it_drops_alone(small: Path) -> None:
    found = {reason.name: reason for reason in funnel.read(asking(small), Selection(), []).reasons}
    second = pytest.approx(6.25 / 3600)
    assert found["duplicate"] == Reason("duplicate", 1, second, 1, second)
    assert (found["motion"].number, found["motion"].alone) == (1, 0)


def test_the_numbers_are_those_of_the_views(library: Path) -> None:
    ask = asking(library)
    steps = {step.name: step.number for step in funnel.read(ask, Selection(), []).steps}
    view = {step: count for step, count, _ in ask("SELECT * FROM funnel")}
    assert steps["clips"] == view["clips"] == 700
    assert steps["kept"] == view["clips kept"]
    assert steps["kept, with a caption"] == view["clips with captions"] > 0
