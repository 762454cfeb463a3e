"""ingest: each uri of a manifest becomes a row of videos or a failure."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from jobs import cli
from jobs.config.settings import Settings
from jobs.flow.stage import given_up
from jobs.ingest import first_files
from jobs.lake.declared import struct_type
from jobs.lake.run import Run
from schemas import TABLES
from schemas.videos import TABLE
from tests.support.footage import write_numbered
from tests.support.outputs import table, versions
from udfs import ingest
from udfs.core.errors import MediaError
from udfs.runtime.context import COST, FAILURE, GPU_COST, Env
from udfs.storage import access

ENV = Env(media_root="unused", fingerprint="0" * 16)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good video of one second."""
    return write_numbered(tmp_path_factory.mktemp("good") / "good.mp4", 30, 30, (160, 120))


def fail(run: Run, *failures: tuple[str, str, str]) -> None:
    """Note failures of ingest: address, code and run."""
    rows = [(uri, "ingest", code, "", 1, datetime.now(UTC), "f", run_id) for uri, code, run_id in failures]
    run.tables.add("failures", run.spark.createDataFrame(rows, struct_type(TABLES["failures"].schema)))


def facts(uri: Path | str, attributes: Any = None) -> dict[str, Any]:
    (row,) = ingest.facts({"uri": str(uri), "attributes": attributes}, ENV)
    return row


def test_facts_are_a_row_of_videos(good: Path) -> None:
    row = facts(good) | {"fingerprint": "f", "run_id": "r"}
    assert pa.Table.from_pylist([row], schema=TABLE.schema).to_pylist() == [row]


def test_facts_identify_the_file(good: Path) -> None:
    row, tag = facts(good), access.content_tag(str(good))
    assert (row["uri"], row["size"], row["content_tag"]) == (str(good), good.stat().st_size, tag)
    assert (row["source_version"], row["video_id"]) == (access.version(str(good)), access.video_id(str(good), tag))


@pytest.mark.parametrize(
    ("attributes", "texts"),
    [
        (None, None),
        ({}, {}),
        ({"title": "a", "take": 3, "note": None}, {"title": "a", "take": "3", "note": None}),
        ([("title", "a")], {"title": "a"}),
        (np.array([("title", "a")], dtype=object), {"title": "a"}),
    ],
)
def test_attributes_are_stored_as_text(good: Path, attributes: Any, texts: Any) -> None:
    assert facts(good, attributes)["attributes"] == texts


def test_a_batch_holds_videos_and_failures_by_uri(good: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    uris = [str(good), str(tmp_path / "bad.mp4"), str(tmp_path / "gone.mp4")]
    (batch,) = ingest.rows([pd.DataFrame({"uri": uris, "attributes": None})], frozenset(), ENV)
    assert batch.columns.tolist() == [*ingest.COLUMNS, "fingerprint", *FAILURE, COST, GPU_COST]
    assert batch["num_frames"].tolist() == [30, None, None]
    assert batch["failed_key"].tolist() == [None, *uris[1:]]
    assert batch["failed_code"].tolist() == [None, "UNSUPPORTED", "NOT_FOUND"]


@pytest.mark.spark
def test_the_last_failure_of_a_file_says_whether_it_is_tried_again(spark: SparkSession, tmp_path: Path) -> None:
    run = Run(spark, str(tmp_path), Settings())
    fail(
        run,
        ("corrupt", "CORRUPT", "r1"),
        ("away", "UNREACHABLE", "r1"),
        ("slow", "TIMEOUT", "r1"),
        ("slow", "UNREACHABLE", "r2"),
        ("grown", "OOM", "r1"),
        ("grown", "TIMEOUT", "r2"),
    )
    asked: list[tuple[str, ...] | None] = [None, ("TIMEOUT",), ("OOM",), ()]
    left = {
        retry: sorted(row["key"] for row in given_up(replace(run, retry=retry), "ingest").collect()) for retry in asked
    }
    assert left == {None: ["corrupt", "grown"], ("TIMEOUT",): ["corrupt"], ("OOM",): ["corrupt", "grown"], (): []}


def test_bytes_that_were_taken_down_are_refused_at_any_address(good: Path) -> None:
    tag = access.content_tag(str(good))
    with pytest.raises(MediaError, match="DENIED: a file with the same bytes was taken down"):
        ingest.facts({"uri": str(good), "attributes": None}, ENV, {tag})


@pytest.mark.spark
def test_a_limit_takes_files_that_failed_before_only_after_all_others(spark: SparkSession, tmp_path: Path) -> None:
    run = Run(spark, str(tmp_path), Settings())
    fail(run, ("/a.mp4", "UNREACHABLE", "r1"), ("/a.mp4", "UNREACHABLE", "r2"), ("/c.mp4", "BUG", "r2"))
    columns = "uri string, attributes map<string, string>, fingerprint string"
    files = spark.createDataFrame([(f"/{name}.mp4", None, "f") for name in "dcba"], columns)

    def first(run: Run, number: int) -> list[str]:
        return [row["uri"] for row in first_files(run, files, number).collect()]

    assert first(run, 3) == ["/b.mp4", "/d.mp4", "/a.mp4"]
    assert first(replace(run, retry=()), 3) == ["/a.mp4", "/b.mp4", "/c.mp4"]


@pytest.mark.spark
def test_a_run_reports_what_it_took_and_left_out(
    spark: SparkSession, good: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, output = tmp_path / "in", tmp_path / "output"
    (folder / "day").mkdir(parents=True)
    (folder / "a.mp4").write_bytes(good.read_bytes())
    write_numbered(folder / "day/b.mp4", 31, 30, (160, 120))
    for name in ("notes.txt", "._a.mp4"):
        (folder / name).write_bytes(b"x")
    (folder / "linked").symlink_to(folder / "day")
    command = ["ingest", "--output", str(output), "--manifest"]
    assert cli.main([*command, str(folder)]) == 0
    because = "1 not a video by its suffix, 1 hidden, 1 link to what is listed already"
    assert f"ingest: 2 files found, 3 left out ({because})" in caplog.text
    manifest = tmp_path / "m.csv"
    manifest.write_text(
        f"uri,modified\nin/a.mp4,2026-01-01\nin/day/b.mp4,2020-01-01\n./in//a.mp4 ,2026-01-01\nfile://{folder}/a.mp4,\n,\n"
    )
    assert cli.main([*command, str(manifest), "--since", "2025-01-01"]) == 0
    assert "ingest: 1 file found, 4 left out (2 duplicate rows, 1 blank row, 1 not changed since)" in caplog.text
    assert len(table(output, "videos")) == 2
    assert cli.main(["takedown", "--output", str(output), f"file://{folder}/day/../a.mp4"]) == 0
    assert cli.main([*command, str(manifest)]) == 0
    assert "ingest: 1 file found, 4 left out (2 duplicate rows, 1 blank row, 1 taken down)" in caplog.text
    assert [row["uri"] for row in table(output, "videos")] == [str(folder / "day/b.mp4")]


@pytest.mark.spark
def test_columns_of_the_manifest_are_brought_up_to_date(
    spark: SparkSession, good: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest, output = tmp_path / "m.csv", tmp_path / "output"

    def ingest_it(text: str, *options: str) -> str:
        manifest.write_text(text)
        assert cli.main(["ingest", str(manifest), "-o", str(output), *options]) == 0
        return caplog.messages[-1]

    signed, shown = "https://a.example/x?sig=1", "https://a.example/x"
    ingest_it(f"uri,license,page\n{good},cc-by,{signed}\n")
    before = versions(output)
    assert ingest_it(f"uri,license,page\n{good},cc-by,{signed}\n").startswith("nothing to do")
    assert ingest_it(f"uri\n{good}\n").startswith("nothing to do")
    assert versions(output) == before
    done = ingest_it(f"uri,license,page\n{good},revoked,{signed}\n", "--since", "2999-01-01")
    assert done == "done: 1 row written, nothing failed"
    [video] = table(output, "videos")
    assert dict(video["attributes"]) == {"license": "revoked", "page": shown}
    assert [(row["stage"], row["num_in"]) for row in table(output, "runs")] == [("ingest", 1)]


@pytest.mark.spark
def test_a_run_whose_inputs_were_all_refused_is_done(
    spark: SparkSession, good: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    allowed, other = tmp_path / "allowed", tmp_path / "other.mp4"
    allowed.mkdir()
    shutil.copyfile(good, other)
    (allowed / "m.csv").write_text(f"uri\n{other}\n", encoding="utf-8")
    command = ["ingest", str(allowed / "m.csv"), "-o", str(tmp_path / "output")]
    assert cli.main([*command, "--set", f"sources.roots=['{allowed}']"]) == 0
    assert caplog.messages[-1] == "done: 0 rows written, 1 input failed (DENIED 1)"
    assert [row["code"] for row in table(tmp_path / "output", "failures")] == ["DENIED"]
