"""The end of a run on a terminal: the funnel, and a command for what failed, what was dropped and what comes next."""

from __future__ import annotations

from typing import Any

from jobs.queries import next_steps

FACTS: dict[str, Any] = {
    "num_refused": 1,
    "later": [],
    "funnel": [["videos", 3, 0.0324], ["clips kept", 0, None]],
    "dropped_clip": "3c14f5e2",
}


def lines(**facts: Any) -> list[str]:
    """The lines of facts."""
    return [*next_steps.lines(lambda job: f"reelmill {job} -o out", FACTS | facts, 100)]


def test_the_funnel_comes_before_the_commands() -> None:
    assert lines() == [
        "",
        "  step        count  hours",
        "  videos          3   0.03",
        "  clips kept      0   0.00",
        "",
        "  what failed reelmill failures -o out",
        "  why dropped reelmill why -o out 3c14f5e2",
        "  thresholds  reelmill scores -o out",
        "  next run    reelmill curate MANIFEST -o out --plan",
    ]


def test_what_is_not_there_has_no_command() -> None:
    assert not any("failures" in line or " why " in line for line in lines(num_refused=0, dropped_clip=None))
    assert any("failures" in line for line in lines(num_refused=0, later=[["embed", 1]]))


def test_facts_of_an_earlier_release_have_no_funnel() -> None:
    earlier = {name: value for name, value in FACTS.items() if name not in ("funnel", "dropped_clip")}
    found = [*next_steps.lines(lambda job: job, earlier, 100)]
    assert found == ["", "  what failed failures", "  thresholds  scores", "  next run    curate MANIFEST --plan"]
