"""Exports by Spark: the package of each format reads the files; an interrupted export continues."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import datasets
import lance
import polars
import pyarrow.parquet as pq
import pytest
import webdataset
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import SparkSession

import reelmill
from jobs import cli
from jobs.config.errors import UsageError
from jobs.config.settings import Settings
from jobs.exports import withdrawals
from jobs.exports.files import is_tried_again, with_input_path
from jobs.lake import rest
from jobs.lake.run import Run
from tests.support.export_rows import files, index, release
from tests.support.outputs import keep_only, table, versions
from udfs.exports import nemo
from udfs.exports.nemo import span_uuid
from udfs.exports.shards import Summary

pytestmark = pytest.mark.spark
slow = pytest.mark.exports
SHARDS = ("--format", "webdataset", "export.webdataset.shard_clips=2")


@pytest.fixture(scope="module")
def output(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output of this module's own; its tables name the clips of the other."""
    return Path(shutil.copytree(curated, tmp_path_factory.mktemp("export") / "output"))


def export(output: Path, to: Path, *words: str) -> int:
    """The exit status of an export; a word with an equals sign and a dot before it is a setting."""
    given = [part for word in words for part in (("--set", word) if word.startswith("export.") else (word,))]
    return cli.main(["export", "--output", str(output), "--to", str(to), *given])


def has_no_path_of_this_machine(to: Path) -> bool:
    """Whether no file of an export holds the path of a folder of the tests; the release's settings aside."""
    texts = [path.read_bytes() for path in to.rglob("*") if path.is_file() and path.name != "release.json"]
    return bool(texts) and not any(b"/pytest-" in text for text in texts) and release(to)["output"] is None


def clips(output: Path) -> dict[str, str]:
    """Where the mp4 of each clip lies."""
    return {row["clip_id"]: row["uri"] for row in table(output, "clips")}


def standing(output: Path) -> list[dict[str, Any]]:
    """The failures of exports that stand."""
    return list(reelmill.open(output).sql("SELECT * FROM failed WHERE stage = 'export'").arrow().to_pylist())


def clips_of_parts(to: Path) -> list[list[str]]:
    """The clips of each part of an export."""
    return [pq.read_table(path)["clip_id"].to_pylist() for path in sorted((to / "index").iterdir())]


@pytest.fixture(scope="module")
def shards(output: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of two shards."""
    to = tmp_path_factory.mktemp("shards")
    assert export(output, to, *SHARDS) == 0
    return to


def test_webdataset_reads_its_shards(output: Path, shards: Path) -> None:
    names = sorted(path.name for path in (shards / "shards").iterdir())
    assert names == ["240p-4x3-2s-00000.tar", "240p-4x3-2s-00001.tar"]
    found = webdataset.WebDataset([str(shards / "shards" / name) for name in names], shardshuffle=False)
    samples = {sample["__key__"]: sample for sample in found}
    assert {key: sample["mp4"] for key, sample in samples.items()} == {
        k: Path(v).read_bytes() for k, v in clips(output).items()
    }
    told = {key: json.loads(sample["json"]) for key, sample in samples.items()}
    assert all(told[key]["clip_id"] == key and told[key]["embedding"] for key in samples)
    assert {Path(facts["uri"]).parts[:2] for facts in told.values()} == {("media", "clips")}
    assert {facts["video_uri"] for facts in told.values()} == {"long.mp4", "other.mkv"}
    assert has_no_path_of_this_machine(shards)


def test_a_release_tells_what_it_was_made_of(output: Path, shards: Path) -> None:
    told = release(shards)
    assert told["counts"] == {"num_clips": 3, "num_files": 2, "num_bytes": told["counts"]["num_bytes"], "num_failed": 0}
    assert {part["path"]: part["sha256"] for part in told["parts"]}.items() <= files(shards).items()
    assert told["tables"].keys() == versions(output).keys()
    assert told["settings"]["export"]["webdataset"]["shard_clips"] == 2
    assert told["models"] == {"embed": ["descriptor"]}
    assert told["stages"]["split"]["conf"]["split"]["clip_len_s"] == 2
    assert "spark" not in told["settings"]  # keys of Spark's own may be secrets
    [known] = (output / "exports").iterdir()
    assert json.loads(known.read_text())["to"] == str(shards)


def test_after_a_takedown_a_release_tells_what_is_left(
    spark: SparkSession, output: Path, shards: Path, tmp_path: Path
) -> None:
    to, run = Path(shutil.copytree(shards, tmp_path / "to")), Run(spark, str(output), Settings())
    [alone] = (set(names) for names in clips_of_parts(to) if len(names) == 1)
    withdrawals.take_out(run, str(to), alone, dry_run=True)
    assert release(to) == release(shards)
    withdrawals.take_out(run, str(to), alone, dry_run=False)
    assert release(to)["counts"] == release(shards)["counts"] | {
        "num_clips": 2,
        "num_files": 1,
        "num_bytes": sum(path.stat().st_size for path in (to / "shards").iterdir()),
    }
    [one, _] = sorted(set(clips(output)) - alone)
    withdrawals.take_out(run, str(to), {one}, dry_run=False)
    told = release(to)
    assert [(part["sha256"], part["num_clips"]) for part in told["parts"]] == [
        (hashlib.sha256(path.read_bytes()).hexdigest(), 1) for path in (to / "shards").iterdir()
    ]
    assert told["taken_down_at"] > told["ended_at"] == release(shards)["ended_at"]
    withdrawals.take_out(run, str(to), {one}, dry_run=False)
    assert release(to) == told


def test_the_card_of_a_data_set_counts_what_a_takedown_left(spark: SparkSession, output: Path, tmp_path: Path) -> None:
    assert export(output, tmp_path, "--format", "huggingface") == 0
    with (tmp_path / "README.md").open("a") as file:
        file.write("Written by a person.\n")
    withdrawals.take_out(Run(spark, str(output), Settings()), str(tmp_path), {min(clips(output))}, dry_run=False)
    card = (tmp_path / "README.md").read_text()
    assert "\n2 clips in" in card
    assert card.endswith("Written by a person.\n")


@slow
def test_it_is_made_again_byte_for_byte_from_its_release_when_the_tables_have_moved_on(
    spark: SparkSession, output: Path, shards: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    moved = Path(shutil.copytree(output, tmp_path / "moved"))
    keep_only(spark, moved, [])
    assert export(moved, tmp_path / "again", "--release", str(shards / "release.json")) == 0
    assert files(tmp_path / "again") == files(shards)
    assert "2 parts, byte for byte those of" in caplog.text
    assert export(moved, tmp_path / "now", *SHARDS) == 0
    assert release(tmp_path / "now")["parts"] == []


@slow
def test_again_it_writes_what_is_missing_with_the_tables_of_then(
    spark: SparkSession, output: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = Path(shutil.copytree(output, tmp_path / "moved"))
    to = Path(shutil.copytree(shards, tmp_path / "to"))
    before = {path.name: path.stat().st_mtime_ns for path in (to / "shards").iterdir()}
    keep_only(spark, moved, [])
    (to / "shards/240p-4x3-2s-00001.tar").unlink()
    assert export(moved, to, *SHARDS, "--dry-run") == 0
    assert "webdataset: 3 rows" in (told := capsys.readouterr().out)
    assert "2 parts, 1 to write" in told
    assert export(moved, to, *SHARDS) == 0
    assert files(to) == files(shards)
    assert (to / "shards/240p-4x3-2s-00000.tar").stat().st_mtime_ns == before["240p-4x3-2s-00000.tar"]
    assert export(moved, to, "--format", "parquet") == 2
    assert "holds an export with another format, query" not in (told := capsys.readouterr().err)
    assert "holds an export with another format, export.webdataset; give another folder" in told


@slow
def test_as_of_a_time_the_tables_are_as_they_were(spark: SparkSession, output: Path, tmp_path: Path) -> None:
    then = datetime.now(UTC).isoformat()
    moved = Path(shutil.copytree(output, tmp_path / "moved"))
    keep_only(spark, moved, [])
    query = ("--format", "parquet", "--query", "select clip_id from curated")
    assert export(moved, tmp_path / "then", *query, "--as-of", then) == 0
    assert len(index(tmp_path / "then")) == 3
    assert export(moved, tmp_path / "now", *query) == 0
    assert release(tmp_path / "now")["counts"]["num_clips"] == 0


@slow
def test_a_query_without_clips_is_a_flat_table(output: Path, tmp_path: Path) -> None:
    query = "select video_id, count(*) as n, map('a', 1) as m from clips group by 1"
    assert export(output, tmp_path, "--format", "parquet", "--query", query, "export.parquet.rows_per_file=1") == 0
    paths = sorted((tmp_path / "data").iterdir())
    assert len(paths) == 2
    assert sorted(polars.read_parquet(paths, columns=["n"])["n"]) == [1, 2]
    assert {row["video_id"] for row in index(tmp_path)} == {row["video_id"] for row in table(output, "videos")}


@slow
def test_datasets_reads_its_folder(output: Path, tmp_path: Path) -> None:
    assert export(output, tmp_path, "--format", "huggingface", "export.huggingface.license=cc-by-4.0") == 0
    data = datasets.load_dataset(str(tmp_path), split="train", cache_dir=str(tmp_path / "cache"))
    assert isinstance(data.features["video"], datasets.Video)
    rows = {row["clip_id"]: row for row in data.cast_column("video", datasets.Video(decode=False))}
    assert {key: row["video"]["bytes"] for key, row in rows.items()} == {
        k: Path(v).read_bytes() for k, v in clips(output).items()
    }
    assert all(row["previews"][0]["start_frame"] == 0 and row["attributes"] is None for row in rows.values())
    card = (tmp_path / "README.md").read_text()
    assert 'license: "cc-by-4.0"' in card
    assert "3 clips in 1 files" in card
    assert {row["video_uri"] for row in rows.values()} == {"long.mp4", "other.mkv"}


@slow
def test_lance_reads_its_data_set(output: Path, tmp_path: Path) -> None:
    assert export(output, tmp_path / "to", "--format", "lance", "export.parquet.rows_per_file=2") == 0
    data = lance.dataset(tmp_path / "to/data.lance")
    assert sorted(data.to_table(columns=["clip_id"])["clip_id"].to_pylist()) == sorted(clips(output))
    assert len(data.get_fragments()) == 2
    assert set(data.to_table(columns=["video_uri"])["video_uri"].to_pylist()) == {"long.mp4", "other.mkv"}
    assert {len(row["embedding"]) for row in data.to_table(columns=["embedding"]).to_pylist()} == {256}
    assert export(output, tmp_path / "again", "--release", str(tmp_path / "to/release.json")) == 0
    hashes = [[part["sha256"] for part in release(tmp_path / name)["parts"]] for name in ("to", "again")]
    assert hashes[0] == hashes[1]


@pytest.mark.exports
def test_nemo_has_every_clip_kept_or_not(spark: SparkSession, output: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(output, tmp_path / "moved"))
    kept = sorted(clips(moved))[:2]
    keep_only(spark, moved, kept)
    assert export(moved, tmp_path / "to", "--format", "NeMo", "export.nemo.embedding_algorithm=Descriptor") == 0
    named = {row["clip_id"]: row["name"] for row in index(tmp_path / "to") if row["clip_id"]}
    there = {
        folder: {path.stem for path in (tmp_path / "to" / folder).iterdir()}
        for folder in ("clips", "filtered_clips", "previews")
    }
    others = {named[clip_id] for clip_id in named.keys() - set(kept)}
    assert there == {
        "clips": {named[key] for key in kept},
        "filtered_clips": others,
        "previews": {named[key] for key in kept},
    }
    videos = {row["video_id"]: row for row in table(moved, "videos")}
    for span in table(moved, "spans"):
        told = json.loads((tmp_path / f"to/metas/v0/{named[span['clip_id']]}.json").read_text())
        video = videos[span["video_id"]]
        made_of = {
            "source_video": video["uri"],
            "video": video,
            "span": [span["start_s"], span["end_s"]],
            "method": "fixed_stride",
        }
        assert told["span_uuid"] == span_uuid(made_of)
        assert told["duration_span"] == [span["start_s"], span["end_s"]]
        assert told["valid"] == (span["clip_id"] in kept)
    assert {path.name for path in (tmp_path / "to/processed_videos").iterdir()} == {"long.mp4.json", "other.mkv.json"}
    assert pq.read_table(tmp_path / "to/descriptor_embd_parquet").num_rows == 2
    assert has_no_path_of_this_machine(tmp_path / "to")


@pytest.mark.exports
def test_a_model_without_rows_is_refused_and_those_there_are_named(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for setting, line in (
        ('caption_models=["qwen"]', "no rows of captions by qwen here, nor by any other model"),
        ("embedding_algorithm=internvideo2", "no rows of embeddings by internvideo2 here, only by descriptor"),
    ):
        assert export(output, tmp_path / "to", "--format", "nemo", f"export.nemo.{setting}") == 2
        assert f"export.nemo.{setting.partition('=')[0]}: {line}" in capsys.readouterr().err
    assert not (tmp_path / "to").exists()


@slow
def test_a_clip_that_is_gone_is_a_failure_until_it_is_asked_for_again(
    spark: SparkSession, curated_apart: Path, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(curated_apart, tmp_path / "moved"))
    clip_id, uri = min(clips(moved).items())
    aside = Path(uri).rename(tmp_path / "aside.mp4")
    try:
        assert export(moved, tmp_path / "to", *SHARDS) == 0
        failed = [(row["key"], row["code"]) for row in table(moved, "failures") if row["stage"] == "export"]
        assert failed == [(clip_id, "NOT_FOUND")]
        assert [row["key"] for row in standing(moved)] == [clip_id]
        assert rest.is_noted(Run(spark, str(moved), Settings()))  # the next chain has nothing to do with it
        assert release(tmp_path / "to")["counts"]["num_failed"] == 1
        assert clip_id not in {row["clip_id"] for row in index(tmp_path / "to")}
    finally:
        aside.rename(uri)
    assert export(moved, tmp_path / "other", *SHARDS) == 0
    assert [row["key"] for row in standing(moved)] == [clip_id]  # the first folder still lacks it
    assert export(moved, tmp_path / "to", *SHARDS, "--retry-failed") == 0
    assert release(tmp_path / "to")["counts"]["num_clips"] == 3
    assert standing(moved) == []


@slow
def test_a_clip_whose_file_was_another_one_is_tried_again_by_the_next_export(
    curated_apart: Path, tmp_path: Path
) -> None:
    output = Path(shutil.copytree(curated_apart, tmp_path / "output"))
    clip_id, uri = min(clips(output).items())
    content = Path(uri).read_bytes()
    try:
        Path(uri).write_bytes(b"another file")
        assert export(output, tmp_path / "to", *SHARDS) == 0
        assert release(tmp_path / "to")["counts"]["num_failed"] == 1
    finally:
        Path(uri).write_bytes(content)
    assert export(output, tmp_path / "to", *SHARDS) == 0
    assert release(tmp_path / "to")["counts"]["num_failed"] == 0
    assert clip_id in {row["clip_id"] for row in index(tmp_path / "to")}


def test_a_part_that_lacks_clips_is_written_again_where_that_may_help() -> None:
    def tried_again(retry: tuple[str, ...] | None, failed: dict[str, int]) -> bool:
        return is_tried_again(Summary("a.tar", 1, 1, 1, "", {"num_failed": 1, "failed": failed}), retry)

    assert not tried_again(None, {"NOT_FOUND": 1})
    assert tried_again(None, {"NOT_FOUND": 1, "UNREACHABLE": 1})
    assert [tried_again(retry, {"NOT_FOUND": 1}) for retry in ((), ("NOT_FOUND",), ("TIMEOUT",))] == [True, True, False]
    assert is_tried_again(Summary("a.tar", 1, 1, 1, "", {"num_failed": 1}), None)  # of a release that noted no codes
    assert not is_tried_again(Summary("a.tar", 1, 1, 1, "", {"num_failed": 0}), ())


def test_rows_that_no_takedown_can_find_are_warned_of(
    output: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for columns, warnings in (("uri", 1), ("uri, video_id", 0), ("uri, clip_id", 0)):
        caplog.clear()
        query = f"select {columns} from clips"
        assert export(output, tmp_path, "--format", "parquet", "--query", query, "--dry-run") == 0
        assert caplog.text.count("no takedown can take rows out of it") == warnings


def test_an_export_of_another_output_is_neither_gone_on_with_nor_made_again(
    output: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(output, tmp_path / "other"))
    videos = DeltaTable(other / "tables/videos").to_pyarrow_table()
    shutil.rmtree(other / "tables/videos")
    write_deltalake(other / "tables/videos", videos)  # the same rows, and another table
    assert export(other, shards, *SHARDS) == 2
    assert f"--to {shards}: holds an export of another output; give another folder" in capsys.readouterr().err
    assert export(other, tmp_path / "to", "--release", str(shards / "release.json")) == 2
    assert f"release.json: is of another output than {other}" in capsys.readouterr().err
    assert not (tmp_path / "to").exists()


@slow
def test_rows_without_a_clip_are_written_as_well(output: Path, tmp_path: Path) -> None:
    query = (
        "select v.video_id, c.clip_id from current_videos v left join current_clips c "
        "on c.video_id = v.video_id union all select 'v', null union all select null, null"
    )
    for number in (1, 100):
        to = tmp_path / str(number)
        words = ("--format", "parquet", "--query", query, f"export.parquet.rows_per_file={number}")
        assert export(output, to, *words) == 0
        read = (row for path in (to / "data").iterdir() for row in pq.read_table(path).to_pylist())
        rows = [(row["video_id"], row["clip_id"]) for row in read]
        assert len(rows) == len(table(output, "clips")) + 2
        assert {("v", None), (None, None)} <= {*rows}
        assert len([*(to / "data").iterdir()]) == (len(rows) if number == 1 else 1)


@pytest.mark.parametrize(
    ("given", "least", "most", "folder"),
    [
        ("", "/videos/a/1.mp4", "/videos/b.mp4", "/videos"),
        ("", "/videos/a.mp4", "bucket/b.mp4", ""),
        ("", None, None, ""),
        ("/videos/", "/videos/a/1.mp4", "/videos/b.mp4", "/videos/"),
        ("s3://bucket/day", "bucket/day/a.mp4", "bucket/day/b.mp4", "s3://bucket/day"),
        ("bucket/day", "bucket/day/a.mp4", "bucket/day/b.mp4", "bucket/day"),
        ("videos", f"{Path.cwd()}/videos/a.mp4", f"{Path.cwd()}/videos/b.mp4", f"{Path.cwd()}/videos"),
    ],
)
def test_paths_are_below_the_folder_that_all_videos_share(
    given: str, least: str | None, most: str | None, folder: str
) -> None:
    assert with_input_path(nemo.Params(input_path=given), least, most).input_path == folder


@pytest.mark.parametrize(
    ("given", "least", "most", "outside"),
    [
        ("/videos", "/videos/a.mp4", "bucket/b.mp4", "bucket/b.mp4"),
        ("/videos/b", "/videos/a.mp4", "/videos/b/1.mp4", "/videos/a.mp4"),
        ("/video", "/videos/a.mp4", "/videos/b.mp4", "/videos/a.mp4"),
    ],
)
def test_a_folder_that_is_not_above_all_videos_is_one_line(given: str, least: str, most: str, outside: str) -> None:
    with pytest.raises(UsageError, match=rf"^export.nemo.input_path: {given} is not above {outside}$"):
        with_input_path(nemo.Params(input_path=given), least, most)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--format", "webdataset", "--query", "select 1"), "goes by clip_id, which the query does not give"),
        (("--format", "parquet", "--query", "select tint from clips"), "the query: [UNRESOLVED_COLUMN"),
        (("--format", "parquet", "--as-of", "2001-01-01"), "no tables then"),
    ],
)
def test_a_query_that_cannot_be_exported_is_one_line(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert export(output, tmp_path, *words) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
