"""The story of a clip: verdict, scores beside thresholds, duplicate, captions and failures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from jobs.api.output import Output
from jobs.config.errors import UsageError
from jobs.queries.why import Story, _own_gates, story
from tests.support import small_output


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output of literal rows whose last filter had a gate of its own, and a clip that failed."""
    output = small_output.write(tmp_path_factory.mktemp("output"))
    shutil.rmtree(output / "tables/runs")
    own = {"loudness": {"columns": {"loudness": "float"}, "gate": "loudness > 0.2"}}
    given = {"motion": True, "motion_global_mean_threshold": 0.002, "of_another_release": 1}
    conf = json.dumps({"filter": given, "custom": own})
    run = {"started_at": small_output.START, "conf": conf}
    stages = [{"stage": stage, "fingerprint": stage, **run} for stage in small_output.STAGES]
    small_output.fill(output, "runs", stages, "")
    failure = {"key": "c2", "stage": "embed", "code": "TIMEOUT", "message": "took\ntoo long", "run_id": "2"}
    shutil.rmtree(output / "tables/failures")
    small_output.fill(output, "failures", [{**failure, "failed_at": small_output.START}], "embed")
    return output


def clip_story(output: Path, clip: str) -> Story:
    """The story of a clip."""
    return story(Output(str(output)).rows, clip)


def test_a_dropped_clip_says_which_gates_it_failed(output: Path) -> None:
    found = clip_story(output, "c2")
    assert (found["verdict"], found["reasons"]) == ("dropped", ["motion", "blur"])
    assert found["source"]["video_uri"] == "/v/park.mp4"
    assert (found["source"]["start_s"], found["source"]["end_s"]) == (4.5, 10.0)
    assert [(row["stage"], row["code"]) for row in found["failures"]] == [("embed", "TIMEOUT")]
    text = repr(found)
    assert text.startswith("clip c2: dropped (motion, blur)\n  source     /v/park.mp4, 4.5-10 s")
    assert text.endswith("  failure    embed: TIMEOUT: took\\ntoo long")


def test_scores_stand_beside_the_thresholds_of_the_last_filter(output: Path) -> None:
    gates = {gate["reason"]: gate for gate in clip_story(output, "c1")["gates"]}
    assert gates["motion_global_mean_low"] == {
        "reason": "motion_global_mean_low",
        "score": "motion_score_global_mean",
        "value": 0.00123456,
        "fails_if": "motion_score_global_mean < 0.002",
        "on": True,
        "failed": False,
    }
    assert [reason for reason, gate in gates.items() if gate["on"]] == [
        *("motion_global_mean_low", "motion_patch_min_low", "duplicate", "loudness")
    ]


def test_gates_of_ones_own_stages_stand_below_the_built_in_ones() -> None:
    loud = {"columns": {"note": "string", "level": "float"}, "gate": "level < 0.5"}
    stages: dict[str, dict[str, Any]] = {"loudness": loud, "labels": {"columns": {"label": "string"}, "gate": None}}
    verdict = {"loudness_level": 0.75, "reasons": ["loudness"]}
    gate = {"reason": "loudness", "score": "loudness_level", "value": 0.75, "fails_if": "NOT (level < 0.5)"}
    assert [*_own_gates(stages, verdict)] == [gate | {"on": True, "failed": True}]
    [missing] = _own_gates(stages, {"loudness_level": None, "reasons": ["loudness_level_missing"]})
    assert missing["failed"]


def test_a_duplicate_names_the_clip_that_stands_for_it(output: Path) -> None:
    found = clip_story(output, "c4")
    assert found["duplicate_of"] | {"uri": None} == {
        "clip_id": "c1",
        "method": "phash",
        "similarity": 0.992,
        "linked_to": "c1",
        "uri": None,
        "video_uri": "/v/park.mp4",
        "start_s": 0.0,
        "end_s": 4.5,
    }
    assert "  duplicate  of c1: /v/park.mp4, 0-4.5 s (phash, similarity 0.992)" in repr(found).splitlines()
    assert clip_story(output, "c1")["stands_for"] == ["c4"]


def test_captions_come_in_the_order_of_their_windows(output: Path) -> None:
    found = clip_story(output, "c1")
    assert [row["start_frame"] for row in found["captions"]] == [0, 30]
    assert "  caption    30-59: two\\nlines | a bar" in repr(found).splitlines()
    assert found["previews"] == [small_output.PREVIEW]


def test_a_clip_without_a_verdict_has_a_story(output: Path, tmp_path: Path) -> None:
    unfiltered = Path(shutil.copytree(output, tmp_path / "output"))
    shutil.rmtree(unfiltered / "tables/verdicts")
    found = clip_story(unfiltered, "c2")
    assert (found["verdict"], found["gates"], found["duplicate_of"]) == (None, [], None)
    assert repr(found).startswith("clip c2: no verdict: `filter` has not seen it\n")


@pytest.mark.parametrize(
    ("clip", "line"), [("c", "4 clips begin with c: c1, c2, c3 ..."), ("x'", "no clip x'"), ("", "no clip ")]
)
def test_an_id_may_be_cut_as_long_as_it_means_one_clip(output: Path, clip: str, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        clip_story(output, clip)
    assert str(caught.value) == line
