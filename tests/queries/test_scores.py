"""Distributions of scores: numbers that are none, thresholds, and what each gate would drop."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from jobs.config.errors import UsageError
from jobs.queries import delta_source, histogram, scores
from jobs.queries.duckdb_engine import Engine, Snapshot
from jobs.queries.reader import Reader
from schemas import knowing
from tests.support import small_output
from udfs.storage.settings import Params as Sources

MOTION = [0.0001, 0.0005, 0.002, 0.004, 0.008, 0.9, math.nan, math.inf, None, 0.003]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output of ten verdicts with odd numbers; the first clip is a duplicate, and two of an own stage are scored."""
    output = tmp_path_factory.mktemp("output")
    rows: list[dict[str, Any]] = [
        {
            "clip_id": f"c{i}",
            "video_id": "v",
            "kept": i > 0,
            "reasons": [] if i else ["duplicate"],
            "duration_s": 2.0,
            "motion_score_global_mean": motion,
            "blackness": 0.75 if i < 3 else 0.25,
            "letterbox": [0, 0, 64, 24],
            "width": 64,
            "height": 48,
            "link_method": "phash" if i == 0 else "semantic",
            "similarity": 0.99 if i == 0 else 0.95 if i == 1 else 0.1,
        }
        for i, motion in enumerate(MOTION)
    ]
    small_output.fill(output, "verdicts", rows, "filter")
    conf = {"filter": {"black": True}}
    run = {"stage": "filter", "started_at": small_output.START, "conf": json.dumps(conf), "fingerprint": "filter"}
    small_output.fill(output, "runs", [run], "")
    return output


def summary(output: Path, *names: str, **given: Any) -> dict[str, Any]:
    """The gates and scores."""
    rows = Snapshot(Engine(str(output), Sources(), "min")).rows
    with knowing(delta_source.custom_tables(str(output), Sources())):
        return scores.summary(Reader(str(output), "out", Sources(), "min", rows), given, names)


def gate(found: dict[str, Any], setting: str) -> dict[str, Any]:
    """A gate by its setting."""
    return next(gate for gate in found["gates"] if gate["setting"] == setting)


def score(found: dict[str, Any], name: str) -> dict[str, Any]:
    """A score by its name."""
    return next(score for score in found["scores"] if score["score"] == name)


def test_a_gate_that_is_off_says_what_it_would_drop(output: Path) -> None:
    found = summary(output)
    assert (found["clips"], found["kept"], found["seconds"]) == (10, 9, 20.0)
    assert gate(found, "filter.motion") == {
        "setting": "filter.motion",
        "on": False,
        "drops_if": ["motion_score_global_mean < 0.00098", "motion_score_per_patch_min_256 < 1e-06"],
        "drops": 2,
        "drops_kept": 1,
        "seconds_kept": 2.0,
    }
    assert [gate(found, name)["on"] for name in ("filter.black", "filter.duplicates", "filter.frozen")] == [
        *(True, True, False),
    ]


def test_every_gate_drops_what_its_condition_says(output: Path) -> None:
    drops = {gate["setting"]: gate["drops"] for gate in summary(output)["gates"]}
    assert drops == {
        "filter.motion": 2,
        "filter.black": 3,
        "filter.frozen": 0,
        "filter.blurred": 0,
        "filter.letterboxed": 10,  # a half of the frame
        "filter.aesthetic": 0,
        "filter.duplicates": 2,  # by hashes, and at 0.9
    }


def test_thresholds_may_be_tried(output: Path) -> None:
    found = summary(output, motion_global_mean_threshold=0.0035, duplicate_eps=0.04)
    assert gate(found, "filter.motion")["drops"] == 4
    assert gate(found, "filter.duplicates")["drops"] == 1
    assert score(found, "similarity")["limits"] == [{"sign": ">=", "threshold": 0.96}]


def test_clips_without_a_score_are_dropped_where_the_settings_say_so(output: Path) -> None:
    found = summary(output, unscored="drop")
    assert gate(found, "filter.frozen")["drops"] == 10
    assert gate(found, "filter.motion")["drops"] == 10  # none has the second score
    assert gate(found, "filter.duplicates")["drops"] == 2


def test_what_is_no_number_is_counted_and_not_drawn(output: Path) -> None:
    motion = score(summary(output), "motion_score_global_mean")
    assert {name: motion[name] for name in ("missing", "scored", "finite", "nan", "min", "max")} == {
        "missing": 1,
        "scored": 9,
        "finite": 7,
        "nan": 1,
        "min": 0.0001,
        "max": 0.9,
    }
    assert sum(row["clips"] for row in motion["bins"]) == 7
    assert sum(row["kept"] for row in motion["bins"]) == 6
    assert [*motion["quantiles"]] == ["0.05", "0.25", "0.5", "0.75", "0.95"]


def test_a_share_is_computed(output: Path) -> None:
    letterbox = score(summary(output), "letterbox")
    assert (letterbox["min"], letterbox["max"]) == (0.5, 0.5)


def test_scores_may_be_picked_by_the_beginnings_of_their_names(output: Path) -> None:
    found = summary(output, "motion_score_g", "black")
    assert [score["score"] for score in found["scores"]] == ["motion_score_global_mean", "blackness"]
    assert [gate["setting"] for gate in found["gates"]] == ["filter.motion", "filter.black"]
    with pytest.raises(UsageError, match=r"no score blackish: did you mean blackness\?"):
        summary(output, "blackish")


def test_lines_show_the_gates_first_then_each_score_with_its_threshold(output: Path) -> None:
    lines = [*scores.lines(summary(output, "motion_score_global"), 100, histogram.BLOCKS)]
    assert lines[0] == "what each gate alone drops of 10 clips, of which 9 are kept now"
    assert lines[1] == "  filter.motion        off  2 of 10, 1 of them kept now (2.0 s)"
    assert lines[3] == "motion_score_global_mean: 7 clips (1 without, 1 NaN, 1 infinite)"
    assert len(lines[4]) == 2 + scores.NUM_BINS
    assert "^ drops < 0.00098" in lines[5]
    assert all(len(line) <= 100 for line in lines)


def test_lines_fit_a_narrow_terminal(output: Path) -> None:
    lines = [*scores.lines(summary(output), 40, histogram.PLAIN)]
    assert [line for line in lines if len(line) > 40] == []
    assert "".join(lines).isascii()


def test_scores_of_ones_own_stages_have_distributions(output: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(output, tmp_path / "output"))
    for name in ("runs", "verdicts"):
        shutil.rmtree(copy / "tables" / name)
    own = {"tag": {"columns": {"level": "float", "name": "string", "good": "boolean"}, "gate": "level > 0.5"}}
    run = {"stage": "filter", "started_at": small_output.START, "conf": json.dumps({"custom": own})}
    small_output.fill(copy, "runs", [run], "")
    kinds = {"level": pa.float32(), "name": pa.string(), "good": pa.bool_(), "count": pa.int64()}
    schema = pa.schema({"clip_id": pa.string(), **kinds, "fingerprint": pa.string(), "run_id": pa.string()})
    made = {"fingerprint": "tag", "run_id": "1"}
    rows = [{"clip_id": f"c{i}", "level": i / 4, "name": "x", "good": True, "count": i, **made} for i in range(4)]
    write_deltalake(copy / "tables/tag", pa.Table.from_pylist(rows, schema))
    with knowing(delta_source.custom_tables(str(copy), Sources())):
        verdicts = [
            {"clip_id": f"c{i}", "video_id": "v", "kept": True, "reasons": [], "tag_level": i / 4, "tag_count": i}
            for i in range(4)
        ]
        small_output.fill(copy, "verdicts", verdicts, "filter")
    found = summary(copy)
    assert score(found, "tag_level")["limits"] == [{"sign": "<=", "threshold": 0.5}]
    assert gate(found, "custom.tag.gate")["drops"] == 3
    assert (score(found, "tag_count")["max"], score(found, "tag_count")["limits"]) == (3.0, [])
    assert not {"tag_name", "tag_good"} & {score["score"] for score in found["scores"]}


@pytest.mark.parametrize("tables", [[], ["verdicts"]])
def test_an_output_without_verdicts_says_so(tables: list[str], tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    for name in tables:
        small_output.fill(tmp_path, name, [], "")
    found = summary(tmp_path)
    assert (found["clips"], found["scores"]) == (0, [])
    assert [*scores.lines(found, 100, histogram.BLOCKS)] == [scores.NO_VERDICTS]
