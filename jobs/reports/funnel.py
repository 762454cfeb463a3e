"""The steps from videos to captioned clips, and the reasons against clips, with hours of video beside counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from jobs.queries.ask import Ask
from jobs.reports.selection import Selection

SOURCES = """
SELECT 'videos' AS step, count(*) AS count, sum(duration_s) / 3600 AS hours FROM {videos} AS videos
UNION ALL SELECT 'spans', count(*), sum(end_s - start_s) / 3600 FROM {spans} AS spans
UNION ALL SELECT 'clips', count(*), sum(duration_s) / 3600 FROM {verdicts} AS verdicts
UNION ALL SELECT 'kept, with a caption', count(*), sum(duration_s) / 3600
  FROM {verdicts} AS verdicts WHERE kept AND num_captions > 0
"""
REASONS = """
SELECT reasons, count(*) AS count, sum(duration_s) / 3600 AS hours FROM {verdicts} AS verdicts GROUP BY reasons
"""


BEFORE, CAPTIONED = ("videos", "spans", "clips"), "kept, with a caption"


class Amount(NamedTuple):
    """Clips or videos, and the hours of video in them."""

    name: str
    number: int
    hours: float


class Reason(NamedTuple):
    """The clips that a gate speaks against, and those of them that no other gate speaks against."""

    name: str
    number: int
    hours: float
    alone: int
    alone_hours: float


Sets = list[tuple[frozenset[str], Amount]]  # clips by all reasons against them


class Funnel(NamedTuple):
    """What came through each step, and why clips did not."""

    steps: list[Amount]
    reasons: list[Reason]

    @property
    def clips(self) -> Amount:
        """All clips, before any gate."""
        return next(step for step in self.steps if step.name == "clips")


def read(ask: Ask, selection: Selection, gates: Sequence[str]) -> Funnel:
    """The funnel of the selected clips, and of the videos and spans that they are from; `gates` orders the reasons."""
    views = {"videos": selection.of_videos("current_videos"), "spans": selection.of_videos("current_spans")}
    rows = ask(SOURCES.format(**views, verdicts=selection.verdicts))
    amounts = {step: Amount(step, count, hours or 0.0) for step, count, hours in rows}
    sets = [
        (frozenset(reasons), Amount("", count, hours or 0.0))
        for reasons, count, hours in ask(REASONS.format(verdicts=selection.verdicts))
    ]
    place = {reason: place for place, reason in enumerate(gates)}
    names = sorted({name for reasons, _ in sets for name in reasons}, key=lambda name: (place.get(name, -1), name))
    steps = [*(amounts[step] for step in BEFORE), *_gates(sets, names), amounts[CAPTIONED]]
    return Funnel(steps, [_reason(sets, name) for name in names])


def _gates(sets: Sets, names: Sequence[str]) -> Iterator[Amount]:
    """What is left after each gate, one after the other, and in the end."""
    for last, name in enumerate(names):
        yield _sum(f"after the gate {name}", (amount for found, amount in sets if found.isdisjoint(names[: last + 1])))
    yield _sum("kept", (amount for found, amount in sets if not found))


def _reason(sets: Sets, name: str) -> Reason:
    every = _sum(name, (amount for found, amount in sets if name in found))
    alone = _sum(name, (amount for found, amount in sets if found == {name}))
    return Reason(name, every.number, every.hours, alone.number, alone.hours)


def _sum(name: str, amounts: Iterable[Amount]) -> Amount:
    every = [*amounts]
    return Amount(name, sum(amount.number for amount in every), sum(amount.hours for amount in every))
