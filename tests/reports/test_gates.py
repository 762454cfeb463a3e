"""Scores and gates as the last run of `filter` had them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jobs.queries.gate_settings import GateSettings, read
from jobs.queries.stored_gates import comparison
from jobs.reports.gates import scores
from schemas import custom, knowing
from udfs import filter
from udfs.filter import Params

OWN = custom.declared("sharpness", {"sharpness": "float", "note": "string"}, {"sharpness": "how sharp"}, {}, "about")


def test_every_threshold_of_filter_is_there() -> None:
    gates = {score.gate.set.partition("=")[0] for score in scores(GateSettings()) if score.gate}
    assert gates == {f"filter.{name}" for name in Params.__annotations__ if name.endswith(("threshold", "eps"))}


def test_a_gate_is_as_the_run_had_it() -> None:
    by_name = {score.name: score for score in scores(read('{"filter": {"blurred": true, "blur_threshold": 25}}'))}
    blur, black = by_name["blur"].gate, by_name["blackness"].gate
    assert blur is not None
    assert black is not None
    assert (blur.reason, blur.sign, blur.threshold, blur.default, blur.on) == ("blurred", "<", 25, 20.0, True)
    assert (blur.switch, blur.set, blur.missing) == ("filter.blurred", "filter.blur_threshold={t}", "blur_missing")
    assert blur.passes == "coalesce(NOT (blur < {t}D), true)"
    assert (black.sign, black.on) == (">", False)
    assert [by_name[name].rounds_up for name in ("blur", "blackness", "distance")] == [False, True, True]


def test_clips_without_a_score_fail_where_such_are_dropped() -> None:
    gates = [score.gate for score in scores(GateSettings(Params(unscored="drop"))) if score.gate]
    assert gates[0].passes.endswith(", false)")
    assert [gate.reason for gate in gates if not gate.missing] == ["duplicate"]


def test_the_aesthetic_score_is_reduced_as_the_run_had_it() -> None:
    [score] = [one for one in scores(GateSettings(Params(aesthetic_reduction="mean"))) if one.name == "aesthetic_score"]
    assert score.sql == "aesthetic_score_mean"


def test_numbers_of_own_stages_are_scores_with_their_gates() -> None:
    settings = GateSettings(custom={"sharpness": {"gate": "sharpness >= 2.5"}})
    with knowing([OWN]):
        own = scores(settings)[-2]
    assert (own.name, own.about) == ("sharpness", "how sharp")
    assert own.gate is not None
    assert (own.gate.sign, own.gate.threshold, own.gate.switch, own.gate.reason) == ("<", 2.5, None, "sharpness")
    assert own.gate.set == "'custom.sharpness.gate=sharpness >= {t}'"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("loudness > 0.2", ("loudness", ">", 0.2)),
        ("loudness <= -3", ("loudness", "<=", -3.0)),
        ("note = 'x'", None),
        ("a > 1 AND b > 2", None),
        ("loudness > other", None),
        ("loudness >", None),
        ("", None),
    ],
)
def test_a_comparison_with_a_number_can_be_moved(condition: str, expected: object) -> None:
    assert comparison(condition) == expected


def test_the_distance_of_a_clip_is_the_least_eps_that_drops_it() -> None:
    [distance] = [score for score in scores(GateSettings()) if score.name == "distance"]
    similarity = np.array([0.9, 0.899, 1.0, 2.0])  # the last is a copy by hashes
    keys = distance.keys(np.array([0.0, 0.1, 0.2]))
    least = np.searchsorted(keys, distance.compared(similarity), "left")
    assert least.tolist() == [1, 2, 0, 0]
    assert distance.thresholds(similarity).tolist() == pytest.approx([0.1, 0.101, 0, 0])


def test_conditions_are_those_of_filter() -> None:
    every = replace(Params(), motion=True, black=True, frozen=True, blurred=True, letterboxed=True)
    fails = {gate.reason: gate.fails for gate in filter.gates(every)}
    for score in scores(GateSettings(every)):
        if score.gate and score.gate.reason in fails:
            assert f"NOT ({fails[score.gate.reason]})" in score.gate.passes.replace("{t}", repr(score.gate.threshold))
