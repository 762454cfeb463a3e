"""Estimates of pending work: by media or by number, from the last runs, with what the stages before will add."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs.queries import rates
from jobs.queries.pending import Pending
from jobs.queries.rates import Rate

START = datetime(2026, 5, 1, 12, 30)


def run(run_id: str, stage: str, num_in: int, media_s: float | None, seconds: float, **more: Any) -> dict[str, Any]:
    """A row of `runs`."""
    ends = {"started_at": f"{START.isoformat()}Z", "ended_at": f"{(START + timedelta(seconds=seconds)).isoformat()}Z"}
    known = {"cpu_s": 2 * seconds, "gpu_s": None, "cost_usd": None}
    return {"run_id": run_id, "stage": stage, "num_in": num_in, "media_s": media_s, **ends, **known, **more}


CHAIN = [
    run("1", "split", 2, 100.0, 10.0),
    run("1", "clip", 2, 80.0, 20.0, cost_usd=0.5),
    run("1", "analyze", 8, 80.0, 8.0),
    run("1", "embed", 6, 60.0, 6.0, gpu_s=3.0),
    run("1", "filter", 8, None, 1.0),
]


def estimates(found: list[Pending], rows: list[dict[str, Any]], **more: float) -> dict[str, rates.Estimate]:
    """The estimates by stage."""
    return {row.stage: row for row in rates.estimates(found, rates.measured(lambda _: rows), **more)}


def chain(**pending: tuple[int, float | None]) -> list[Pending]:
    """The stages of the chain with what is pending."""
    return [Pending(row["stage"], *pending.get(row["stage"], (0, None))) for row in CHAIN]


def test_waves_of_a_run_are_added() -> None:
    found = rates.measured(lambda _: [run("1", "clip", 2, 8.0, 4.0), run("1", "clip", 3, 2.0, 1.0)])
    assert found == {"clip": {"1": Rate(5, 10.0, 5.0, 10.0, None, None)}}


def test_work_is_scaled_by_seconds_of_media() -> None:
    found = estimates(chain(clip=(5, 40.0)), CHAIN)["clip"]
    assert [found.seconds, found.cpu_s, found.usd] == pytest.approx([10.0, 20.0, 0.25])


def test_what_one_stage_makes_is_pending_in_the_next() -> None:
    found = estimates(chain(split=(1, 50.0)), CHAIN)
    assert [found[stage].added_media_s for stage in ("split", "clip", "analyze", "embed")] == [0, 40.0, 40.0, 30.0]
    assert found["filter"].added == pytest.approx(4.0)
    assert found["filter"].seconds == pytest.approx(0.5)
    assert found["embed"].gpu_s == pytest.approx(1.5)


def test_new_videos_go_through_the_whole_chain() -> None:
    found = estimates(chain(), CHAIN, new_media_s=200.0)
    assert [found[stage].seconds for stage in ("split", "clip", "analyze", "embed", "filter")] == [
        *(pytest.approx(seconds) for seconds in (20.0, 40.0, 16.0, 12.0, 2.0)),
    ]


def test_a_stage_that_was_never_measured_has_no_estimate() -> None:
    found = estimates(chain(split=(1, 50.0), embed=(1, 10.0)), CHAIN[:3])
    assert found["embed"].seconds is None
    assert found["embed"].added_media_s == 40.0  # as much as the stage before it works on
    assert rates.totals(found.values())["seconds"] is None
    whole = rates.totals(estimates(chain(clip=(5, 40.0)), CHAIN).values())
    assert whole["seconds"] == pytest.approx(10.0 + 4.0 + 3.0 + 0.5)  # of all stages from clip on


def test_only_the_last_runs_count() -> None:
    slow = [run(f"{i}", "clip", 1, 10.0, 100.0) for i in range(3)]
    fast = [run(f"{i}", "clip", 1, 10.0, 1.0) for i in range(3, 8)]
    assert estimates([Pending("clip", 1, 10.0)], slow + fast)["clip"].seconds == pytest.approx(1.0)


def test_nothing_pending_takes_nothing() -> None:
    found = estimates(chain(), CHAIN)
    assert {row.seconds for row in found.values()} == {0.0}
    assert rates.totals(found.values()) == {"seconds": 0, "cpu_s": 0, "usd": 0}
    assert rates.totals(rates.estimates([], {})) == {"seconds": 0, "cpu_s": 0, "usd": 0}
