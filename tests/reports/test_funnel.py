"""The funnel counts clips and hours after each gate, and for each reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.reports import funnel
from jobs.reports.selection import Selection
from tests.reports.conftest import asking


def test_each_gate_leaves_fewer_clips(small: Path) -> None:
    found = funnel.read(asking(small), Selection(), ["blur", "motion", "duplicate"])
    assert [(step.name, step.number) for step in found.steps] == [
        ("videos", 2),
        ("spans", 4),
        ("clips", 4),
        ("after the gate blur", 3),
        ("after the gate motion", 3),
        ("after the gate duplicate", 2),
        ("kept", 2),
        ("kept, with a caption", 1),
    ]
    seconds = [step.hours * 3600 for step in found.steps]
    assert seconds == pytest.approx([42.5, 22.5, 22.5, 17.0, 17.0, 10.75, 10.75, 4.5])
    assert found.clips is found.steps[2]


def test_a_reason_counts_the_clips_that_it_drops_alone(small: Path) -> None:
    found = {reason.name: reason for reason in funnel.read(asking(small), Selection(), []).reasons}
    duplicate, motion = found["duplicate"], found["motion"]
    assert (duplicate.number, duplicate.alone) == (1, 1)
    assert [duplicate.hours * 3600, duplicate.alone_hours * 3600] == pytest.approx([6.25, 6.25])
    assert (motion.number, motion.alone) == (1, 0)


def test_the_numbers_are_those_of_the_views(library: Path) -> None:
    ask = asking(library)
    steps = {step.name: step.number for step in funnel.read(ask, Selection(), []).steps}
    view = {step: count for step, count, _ in ask("SELECT * FROM funnel")}
    assert steps["clips"] == view["clips"] == 700
    assert steps["kept"] == view["clips kept"]
    assert steps["kept, with a caption"] == view["clips with captions"] > 0
