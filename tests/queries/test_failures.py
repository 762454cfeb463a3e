"""Failures by code: what stands as the view `failed` says, examples with their videos, and what is tried again."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from jobs.queries import delta_source, failures
from jobs.queries.duckdb_engine import Engine, Snapshot
from jobs.queries.reader import Reader
from schemas import TABLES, knowing
from tests.support import small_output
from udfs.core.errors import CODES
from udfs.storage.settings import Params as Sources

# stage, key, code, run, settings; c9 is a clip of no span, and `tag` a stage of the user's own
ROWS = [
    ("ingest", "/v/bad.mp4", "CORRUPT", "9", "ingest-7-1"),
    ("ingest", "/v/park.mp4", "UNREACHABLE", "0", "ingest-7-1"),  # a later run could use it
    ("ingest", "/v/drive.mp4", "CHANGED", "5", "ingest-7-1"),
    ("split", "v2", "TIMEOUT", "2", "earlier settings"),
    ("split", "v1", "TIMEOUT", "0", "split"),  # a later run could use it
    ("clip", "c3", "CRASH", "2", "clip"),
    ("clip", "c9", "CRASH", "2", "clip"),  # no run would try it
    ("analyze", "c4", "CORRUPT", "2", "analyze"),
    ("embed", "c4", "MELTED", "2", "embed"),  # a code of another release
    ("tag", "c1", "BAD_OUTPUT", "2", "tag"),
    ("tag", "c2", "BAD_OUTPUT", "1", "tag"),  # a later run could use it
    ("export", "c1", "NOT_FOUND", "2", "export"),
    ("export", "c2", "OOM", "1", "export"),  # the last export into that folder could read it
    ("export", "c3", "UNREACHABLE", "3", "export"),
]
EXPORTS = [("1", "/sets/a"), ("3", "/sets/a"), ("2", "/sets/b"), ("4", "/sets/c")]  # run, folder


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output of literal rows with failures of every kind."""
    output = small_output.write(tmp_path_factory.mktemp("output"))
    shutil.rmtree(output / "tables/failures")
    names = ("stage", "key", "code", "run_id", "fingerprint")
    rows: list[dict[str, Any]] = [
        dict(zip(names, row, strict=True))
        | {"message": f"{row[1]} is odd", "attempts": 1, "failed_at": small_output.START + timedelta(minutes=i)}
        for i, row in enumerate(ROWS)
    ]
    again = rows[0] | {"attempts": 2, "message": "still bad", "failed_at": small_output.START + timedelta(days=1)}
    small_output.fill(output, "failures", [*rows, again], "")
    runs = TABLES["runs"].schema
    exports = [
        {"stage": "export", "run_id": run, "exported_to": to, "started_at": small_output.START, "fingerprint": "x"}
        for run, to in EXPORTS
    ]
    write_deltalake(output / "tables/runs", pa.Table.from_pylist(exports, runs), mode="append")
    own = {"clip_id": ["c2"], "tag": ["x"], "fingerprint": ["tag"], "run_id": ["3"]}
    write_deltalake(output / "tables/tag", pa.table(own))
    return output


def reader(output: Path) -> Reader:
    """The output by DuckDB."""
    return Reader(str(output), "out", Sources(), "min", Snapshot(Engine(str(output), Sources(), "min")).rows)


def summary(output: Path, code: str | None = None, stage: str | None = None, num_examples: int = 3) -> dict[str, Any]:
    """The failures by code."""
    with knowing(delta_source.custom_tables(str(output), Sources())):
        return failures.summary(reader(output), code, stage, num_examples)


def counts(found: dict[str, Any]) -> dict[str, dict[str, int]]:
    """How many failures each code has, by stage."""
    return {row["code"]: row["stages"] for row in found["codes"]}


def fill_spans(output: Path, spans: list[dict[str, Any]], **videos: str) -> None:
    """Write spans, and videos by id and address, of which the last of an address counts."""
    rows = [{"video_id": name, "uri": uri, "run_id": str(run)} for run, (name, uri) in enumerate(videos.items())]
    small_output.fill(output, "videos", rows, "ingest")
    small_output.fill(output, "spans", spans, "split")
    small_output.fill(output, "runs", [{"stage": "split", "started_at": small_output.START}], "split")


def test_what_stands_is_what_the_view_has(output: Path) -> None:
    with knowing(delta_source.custom_tables(str(output), Sources())):
        rows = reader(output).rows("SELECT code, stage, count(*) AS n FROM failed GROUP BY code, stage")
    found = summary(output)
    assert {(row["code"], row["stage"]): row["n"] for row in rows} == {
        (code, stage): count for code, stages in counts(found).items() for stage, count in stages.items()
    }
    assert counts(found) == {
        "CORRUPT": {"ingest": 1, "analyze": 1},
        "BAD_OUTPUT": {"tag": 1},
        "CHANGED": {"ingest": 1},
        "CRASH": {"clip": 1},
        "MELTED": {"embed": 1},
        "NOT_FOUND": {"export": 1},
        "TIMEOUT": {"split": 1},
        "UNREACHABLE": {"export": 1},
    }
    assert found["count"] == 9
    assert found["codes"][0]["code"] == "CORRUPT"  # the most frequent


def test_the_errors_of_a_clip_are_what_stands(output: Path) -> None:
    """As `export --format nemo` writes them."""
    with knowing(delta_source.custom_tables(str(output), Sources())):
        rows = reader(output).rows("SELECT clip_id, errors FROM nemo")
    assert {row["clip_id"]: row["errors"] for row in rows} == {
        "c1": ["tag"],
        "c2": None,
        "c3": ["clip"],
        "c4": ["analyze", "embed"],
    }


@pytest.mark.parametrize(
    ("code", "stage", "left"),
    [
        ("CORRUPT", None, {"CORRUPT": {"ingest": 1, "analyze": 1}}),
        ("CORRUPT", "analyze", {"CORRUPT": {"analyze": 1}}),
        (None, "split", {"TIMEOUT": {"split": 1}}),
        ("OOM", None, {}),
        (None, "none", {}),
    ],
)
def test_a_code_or_a_stage_may_be_picked(code: str | None, stage: str | None, left: object, output: Path) -> None:
    assert counts(summary(output, code, stage)) == left


def test_examples_name_the_video_and_the_seconds(output: Path) -> None:
    by_code = {row["code"]: row["examples"][0] for row in summary(output)["codes"]}
    assert (by_code["BAD_OUTPUT"]["video_uri"], by_code["BAD_OUTPUT"]["end_s"]) == ("/v/park.mp4", 4.5)
    assert (by_code["TIMEOUT"]["video_uri"], by_code["TIMEOUT"]["start_s"]) == ("/v/drive.mp4", None)
    assert (by_code["CHANGED"]["video_uri"], by_code["CHANGED"]["start_s"]) == ("/v/drive.mp4", None)


def test_the_newest_failures_are_the_examples(output: Path) -> None:
    [row] = summary(output, "CORRUPT", num_examples=1)["codes"]
    assert [(example["message"], example["attempts"]) for example in row["examples"]] == [("still bad", 2)]
    assert row["count"] == 2


def test_what_the_next_run_tries_again_is_counted(output: Path) -> None:
    again = {row["code"]: row["num_tried_again"] for row in summary(output)["codes"]}
    passing = {"CHANGED", "UNREACHABLE"}
    assert {code for code, number in again.items() if number} == {*passing, "TIMEOUT"}  # by other settings


def test_lines_have_cause_remedy_and_commands(output: Path) -> None:
    out = reader(output)
    with knowing(delta_source.custom_tables(str(output), Sources())):
        lines = [*failures.summary_lines(out, failures.summary(out, None, None, 1), 100)]
    assert lines[:5] == [
        "9 inputs could not be used",
        "",
        "CORRUPT  2 (ingest 1, analyze 1): a video whose data cannot be decoded",
        "  ingest      /v/bad.mp4",
        "              still bad (2026-05-02 12:30 UTC, tried 2 times)",
    ]
    assert "  ... and 1 more" in lines
    assert "  to do       Get another copy; the message says what the decoder saw." in lines
    assert any(line.endswith(" why -o out /v/bad.mp4") for line in lines)
    assert any(line.endswith(" curate MANIFEST -o out --retry-failed TIMEOUT") for line in lines)
    assert not any("--retry-failed CHANGED" in line for line in lines)
    [of_export] = [line for line in lines if line.endswith("--retry-failed NOT_FOUND")]
    assert " export ... -o out " in of_export
    assert "              The same export tries 1 of them again by itself." in lines
    assert any(line.endswith(" sql -o out 'select * from failed'") for line in lines)
    assert all(len(line) <= 100 for line in lines)


@pytest.mark.parametrize("tables", [[], ["runs"]])
def test_an_output_without_failures_says_so(tables: list[str], tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    for name in tables:
        small_output.fill(tmp_path, name, [{"stage": "split", "started_at": small_output.START}], "")
    found = summary(tmp_path)
    assert found == {"count": 0, "codes": []}
    assert [*failures.summary_lines(reader(tmp_path), found, 100)] == ["nothing failed, or a later run could use it"]
    lines = [*failures.summary_lines(reader(tmp_path), found, 100, "TIMEOUT", "embed")]
    assert lines == ["nothing failed with TIMEOUT in embed, or a later run could use it"]


def test_failures_of_stages_that_are_unknown_now_stand(tmp_path: Path) -> None:
    """The table of a stage of the user's own may be gone."""
    fill_spans(tmp_path, [{"clip_id": "c1", "video_id": "v1"}], v1="/v/a.mp4")
    row = {"stage": "gone", "key": "c1", "code": "BUG", "message": None, "failed_at": None}
    small_output.fill(tmp_path, "failures", [row], "")
    found = summary(tmp_path)
    assert counts(found) == {"BUG": {"gone": 1}}
    assert any("at an unknown time" in line for line in failures.summary_lines(reader(tmp_path), found, 100))


def test_advice_is_plain_text() -> None:
    assert [code for code in CODES if "`" in "".join(failures._advice(code))] == []
    assert "limits.memory_mb" in failures._advice("OOM")[1]
    assert failures._advice("MELTED")[0] == "a code that this release does not know"


@pytest.mark.parametrize("deleted", [False, True])
def test_failures_of_a_replaced_video_do_not_stand(deleted: bool, tmp_path: Path) -> None:
    """Its address has another video now; `maintain` may have deleted the spans of the old one."""
    spans = [{"clip_id": f"clip of {video}", "video_id": video} for video in ("old", "new")]
    fill_spans(tmp_path, spans[1:] if deleted else spans, old="/v/a.mp4", new="/v/a.mp4", other="/v/b.mp4")
    keys = {"clip of old": "clip", "clip of new": "clip", "old": "split", "other": "split", "/v/c.mp4": "ingest"}
    failed = [{"stage": stage, "key": key, "code": "CORRUPT", "failed_at": None} for key, stage in keys.items()]
    small_output.fill(tmp_path, "failures", failed, "f")
    assert counts(summary(tmp_path)) == {"CORRUPT": {"clip": 1, "split": 1, "ingest": 1}}
    standing = reader(tmp_path).rows("SELECT key, video_uri FROM failed ORDER BY key")
    assert [tuple(row.values()) for row in standing] == [
        ("/v/c.mp4", "/v/c.mp4"),
        ("clip of new", "/v/a.mp4"),
        ("other", "/v/b.mp4"),
    ]


def test_failures_of_earlier_spans_do_not_stand(tmp_path: Path) -> None:
    """The video has been split by other settings since."""
    old = {"clip_id": "old", "video_id": "v", "fingerprint": "earlier settings"}
    fill_spans(tmp_path, [old, {"clip_id": "new", "video_id": "v"}], v="/v/a.mp4")
    failed = [{"stage": "clip", "key": key, "code": "CRASH", "failed_at": None} for key in ("old", "new")]
    small_output.fill(tmp_path, "failures", failed, "f")
    assert counts(summary(tmp_path)) == {"CRASH": {"clip": 1}}
    assert [row["key"] for row in reader(tmp_path).rows("SELECT key FROM failed")] == ["new"]
