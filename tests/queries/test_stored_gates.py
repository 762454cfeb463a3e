"""Gates by stored settings: thresholds, switches, the user's own conditions, and settings of other releases."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobs.config.settings import load
from jobs.queries import stored_gates
from jobs.queries.gate_settings import params, read
from jobs.queries.stored_gates import Limit
from udfs import filter

LOUD: dict[str, Any] = {"columns": {"note": "string", "level": "float"}, "gate": "level < 0.5"}


def by_reason(settings: dict[str, Any]) -> dict[str, stored_gates.StoredGate]:
    """The gates of settings by their reasons."""
    return {gate.reason: gate for gate in stored_gates.gates(read(json.dumps(settings)))}


def test_every_gate_has_a_setting_that_turns_it_on() -> None:
    where = "filter.where=c.width > 9"
    gates = by_reason({"filter": {"where": "c.width > 9"}})
    off = filter.gates(load([], ["filter.duplicates=false"]).filter)
    assert off == []
    for reason, gate in gates.items():
        on = load([], [where if reason == "where" else f"{gate.switch}=true"]).filter
        reasons = {gate.reason for gate in filter.gates(on)} | ({"duplicate"} if on.duplicates else set())
        assert reason in reasons
    every = {
        f"filter.{switch}=true": "" for switch in ("motion", "black", "frozen", "blurred", "letterboxed", "aesthetic")
    }
    assert {gate.reason for gate in filter.gates(load([], [*every, where]).filter)} | {"duplicate"} == set(gates)


def test_a_threshold_is_that_of_the_settings() -> None:
    gate = by_reason({"filter": {"motion": True, "motion_global_mean_threshold": 0.002}})["motion_global_mean_low"]
    assert (gate.is_on, gate.shown) == (True, "motion_score_global_mean < 0.002")
    assert gate.limit == Limit("motion_score_global_mean", "<", 0.002)
    assert not by_reason({})["motion_global_mean_low"].is_on


def test_the_aesthetic_score_is_reduced_as_the_settings_say() -> None:
    gate = by_reason({"filter": {"aesthetic_reduction": "mean"}})["aesthetic_low"]
    assert (gate.score, gate.column, gate.fails) == (
        *("aesthetic_score", "aesthetic_score_mean", "aesthetic_score_mean < 3.5D"),
    )


def test_a_letterbox_is_a_share() -> None:
    limit = by_reason({})["letterboxed"].limit
    assert limit == Limit("(letterbox[2] * letterbox[3]) / (width * height)", "<", 0.7)


def test_a_condition_on_other_tables_is_shown_but_not_asked() -> None:
    gate = by_reason({"filter": {"where": "v.is_hdr"}})["where"]
    assert (gate.fails, gate.shown, gate.limit, gate.is_on) == (None, "NOT (v.is_hdr)", None, True)
    assert "where" not in by_reason({})


@pytest.mark.parametrize(
    ("condition", "limit"),
    [
        ("level < 0.5", Limit("loudness_level", ">=", 0.5)),
        ("level >= -2", Limit("loudness_level", "<", -2.0)),
        ("level BETWEEN 0 AND 1", None),
        ("note = 'loud'", None),
        ("level > 0.1 AND blur > 3", None),
    ],
)
def test_ones_own_gates_are_in_the_columns_of_verdicts(condition: str, limit: Limit | None) -> None:
    gate = by_reason({"custom": {"loudness": LOUD | {"gate": condition}}})["loudness"]
    assert gate.shown == f"NOT ({condition})"
    assert str(gate.fails).startswith("NOT (loudness_")
    assert (gate.switch, gate.limit) == ("custom.loudness.gate", limit)


@pytest.mark.parametrize("gate", [None, "", "(", "blur > 3"])
def test_what_is_no_condition_on_ones_own_columns_is_no_gate(gate: str | None) -> None:
    assert "loudness" not in by_reason({"custom": {"loudness": LOUD | {"gate": gate}}})


def test_a_clip_fails_by_its_score_or_for_lack_of_it() -> None:
    gate = by_reason({"custom": {"loudness": LOUD}})["loudness"]
    failed = [["loudness"], ["loudness_level_missing"], ["blur"], [], None]
    assert [gate.has_failed({"reasons": reasons}) for reasons in failed] == [True, True, False, False, False]


def test_settings_of_another_release_are_taken_as_far_as_they_are_known() -> None:
    assert params({"motion": True, "of_another_release": 1}).motion
    assert params({"blur_threshold": -5}) == filter.Params()  # out of the bounds of today
