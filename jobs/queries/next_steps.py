"""What a run leaves to look at, for the end of a run on a terminal: the funnel, and commands that explain the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jobs.queries import screen


def lines(command: Callable[[str], str], facts: Mapping[str, Any], width: int) -> Iterator[str]:
    """The lines; `command` gives the command line of a job, `facts` are those of `jobs.lake.summary`."""
    funnel = facts.get("funnel") or []  # what an earlier release noted has none
    if funnel:
        yield ""
        rows = [[step, str(count), f"{hours or 0.0:.2f}"] for step, count, hours in funnel]
        yield from screen.grid(["step", "count", "hours"], rows, width)
    yield ""
    if facts["num_refused"] or facts["later"]:
        yield screen.command("what failed", command("failures"))
    if facts.get("dropped_clip"):
        yield screen.command("why dropped", f"{command('why')} {facts['dropped_clip']}")
    yield screen.command("thresholds", command("scores"))
    yield screen.command("next run", f"{command('curate MANIFEST')} --plan")
