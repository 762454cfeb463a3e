"""takedown: a video is deleted from tables, old versions, media and exports, and looked for afterwards."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from jobs import cli, dedup, filter
from jobs.config.settings import load
from jobs.exports import folders
from jobs.lake import cleanup
from jobs.lake.declared import struct_type
from jobs.lake.run import Run
from jobs.lake.tables import Tables
from schemas import TABLES
from tests.support import two_settings
from tests.support.outputs import files, table, versions
from tests.support.two_settings import CLIPS, VIDEOS, held
from udfs.ingest import TAKEN_DOWN

pytestmark = [pytest.mark.spark, pytest.mark.upkeep]


def place(spark: SparkSession, output: Path) -> None:
    """What the next run of dedup and filter does."""
    run = Run(spark, str(output), load([], ["dedup.rank=duration_s desc"]))
    dedup.run(run, dedup.Options(output="", refit=False))
    filter.run(run, filter.Options(output=""))


@pytest.fixture(scope="module")
def made(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of two settings, once dedup and filter have run."""
    output = two_settings.write(tmp_path_factory.mktemp("made") / "output")
    place(spark, output)
    return output


@pytest.fixture
def output(made: Path, tmp_path: Path) -> Path:
    """The same, to be changed; its rows name the media files of the first."""
    return Path(shutil.copytree(made, tmp_path / "output"))


def words_on_disk(output: Path) -> set[str]:
    """Every text in the columns of every data file, whether a version still reads it or not."""
    found: set[str] = set()
    for path in (output / "tables").rglob("*.parquet"):
        if "_delta_log" not in path.parts and "takedowns" not in path.parts:
            columns = pq.read_table(path)
            for field in columns.schema:
                found |= set(columns[field.name].to_pylist()) if field.type == pa.string() else set()
    return found


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
        f"file://{exports}",
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


def test_exports_that_are_not_named_are_looked_into(
    spark: SparkSession, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(spark, str(output), load([], []))
    exports = [output.parent / name for name in ("a", "b", "c", "d")]
    for folder in exports:
        folders.note(run, str(folder))
    for folder, clip in zip(exports, (CLIPS[0], CLIPS[1], CLIPS[4]), strict=False):  # the last one is gone
        (folder / clip).mkdir(parents=True)
    command = ["takedown", "--output", str(output), "/videos/0.mp4"]
    left = [f"1 file in the export {folder} (--exports {folder} takes it out)" for folder in exports[:2]]
    assert cli.main([*command, "--dry-run"]) == 0
    assert [line.removeprefix("left where it is: ") for line in capsys.readouterr().out.splitlines()[-3:-1]] == left
    assert cli.main(command) == 1
    assert capsys.readouterr().err.endswith(f"takedown: not everything was deleted: {', '.join(left)}\n")
    # The clips are found again though no table but takedowns knows them.
    assert cli.main([*command, "--exports", str(exports[0])]) == 1
    assert [[*folder.iterdir()] for folder in exports[:2]] == [[], [exports[1] / CLIPS[1]]]
    both = [f"--exports={folder}" for folder in exports[:2]]
    assert cli.main([*command, *both]) == 0
    assert [[path.name for path in folder.iterdir()] for folder in exports[:3]] == [[], [], [CLIPS[4]]]


def test_a_refusal_is_lifted(spark: SparkSession, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["takedown", "--output", str(output)]
    assert cli.main([*command, "--unknown-ok", "/videos/0.mp4", "/nowhere/new.mp4"]) == 0
    denied = ("/copy.mp4", "ingest", "DENIED", TAKEN_DOWN, 1, None, "f", "r")
    tables = Tables(spark, f"{output}/tables")
    tables.add("failures", spark.createDataFrame([denied], struct_type(TABLES["failures"].schema)))
    before = versions(output)
    assert cli.main([*command, "--lift", "/videos/0.mp4", "--dry-run"]) == 0
    assert versions(output) == before
    assert cli.main([*command, "--lift", "/videos/1.mp4"]) == 3
    assert "takedown --lift: /videos/1.mp4 was not taken down here" in capsys.readouterr().err
    assert cli.main([*command, "--lift", "/videos/0.mp4"]) == 0
    assert [row["uri"] for row in table(output, "takedowns")] == ["/nowhere/new.mp4"]
    assert held(output, "failures", "key") == {"else"}
    assert cli.main([*command, "--lift", "/nowhere/new.mp4"]) == 0
    assert table(output, "takedowns") == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([str(uuid.uuid4())], "takedown: no video"),
        (["--unknown-ok", str(uuid.uuid4())], "takedown: no video"),
        (["/videos/0.mp4", "/nowhere.mp4"], "no video here has the address /nowhere.mp4; --unknown-ok refuses it"),
        (["--unknown-ok", "/videos"], "takedown: /videos is a folder, no video"),
        (["--sql", "select video_id from videos where false"], "takedown: no such video"),
    ],
)
def test_what_names_no_video_is_refused(
    spark: SparkSession, made: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = versions(made), files(made)
    assert cli.main(["takedown", "--output", str(made), *arguments]) == 3
    assert said in capsys.readouterr().err
    assert (versions(made), files(made)) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--exports", "/nowhere", "/a.mp4"], "no such folder"),
        (["--sql", "select nothing from videos"], "--sql: no column nothing"),
        (["--sql", "select uri from videos"], "--sql: the answer has no column video_id, only uri"),
    ],
)
def test_a_takedown_of_nothing_is_refused(
    spark: SparkSession, made: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["takedown", "--output", str(made), *arguments]) == 2
    assert said in capsys.readouterr().err
