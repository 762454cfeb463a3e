"""The stories of clips, videos and addresses: verdict, scores beside thresholds, duplicates, failures, settings."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from jobs.config.errors import UsageError
from jobs.queries import delta_source, why
from jobs.queries.duckdb_engine import Engine, Snapshot
from jobs.queries.reader import Rows
from jobs.queries.why import Story, story
from schemas import knowing
from tests.support import small_output
from udfs.storage.settings import Params as Sources

OWN = {"loudness": {"columns": {"loudness": "float"}, "gate": "loudness > 0.2"}}
FILTER = {"motion": True, "motion_global_mean_threshold": 0.002, "of_another_release": 1}
CONF = {"filter": FILTER, "custom": OWN, "clip": {"crf": 18, "resources": {"cpus": 2}}, "split": {"method": "content"}}
ODD = "/v/été 100%/a  b'c.mp4"  # blanks, letters beyond ASCII, a per cent sign and a quote
LATER = {"started_at": small_output.START, "versions": {"reelmill": "0.2.0"}, "conf": json.dumps(CONF)}
EARLIER = LATER | {
    "started_at": small_output.START.replace(year=2025),
    "versions": {"reelmill": "0.1.0"},
    "conf": json.dumps(CONF | {"clip": {"crf": 23, "resources": {"cpus": 1}}}),
}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output of literal rows whose last filter had a gate of its own; clips and a video failed, one is gone."""
    output = small_output.write(tmp_path_factory.mktemp("output"))
    for name in ("runs", "failures", "spans", "videos"):
        shutil.rmtree(output / "tables" / name)
    stages = [{"stage": stage, "fingerprint": stage, "run_id": "3", **LATER} for stage in small_output.STAGES]
    old = [{"stage": stage, "fingerprint": f"old {stage}", "run_id": "1", **EARLIER} for stage in ("split", "clip")]
    small_output.fill(output, "runs", [*stages, *old], "")
    failure = {"key": "c2", "stage": "embed", "code": "TIMEOUT", "message": "took\ntoo long", "run_id": "2"}
    repaired = {"key": "c1", "stage": "clip", "code": "CRASH", "message": "died", "run_id": "0"}
    refused = {"key": "/v/no such.mp4", "stage": "ingest", "code": "NOT_FOUND", "message": "no such file"}
    rows = [row | {"failed_at": small_output.START} for row in (failure, repaired, refused)]
    small_output.fill(output, "failures", rows, "embed")
    spans = [
        {"clip_id": clip, "video_id": video, "start_s": a, "end_s": b, "start_frame": 0, "end_frame": 9}
        for clip, (video, a, b) in (small_output.CLIPS | {"old": ("v1", 1.0, 2.0), "odd": ("v9", 0.0, 1.0)}).items()
    ]
    small_output.fill(output, "spans", spans, "split")
    odd = {"video_id": "v9", "uri": ODD, "duration_s": math.nan, "run_id": "1", "footage_warning": "much is lost"}
    small_output.fill(output, "videos", [*small_output.VIDEOS, odd], "ingest-77-1700000000")
    taken = {"uri": "/v/gone.mp4", "video_id": "v7", "reason": "asked by its owner", "taken_at": small_output.START}
    small_output.fill(output, "takedowns", [taken], "")
    return output


@pytest.fixture
def copy(output: Path, tmp_path: Path) -> Path:
    """The same output, to be changed."""
    return Path(shutil.copytree(output, tmp_path / "output"))


def rows_of(output: Path) -> Rows:
    """What answers queries over an output."""
    return Snapshot(Engine(str(output), Sources(), "min")).rows


def text(output: Path, what: str, width: int = 100) -> list[str]:
    """The lines of a story."""
    return [*why.lines(story(rows_of(output), what), width)]


def test_a_dropped_clip_says_which_gates_it_failed(output: Path) -> None:
    found = story(rows_of(output), "c2")
    assert (found["verdict"], found["reasons"]) == ("dropped", ["motion", "blur"])
    assert found["source"]["video_uri"] == "/v/park.mp4"
    assert (found["source"]["start_s"], found["source"]["end_s"]) == (4.5, 10.0)
    assert [(row["stage"], row["code"], row["repaired"]) for row in found["failures"]] == [("embed", "TIMEOUT", False)]
    lines = repr(found).splitlines()
    assert lines[:2] == [
        "clip c2: dropped (motion, blur)",
        "  source      /v/park.mp4, 4.5-10 s (frames 0-9, None)",
    ]
    assert "  failure     embed: TIMEOUT: took\\ntoo long" in lines
    assert lines[lines.index("  failure     embed: TIMEOUT: took\\ntoo long") + 1].startswith(
        "              no packet, frame or bytes for limits.timeout_s"
    )


def test_scores_stand_beside_the_thresholds_of_the_last_filter(output: Path) -> None:
    gates = {gate["reason"]: gate for gate in story(rows_of(output), "c1")["gates"]}
    assert gates["motion_global_mean_low"] == {
        "reason": "motion_global_mean_low",
        "score": "motion_score_global_mean",
        "value": 0.00123456,
        "fails_if": "motion_score_global_mean < 0.002",
        "on": True,
        "failed": False,
    }
    on = ["motion_global_mean_low", "motion_patch_min_low", "duplicate", "loudness"]
    assert [reason for reason, gate in gates.items() if gate["on"]] == on


def test_a_duplicate_names_the_clip_that_stands_for_it(output: Path) -> None:
    found = story(rows_of(output), "c4")
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
    assert "  duplicate   of c1: /v/park.mp4, 0-4.5 s (phash, similarity 0.992)" in repr(found).splitlines()
    assert story(rows_of(output), "c1")["stands_for"] == ["c4"]


def test_captions_come_in_the_order_of_their_windows(output: Path) -> None:
    found = story(rows_of(output), "c1")
    assert [row["start_frame"] for row in found["captions"]] == [0, 30]
    assert "  caption     30-59: two\\nlines | a bar" in repr(found).splitlines()
    assert found["previews"] == [small_output.PREVIEW]


def test_a_failure_that_a_later_run_repaired_is_said_to_be(output: Path) -> None:
    assert "  repaired    clip: CRASH: died; a later run could use it" in text(output, "c1")


def test_a_clip_by_earlier_settings_says_what_has_changed_since(output: Path) -> None:
    shutil.copytree(output, aged := output.with_name("aged"))
    shutil.rmtree(aged / "tables/clips")
    small_output.fill(aged, "clips", [{"clip_id": "c3", "video_id": "v2", "uri": "/out/c3.mp4"}], "old clip")
    found = story(rows_of(aged), "c3")
    made = {row["stage"]: row for row in found["made"]}
    assert made["split"]["is_current"]
    assert not made["clip"]["is_current"]
    assert made["clip"]["changed"] == [
        {"setting": "clip.crf", "then": 23, "now": 18},
        {"setting": "reelmill", "then": "0.1.0", "now": "0.2.0"},
    ]
    said = " ".join(" ".join(why.lines(found, 100)).split())
    assert (
        "run 1: clip; earlier settings, whose work is pending again: clip.crf 23, now 18; reelmill 0.1.0, now 0.2.0"
        in said
    )


def test_a_run_that_was_killed_before_it_was_noted_is_said_to_be(copy: Path) -> None:
    shutil.rmtree(copy / "tables/runs")
    assert story(rows_of(copy), "c2")["made"][0]["is_current"] is None
    assert "a run that ended before its settings were noted" in " ".join(" ".join(text(copy, "c2")).split())


def test_a_clip_without_a_verdict_has_a_story(copy: Path) -> None:
    shutil.rmtree(copy / "tables/verdicts")
    found = story(rows_of(copy), "c2")
    assert (found["verdict"], found["gates"], found["duplicate_of"]) == (None, [], None)
    assert repr(found).startswith("clip c2: no verdict: not judged yet\n")


def test_a_span_that_was_never_cut_has_a_story(output: Path) -> None:
    found = story(rows_of(output), "odd")
    assert (found["verdict"], found["file"]) == (None, None)
    assert f"  source      {ODD}, 0-1 s (frames 0-9, None)" in repr(found).splitlines()


def test_scores_of_ones_own_stages_are_part_of_it(copy: Path) -> None:
    row = {"clip_id": ["c1"], "loudness": [math.nan], "note": ["quiet"], "fingerprint": ["f"], "run_id": ["2"]}
    schema = {"clip_id": pa.string(), "loudness": pa.float32(), "note": pa.string()}
    declared = pa.schema({**schema, "fingerprint": pa.string(), "run_id": pa.string()})
    write_deltalake(copy / "tables/loudness", pa.table(row, declared))
    with knowing(delta_source.custom_tables(str(copy), Sources())):
        found = story(rows_of(copy), "c1")
        assert [*found["own_scores"]] == ["loudness", "loudness_note"]
        lines = repr(found).splitlines()
    assert "  score       loudness_note = quiet" in lines
    assert "  gate on     loudness = NULL; drops if NOT (loudness > 0.2)" in lines  # filter has not seen it


@pytest.mark.parametrize(
    ("what", "head"),
    [
        ("v1", "video v1: 3 clips, 1 kept (4.5 s), 1 dropped (motion 1, blur 1)"),
        ("park.mp4", "video v1: 3 clips"),
        ("/v/park.mp4", "video v1: 3 clips"),
        ("file:///v/park.mp4", "video v1: 3 clips"),
        ("/v/drive.mp4", "video v2: 2 clips"),
        (ODD, "video v9: 1 clip, 0 kept (0.0 s), 0 dropped"),
        ("a  b'c.mp4", "video v9: 1 clip"),
        ("file:///v/%C3%A9t%C3%A9%20100%25/a%20%20b'c.mp4", "video v9: 1 clip"),
        ("/v/gone.mp4", "address /v/gone.mp4: taken down"),
        ("v7", "address /v/gone.mp4: taken down"),
        ("/v/no such.mp4", "address /v/no such.mp4: no video could be taken from it"),
        ("no such.mp4", "address /v/no such.mp4: no video could be taken from it"),
    ],
)
def test_a_video_or_address_is_known_by_its_id_address_or_name(what: str, head: str, output: Path) -> None:
    assert text(output, what)[0].startswith(head)


def test_a_file_of_a_clip_names_it(copy: Path) -> None:
    clip = "3c14f5e2-64ec-5290-8714-f32a862dc1e1"
    spans = DeltaTable(copy / "tables/spans").to_pyarrow_table().to_pylist()
    shutil.rmtree(copy / "tables/spans")
    small_output.fill(copy, "spans", [*spans, spans[0] | {"clip_id": clip}], "split")
    for what in (
        f"/out/media/proxies/3c/{clip}-0ea6636d.mp4",
        f"s3://b/media/previews/3c/{clip}-0e-0_9.webp",
        "3c14f5",
    ):
        assert text(copy, what)[0].startswith(f"clip {clip}: ")


def test_a_takedown_says_when_and_why(output: Path) -> None:
    assert text(output, "v7")[1] == (
        "  takedown    on 2026-05-01 12:30 UTC: asked by its owner; it is not ingested again"
    )


def test_failures_that_are_alike_are_one_line_of_their_videos_story(copy: Path) -> None:
    crash = {"stage": "caption", "code": "CRASH", "message": "died", "run_id": "2", "failed_at": small_output.START}
    shutil.rmtree(copy / "tables" / "failures")
    small_output.fill(copy, "failures", [crash | {"key": key} for key in ("c1", "c2", "c3")], "caption")
    assert [line for line in text(copy, "v1") if "CRASH" in line] == ["  failure     caption: CRASH: died (2 clips)"]


def test_a_video_that_was_replaced_names_the_other_one(output: Path) -> None:
    assert "  replaces    video v0 of this address" in text(output, "v2")
    assert "  replaced by video v2 of this address" in text(output, "v0")


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("c", "4 ids begin with c: c1, c2, c3 ..."),
        ("x'", "no clip, video or address x' here"),
        ("", "why: an empty name"),
        ("  ", "why: an empty name"),
        ("/v/none.mp4", "no clip, video or address /v/none.mp4 here"),
        ("https://me:secret@host/none.mp4?sign=1", "no clip, video or address https://host/none.mp4 here"),
        ("%", "no clip, video or address % here"),
    ],
)
def test_what_means_nothing_or_several_is_one_line(what: str, line: str, output: Path) -> None:
    with pytest.raises(UsageError) as caught:
        story(rows_of(output), what)
    assert str(caught.value) == line


def test_an_empty_output_knows_nothing(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    for what in ("c1", "/v/park.mp4"):
        with pytest.raises(UsageError, match="no clip, video or address"):
            story(rows_of(tmp_path), what)


def without(output: Path, lost: dict[str, list[str]]) -> Iterator[str]:
    """Write tables again without some columns, as an older release had them."""
    for name, columns in lost.items():
        rows = DeltaTable(output / "tables" / name).to_pyarrow_table().drop_columns(columns)
        shutil.rmtree(output / "tables" / name)
        write_deltalake(output / "tables" / name, rows)
        yield name


def test_an_output_of_an_older_release_has_stories(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    lost = {
        "verdicts": ["measured", "video_uri", "start_s", "end_s", "motion_score_global_mean", "similarity"],
        "runs": ["scored_by", "summary", "tables", "waiting_run_id"],
        "clips": ["audio_warning", "picture_warning"],
        "signals": ["warnings"],
        "videos": ["footage_warning"],
    }
    assert [*without(copy, lost)] == [*lost]
    assert text(copy, "c2")[0] == "clip c2: dropped (motion, blur)"
    assert text(copy, "v9")[0] == "video v9: 1 clip, 0 kept (0.0 s), 0 dropped"
    assert "verdicts: an earlier release wrote them" in caplog.text


def test_a_video_tells_what_is_lost_of_it(output: Path) -> None:
    assert [line for line in text(output, "v9") if "warning" in line] == ["  warning     much is lost"]


@pytest.mark.parametrize("what", ["c1", "c4", "v1", "/v/gone.mp4", "/v/no such.mp4"])
def test_lines_fit_a_narrow_terminal_but_for_addresses(what: str, output: Path) -> None:
    wide = [line for line in text(output, what, 40) if len(line) > 40]
    assert all("/" in line for line in wide), wide
    assert all(len(line) <= 100 for line in text(output, what))


def test_a_story_is_values_of_json(output: Path) -> None:
    found: dict[str, Any] = json.loads(json.dumps(story(rows_of(output), "c1")))
    assert found["clip_id"] == "c1"
    assert isinstance(story(rows_of(output), "v1"), Story)
