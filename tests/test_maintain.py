"""maintain and takedown: they list and delete rows, files and old versions; the rest stays."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import SparkSession

from jobs import cli, dedup, filter
from jobs.config.settings import load
from jobs.lake import cleanup
from jobs.lake.fingerprints import fingerprint
from jobs.lake.run import Run
from schemas import TABLES
from tests.support.outputs import files, table, versions
from tests.support.vectors import unit, write_embeddings
from udfs.storage import media_store

pytestmark = [pytest.mark.spark, pytest.mark.upkeep]
OLD_SETTINGS = ["clip.crf=30"]
VIDEOS = [str(uuid.uuid5(uuid.NAMESPACE_URL, f"video {i}")) for i in range(5)]
CLIPS = [str(uuid.uuid5(uuid.NAMESPACE_URL, f"clip {i}")) for i in range(10)]  # two a video
UNRECORDED = str(uuid.uuid5(uuid.NAMESPACE_URL, "a clip of a run that was killed"))


def add(output: Path, name: str, rows: list[dict[str, Any]]) -> None:
    """Append rows; columns that are not given are NULL, or a text where a table has no NULL."""
    plain = pa.schema([pa.field(f.name, f.type) for f in TABLES[name].schema])
    filled = [{f.name: row.get(f.name, None if f.nullable else "x") for f in TABLES[name].schema} for row in rows]
    write_deltalake(output / "tables" / name, pa.Table.from_pylist(filled, schema=plain), mode="append")


def media(output: Path, clip_id: str, settings: list[str], age_h: float = 48.0) -> Path:
    """A media file of a clip as these settings name it, so many hours old."""
    path = Path(
        media_store.media_uri(f"{output}/media", "clips", clip_id, fingerprint("clip", load([], settings)), ".mp4")
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(clip_id.encode())
    os.utime(path, (time.time() - 3600 * age_h,) * 2)
    return path


def place(spark: SparkSession, output: Path) -> None:
    """What the next run of dedup and filter does."""
    run = Run(spark, str(output), load([], ["dedup.rank=duration_s desc"]))
    dedup.run(run, dedup.Options(output="", refit=False))
    filter.run(run, filter.Options(output=""))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five videos of two clips each, 2 and 4 copies of 0; five by the settings of before, and one of a killed run."""
    output = tmp_path_factory.mktemp("written") / "output"
    vectors = unit(np.random.default_rng(0).normal(size=(10, 16)))
    vectors[[2, 4]] = vectors[0]
    for settings, number in ((OLD_SETTINGS, 5), ([], 10)):
        uris = [str(media(output, clip, settings)) for clip in CLIPS[:number]]
        videos = [VIDEOS[i // 2] for i in range(number)]
        lengths = [100.0 - i for i in range(number)]
        write_embeddings(
            output, CLIPS[:number], vectors[:number], settings, video_id=videos, uri=uris, duration_s=lengths
        )
        stages = ("split", "clip", "analyze", "embed")
        told = {stage: fingerprint(stage, load([], settings)) for stage in stages}
        when = datetime(2026, 1, number, tzinfo=UTC)
        add(output, "runs", [{"stage": stage, "fingerprint": told[stage], "started_at": when} for stage in stages])
    killed = {
        "clip_id": UNRECORDED,
        "video_id": VIDEOS[4],
        "uri": "gone",
        "fingerprint": "of a killed run",
        "run_id": "killed",
    }
    add(output, "spans", [killed | {"fingerprint": fingerprint("split", load([], [])), "start_s": 0.0, "end_s": 1.0}])
    add(output, "clips", [killed])
    add(
        output,
        "videos",
        [{"video_id": v, "uri": f"/videos/{i}.mp4", "content_tag": f"tag {i}"} for i, v in enumerate(VIDEOS)],
    )
    add(
        output,
        "failures",
        [{"key": CLIPS[1], "stage": "embed"}, {"key": "/videos/0.mp4", "stage": "ingest"}, {"key": "else"}],
    )
    add(output, "copies", [{"clip_id": CLIPS[9], "copy_of": CLIPS[0]}, {"clip_id": CLIPS[8]}])
    key = {"part": 0, "key": 1, "hashes": [1], "fingerprint": fingerprint("copies", load([], []))}
    add(output, "copy_keys", [key | {"clip_id": clip} for clip in (CLIPS[0], CLIPS[8], "of a clip that is gone")])
    return output


@pytest.fixture(scope="module")
def made(spark: SparkSession, written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, once its clips were placed among their like and judged."""
    output = Path(shutil.copytree(written, tmp_path_factory.mktemp("made") / "output"))
    place(spark, output)
    return output


@pytest.fixture
def output(made: Path, tmp_path: Path) -> Path:
    """The same, to be changed; its rows name the media files of the first."""
    return Path(shutil.copytree(made, tmp_path / "output"))


def held(output: Path, name: str, column: str = "clip_id") -> set[str]:
    return {row[column] for row in table(output, name)}


def words_on_disk(output: Path) -> set[str]:
    """Every text in the columns of every data file, whether a version still reads it or not."""
    found: set[str] = set()
    for path in (output / "tables").rglob("*.parquet"):
        if "_delta_log" not in path.parts and "takedowns" not in path.parts:
            columns = pq.read_table(path)
            for field in columns.schema:
                found |= set(columns[field.name].to_pylist()) if field.type == pa.string() else set()
    return found


def test_every_column_that_names_a_file_is_known() -> None:
    named = {
        (name, f.name) for name, t in TABLES.items() for f in t.schema if f.name == "uri" or f.name.endswith("_uri")
    }
    named |= {(name, f.name) for name, t in TABLES.items() for f in t.schema if "uri" in str(f.type)}
    known = {(name, column) for name, column in named if column in cleanup.MEDIA.get(name, "")}
    assert named - known == {("videos", "uri"), ("takedowns", "uri")}  # addresses of sources


def foretold(printed: str) -> list[list[str]]:
    """The lines of a summary that a dry run knows to the byte."""
    return [line.split() for line in printed.splitlines() if "earlier settings" in line or "without a row" in line]


def test_maintain_keeps_what_counts(
    spark: SparkSession, written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Path(shutil.copytree(written, tmp_path / "output"))
    young = media(output, CLIPS[0], ["clip.crf=31"], age_h=1)
    before = versions(output), files(output), {name: len(table(output, name)) for name in TABLES}
    assert cli.main(["maintain", "--output", str(output), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "nothing was changed" in told
    assert (versions(output), files(output), {name: len(table(output, name)) for name in TABLES}) == before
    assert cli.main(["maintain", "--output", str(output), "--keep-days", "0", "--force"]) == 0
    done = capsys.readouterr().out
    assert foretold(told) == foretold(done)
    assert len(foretold(done)) == 5
    assert held(output, "copy_keys") == {CLIPS[0], CLIPS[8]}
    new = {stage: fingerprint(stage, load([], [])) for stage in ("clip", "analyze", "embed")}
    assert held(output, "clips", "fingerprint") == {new["clip"], "of a killed run"}
    assert held(output, "signals", "fingerprint") == {new["analyze"]}
    assert held(output, "embeddings", "fingerprint") == {new["embed"]}
    assert held(output, "embeddings") == held(output, "signals") == set(CLIPS)
    kept = {media_store.media_uri("media", "clips", clip, new["clip"], ".mp4") for clip in CLIPS}
    assert set(files(output)) == kept | {str(young.relative_to(output))}
    for name in ("clips", "embeddings"):
        lying = {path.name for path in (output / "tables" / name).glob("*.parquet")}
        assert lying == {Path(uri).name for uri in DeltaTable(output / "tables" / name).file_uris()}
        assert len(lying) == 1


def test_keeping_less_than_a_week_must_be_forced(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["maintain", "--output", str(made), "--keep-days", "6"]) == 2
    assert "--force" in capsys.readouterr().err


def test_a_takedown_leaves_nothing_and_proves_it(
    spark: SparkSession, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stood = {row["clip_id"]: row["duplicate_of"] for row in table(output, "verdicts") if row["duplicate_of"]}
    assert stood == {CLIPS[2]: CLIPS[0], CLIPS[4]: CLIPS[0]}
    exports = output.parent / "exports"
    for clip in CLIPS[:3]:
        (exports / clip).mkdir(parents=True)
        (exports / clip / "0.jpg").write_bytes(b"x")
    command = [
        "takedown",
        "--output",
        str(output),
        "--exports",
        str(exports),
        "--reason",
        "asked by its owner",
        "/videos/0.mp4",
    ]
    before = versions(output), files(output)
    assert cli.main([*command, "--dry-run"]) == 0
    assert (versions(output), files(output), len(list(exports.iterdir()))) == (*before, 3)
    assert cli.main(command) == 0
    gone = {VIDEOS[0], *CLIPS[:2], "/videos/0.mp4"}
    assert not words_on_disk(output) & gone
    assert not [name for name in files(output) if any(word in name for word in gone)]
    assert {path.name for path in exports.iterdir()} == {CLIPS[2]}
    assert "left on disk, old versions included: 0 rows" in capsys.readouterr().out
    assert len(held(output, "embeddings")) == 8
    assert held(output, "failures", "key") == {"else"}
    assert [(row["uri"], row["video_id"], row["reason"]) for row in table(output, "takedowns")] == [
        ("/videos/0.mp4", VIDEOS[0], "asked by its owner")
    ]
    place(spark, output)
    stood = {row["clip_id"]: row["duplicate_of"] for row in table(output, "verdicts") if row["duplicate_of"]}
    assert stood == {CLIPS[4]: CLIPS[2]}  # its duplicates are linked again
    assert {row["clip_id"] for row in table(output, "verdicts") if row["kept"]} == {*CLIPS[2:4], *CLIPS[5:]}
    assert cli.main(command) == 0  # once more finds nothing, and still looks


def test_a_takedown_that_leaves_something_says_so(
    spark: SparkSession, output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cleanup, "vacuum", lambda run, name, keep_hours: (0, 0))
    assert (
        cli.main(
            [
                "takedown",
                "--output",
                str(output),
                "--sql",
                f"select video_id from videos where video_id = '{VIDEOS[1]}'",
            ]
        )
        == 1
    )
    assert "rows in files of clips" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name videos by id or uri"),
        (["/a.mp4", "--sql", "select 1"], "name videos by id or uri"),
        (["--exports", "/nowhere", "/a.mp4"], "no such folder"),
        ([str(uuid.uuid4())], "takedown: no video"),
        (["--sql", "select nothing from nowhere"], "TABLE_OR_VIEW_NOT_FOUND"),
    ],
)
def test_a_takedown_of_nothing_is_refused(
    spark: SparkSession, made: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["takedown", "--output", str(made), *arguments]) == 2
    assert said in capsys.readouterr().err
