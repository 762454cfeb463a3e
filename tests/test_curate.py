"""curate: a folder of videos becomes tables and files; a second run only does what changed."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path

import av
import pytest
from deltalake import DeltaTable
from PIL import Image
from pyspark.sql import DataFrame, SparkSession

import reelmill
from jobs import cli
from jobs.config.settings import load
from jobs.flow import waves
from jobs.lake import custom_tables
from jobs.lake.run import Run
from jobs.queries.duckdb_engine import Engine, Snapshot
from jobs.queries.pending import InForce, pending
from jobs.reports import labels
from jobs.reports.labels import Label
from jobs.similarity import copy_groups
from schemas import knowing
from tests.support.footage import numbers, write_numbered
from tests.support.outputs import files, table, tables, versions
from udfs.storage.settings import Params as Sources

pytestmark = pytest.mark.spark
SPLIT = ["--set", "split.clip_len_s=2", "--set", "split.min_clip_length_s=1"]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seconds, three seconds, half a second, and a file that is no video."""
    folder = tmp_path_factory.mktemp("videos")
    write_numbered(folder / "long.mp4", 150, audio="aac")
    write_numbered(folder / "other.mkv", 90, codec="mpeg4", first=500)
    write_numbered(folder / "short.mp4", 15, first=900)
    (folder / "text.mp4").write_text("no video at all")
    return folder


def curate(manifest: Path, output: Path, *options: str) -> int:
    """The exit status of a run."""
    return cli.main(["curate", "--manifest", str(manifest), "--output", str(output), *SPLIT, *options])


@pytest.fixture(scope="module")
def done(spark: SparkSession, manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output that one run has filled."""
    output = tmp_path_factory.mktemp("output")
    assert curate(manifest, output) == 0
    return output


@pytest.mark.nights
def test_the_steps_on_all_clips_say_how_many_there_are_and_what_came_of_them(
    spark: SparkSession, manifest: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("long.mp4", "again.mp4"):
        shutil.copyfile(manifest / "long.mp4", tmp_path / "in" / name)
    assert curate(tmp_path / "in", tmp_path / "output", "--set", "dedup.engine=mllib") == 0
    lines = [re.sub(r" in [0-9.]+ s", " in S s", record.getMessage()) for record in caplog.records]
    lines = [line for line in lines if line.startswith(("ingest: 2 files", "copies:", "dedup:", "filter:"))]
    assert lines == [
        "ingest: 2 files found, 0 left out",
        "copies: 6 clips to compare",
        "copies: 6 clips compared in S s, 3 copies found",
        "dedup: 3 clips to compare by vector, 3 of them new, and 3 new copies by hash",
        "dedup: k-means by Spark MLlib on the CPU (as set)",
        "dedup: 1 cluster fitted (version 1)",
        "dedup: 6 clips linked in S s",
        "filter: applying the thresholds",
        "filter: 6 clips judged in S s, 3 kept, 6 new or changed",
    ]


@pytest.fixture
def copy(done: Path, tmp_path: Path) -> Path:
    """The same output, to be changed. Media rows go on naming the first one's files."""
    return Path(shutil.copytree(done, tmp_path / "output"))


@pytest.mark.nights
@pytest.mark.parametrize("manifest_of", ["{}", "{}/**/*.mp4"], ids=["folder", "glob"])
def test_a_run_takes_no_clips_of_its_own_output(
    spark: SparkSession, tmp_path: Path, manifest_of: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_numbered(tmp_path / "v.mp4", 60)
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    words = [manifest_of.format(tmp_path), "-o", str(tmp_path / "link"), *SPLIT]
    assert cli.main(["curate", *words]) == 0
    before = versions(tmp_path / "out")
    assert cli.main(["curate", *words]) == 0
    assert versions(tmp_path / "out") == before
    capsys.readouterr()
    assert cli.main(["curate", *words, "--plan"]) == 0
    assert capsys.readouterr().out == "0 new files to ingest\nnothing is pending by the settings given\n"


@pytest.mark.nights
@pytest.mark.parametrize("killed", ["stage IN ('ingest', 'split', 'curate')", "stage IN ('ingest', 'split')"])
def test_what_a_killed_run_did_not_note_is_noted_by_the_next(manifest: Path, copy: Path, killed: str) -> None:
    """With the row of the chain an output is as releases before left it, in which no run looked for such stages."""
    library = reelmill.open(copy)
    funnel = library.table("funnel").arrow()
    DeltaTable(copy / "tables" / "runs").delete(killed)
    assert library.table("funnel").arrow() != funnel
    assert curate(manifest, copy) == 0
    assert library.table("funnel").arrow() == funnel
    assert all(row["previews"] for row in library.sql("SELECT previews FROM curated"))
    before = versions(copy)
    assert curate(manifest, copy) == 0
    assert versions(copy) == before


@pytest.mark.nights
def test_a_killed_run_is_taken_up_with_one_look_at_all_clips_for_copies(
    manifest: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {row["clip_id"]: row["copy_of"] for row in table(copy, "copies")}
    lost = [row["clip_id"] for row in table(copy, "spans") if row["start_frame"] == 0]  # one of each video
    for name in ("signals", "copies", "embeddings"):
        DeltaTable(copy / "tables" / name).delete(f"clip_id IN {(*lost,)}")
    looks, pending = list[bool](), copy_groups.pending

    def watched(run: Run) -> DataFrame:
        looks.append(run.part is None)
        return pending(run)

    monkeypatch.setattr(copy_groups, "pending", watched)
    assert curate(manifest, copy, "--set", "curate.wave_videos=1") == 0
    assert (looks.count(True), looks.count(False)) == (1, 2)
    found = table(copy, "copies")
    assert len(found) == len(before)
    assert {row["clip_id"]: row["copy_of"] for row in found} == before
    assert len(table(copy, "embeddings")) == len(before)


def test_every_stage_has_a_row_for_every_clip(done: Path) -> None:
    counts = {
        name: len(table(done, name))
        for name in ("videos", "spans", "clips", "signals", "embeddings", "duplicates", "verdicts")
    }
    assert counts == {
        "videos": 3,
        "spans": 5,
        "clips": 5,
        "signals": 5,
        "embeddings": 5,
        "duplicates": 5,
        "verdicts": 5,
    }


def test_what_could_not_be_used_is_a_row(done: Path) -> None:
    failures = {(row["stage"], row["code"]): row["key"] for row in table(done, "failures")}
    assert failures.keys() == {("ingest", "UNSUPPORTED"), ("split", "TOO_SHORT")}
    assert failures["ingest", "UNSUPPORTED"].endswith("text.mp4")


def test_each_clip_holds_the_frames_of_its_span(done: Path) -> None:
    first = {row["video_id"]: 500 if row["uri"].endswith("mkv") else 0 for row in table(done, "videos")}
    paths = {row["clip_id"]: row["uri"] for row in table(done, "clips")}
    for span in table(done, "spans"):
        offset = first[span["video_id"]]
        assert numbers(paths[span["clip_id"]]) == list(range(offset + span["start_frame"], offset + span["end_frame"]))


def test_proxies_and_previews_open(done: Path) -> None:
    for row in table(done, "signals"):
        with av.open(row["proxy_uri"]) as proxy:
            assert sum(1 for _ in proxy.decode(video=0)) == row["proxy_num_frames"]
        for preview in row["previews"]:
            assert Image.open(preview["uri"]).format == "WEBP"


def test_every_file_belongs_to_a_row(done: Path) -> None:
    named = [row["uri"] for row in table(done, "clips")]
    named += [row["proxy_uri"] for row in table(done, "signals")]
    named += [preview["uri"] for row in table(done, "signals") for preview in row["previews"]]
    assert sorted(named) == sorted(str(done / name) for name in files(done))


def test_a_run_is_recorded_stage_by_stage(done: Path) -> None:
    runs = {row["stage"]: row for row in table(done, "runs")}
    assert runs.keys() == {"ingest", "split", "clip", "analyze", "copies", "embed", "dedup", "filter", "curate"}
    assert (runs["clip"]["num_out"], runs["split"]["num_failed"]) == (5, 1)
    assert runs["clip"]["cpu_s"] > 0
    assert runs["clip"]["bytes_out"] == sum(row["num_bytes"] for row in table(done, "clips"))


def test_again_it_writes_nothing_and_says_so(
    spark: SparkSession, manifest: Path, done: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, media = versions(done), files(done)
    assert curate(manifest, done) == 0
    assert (versions(done), files(done)) == (before, media)
    assert "nothing to do: 0 decoded, 0 rows written" in caplog.text


def test_a_new_threshold_costs_no_decode(
    spark: SparkSession, manifest: Path, copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = versions(copy)
    assert curate(manifest, copy, "--set", "filter.motion=true", "--set", "filter.motion_global_mean_threshold=1") == 0
    after = versions(copy)
    assert {name for name in after if after[name] != before[name]} == {"verdicts", "duplicates", "runs"}
    assert "other settings or code than in the last run: filter" in caplog.text
    assert not table(copy, "duplicates")  # what fails a gate is compared with nothing
    reasons = Counter(reason for row in table(copy, "verdicts") for reason in row["reasons"])
    assert reasons["motion_global_mean_low"] == 5


@pytest.mark.nights
def test_a_new_preview_setting_leaves_cut_clips_and_embeddings_alone(
    spark: SparkSession, manifest: Path, copy: Path
) -> None:
    before = versions(copy)
    assert curate(manifest, copy, "--set", "preview.quality=20") == 0
    after = versions(copy)
    assert {name for name in ("spans", "clips", "signals", "embeddings") if after[name] != before[name]} == {"signals"}
    assert len(table(copy, "signals")) == 10


@pytest.mark.nights
def test_settings_that_come_back_find_their_rows_again(spark: SparkSession, manifest: Path, copy: Path) -> None:
    assert curate(manifest, copy, "--set", "split.min_clip_length_s=1.5") == 0
    assert len(table(copy, "verdicts")) == 3
    assert curate(manifest, copy) == 0
    assert len(table(copy, "verdicts")) == 5
    assert len(table(copy, "clips")) == 5

    library = reelmill.open(copy)
    funnel = library.table("funnel").arrow()
    by_hand = ["--set", "split.clip_len_s=2", "--set", "split.min_clip_length_s=1.5"]
    assert cli.main(["split", "-o", str(copy), *by_hand]) == 0  # has nothing to do
    assert library.table("funnel").arrow() != funnel
    assert curate(manifest, copy) == 0
    assert library.table("funnel").arrow() == funnel


@pytest.mark.nights
def test_a_grown_folder_costs_only_what_is_new(spark: SparkSession, manifest: Path, copy: Path, tmp_path: Path) -> None:
    grown = Path(shutil.copytree(manifest, tmp_path / "videos"))
    write_numbered(grown / "new.mp4", 45, first=2000)
    before = tables(copy)
    assert curate(grown / "new.mp4", copy) == 0
    assert len(table(copy, "videos")) == 4
    assert set(before["signals"]) < set(tables(copy)["signals"])


@pytest.mark.nights
def test_where_all_clips_are_linked_again_all_are_judged_again(
    manifest: Path, copy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_numbered(tmp_path / "new.mp4", 45, first=2000)
    assert curate(tmp_path / "new.mp4", copy, "--refit") == 0
    assert len(table(copy, "verdicts")) == 6
    assert "filter: 6 clips judged" in caplog.text


@pytest.mark.nights
def test_after_a_filter_by_hand_only_new_clips_are_looked_up_and_all_are_judged(
    manifest: Path, copy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    by_hand = ["--set", "filter.motion=true", "--set", "filter.motion_global_mean_threshold=1"]
    assert cli.main(["filter", "--output", str(copy), *SPLIT, *by_hand]) == 0
    assert not any(row["kept"] for row in table(copy, "verdicts"))
    write_numbered(tmp_path / "new.mp4", 45, first=2000)
    caplog.clear()
    assert curate(tmp_path / "new.mp4", copy) == 0
    assert [n for line in caplog.messages for n in re.findall(r"filter: (\d+) clips? judged", line)] == ["1", "6"]
    assert all(row["kept"] for row in table(copy, "verdicts"))
    assert curate(tmp_path / "new.mp4", copy, "--check") == 0


@pytest.mark.nights
def test_failed_inputs_are_tried_again_when_asked(spark: SparkSession, manifest: Path, copy: Path) -> None:
    assert curate(manifest, copy, "--retry-failed", "UNSUPPORTED") == 0
    tried = {(row["code"], row["attempts"]) for row in table(copy, "failures")}
    assert tried == {("UNSUPPORTED", 1), ("UNSUPPORTED", 2), ("TOO_SHORT", 1)}


@pytest.mark.nights
def test_waves_of_one_video_give_the_same_rows(spark: SparkSession, manifest: Path, done: Path, tmp_path: Path) -> None:
    assert curate(manifest, tmp_path / "output", "--set", "curate.wave_videos=1") == 0
    assert tables(tmp_path / "output") == tables(done)
    assert files(tmp_path / "output") == files(done)


def test_clip_stats_count_as_nemo_curator_does(spark: SparkSession, done: Path) -> None:
    from dataclasses import replace

    from jobs.config.settings import Settings
    from jobs.lake import answers

    run = Run(spark, str(done), Settings())
    answers.register(replace(run, recorded=answers.recorded(run)))
    stats = {row["num_passed"]: row.asDict() for row in spark.sql("select * from clip_stats").collect()}
    assert stats[3] | {"video_id": "", "run_id": ""} == {
        "video_id": "",
        "run_id": "",
        "num_filtered_by_motion": 0,
        "num_filtered_by_aesthetic": 0,
        "num_passed": 3,
        "num_transcoded": 3,
        "num_with_embeddings": 3,
        "num_with_caption": 0,
        "num_with_webp": 3,
        "total_clip_duration": pytest.approx(5.0, abs=0.01),
        "max_clip_duration": pytest.approx(2.0, abs=0.01),
    }


@pytest.mark.nights
def test_a_condition_on_clips_and_their_videos_is_a_gate(manifest: Path, copy: Path) -> None:
    assert (
        curate(manifest, copy, "--set", "filter.where=v.container LIKE 'mov%' AND NOT v.is_hdr AND c.width = 320") == 0
    )
    films = {row["video_id"] for row in table(copy, "videos") if row["container"].startswith("mov")}
    reasons = {row["video_id"] in films: row["reasons"] for row in table(copy, "verdicts")}
    assert reasons == {True: [], False: ["where"]}


@pytest.mark.nights
def test_a_condition_on_columns_of_the_manifest_goes_by_what_they_say_now(
    spark: SparkSession, manifest: Path, tmp_path: Path
) -> None:
    listed, output = tmp_path / "m.csv", tmp_path / "output"
    for terms, reasons in (("cc-by", []), ("revoked", ["where"])):
        listed.write_text(f"uri,license\n{manifest}/long.mp4,{terms}\n{manifest}/other.mkv,cc-by\n")
        assert curate(listed, output, "--set", "filter.where=v.attributes['license'] = 'cc-by'") == 0
        videos = {row["video_id"]: row["uri"] for row in table(output, "videos")}
        of_long = [row for row in table(output, "verdicts") if videos[row["video_id"]].endswith("long.mp4")]
        assert [row["reasons"] for row in of_long] == 3 * [reasons]
    assert len(table(output, "videos")) == 2


@pytest.mark.nights
def test_a_new_label_is_looked_up_only_where_a_condition_names_labels(
    manifest: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_label = ["--set", "filter.where=NOT array_contains(l.labels, 'bad')"]
    clip = min(row["clip_id"] for row in table(copy, "verdicts"))
    with monkeypatch.context() as patched:
        patched.setattr(waves, "of_unfinished", lambda *_: pytest.fail("whole tables are looked at"))
        labels.add(str(copy), Sources(), Label(clip, "good", "ann"))
        assert curate(manifest, copy) == 0
    assert curate(manifest, copy, *by_label) == 0
    labels.add(str(copy), Sources(), Label(clip, "bad", "ann"))
    assert curate(manifest, copy, *by_label) == 0
    assert {row["clip_id"] for row in table(copy, "verdicts") if row["reasons"] == ["where"]} == {clip}


@pytest.mark.parametrize("condition", ["v.is_hrd", "AND", "c.width"])
def test_a_condition_that_is_none_is_refused_before_anything_is_cut(
    manifest: Path, tmp_path: Path, condition: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert curate(manifest, tmp_path / "new", "--set", f"filter.where={condition}") != 0
    told = capsys.readouterr().err
    assert told.count("filter.where: ") == 1
    assert "Traceback" not in told


@pytest.mark.nights
def test_videos_that_come_later_are_all_that_is_looked_at_and_end_as_if_all_had_come_at_once(
    spark: SparkSession, manifest: Path, done: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    output = tmp_path / "output"
    for names in (("long.mp4", "text.mp4"), ("other.mkv", "short.mp4")):
        for name in names:
            shutil.copyfile(manifest / name, folder / name)
        assert curate(folder, output) == 0
    assert curate(folder, output, "--check") == 0
    assert len(table(output, "clips")) == len(table(done, "clips"))
    assert sorted(row["reasons"] for row in table(output, "verdicts")) == sorted(
        row["reasons"] for row in table(done, "verdicts")
    )
    appended = [row for row in DeltaTable(output / "tables" / "clips").history() if row["operation"] == "WRITE"]
    assert len(appended) == 2


@pytest.mark.nights
def test_a_check_finds_clips_to_link_and_new_files(
    spark: SparkSession, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip_id = table(copy, "duplicates")[0]["clip_id"]
    DeltaTable(copy / "tables" / "duplicates").delete(f"clip_id = '{clip_id}'")
    write_numbered(tmp_path / "new.mp4", 45, first=2000)
    before = versions(copy)
    assert curate(tmp_path / "new.mp4", copy, "--check") == 1
    said = capsys.readouterr().err
    assert "check: 1 clip to link or to unlink as duplicates; " in said
    assert "; 1 file to ingest" in said
    assert versions(copy) == before


@pytest.mark.nights
def test_a_check_finds_what_is_left_and_what_is_there_twice(
    spark: SparkSession, manifest: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signals = DeltaTable(copy / "tables" / "signals")
    clip_id = table(copy, "signals")[0]["clip_id"]
    signals.delete(f"clip_id = '{clip_id}'")
    spans = spark.read.format("delta").load(str(copy / "tables" / "spans"))
    spans.limit(1).localCheckpoint().write.format("delta").mode("append").save(str(copy / "tables" / "spans"))
    assert curate(manifest, copy, "--check") == 1
    assert "check: 1 input of analyze pending; 1 row of spans there more than once" in capsys.readouterr().err
    assert curate(manifest, copy) == 0
    assert clip_id in {row["clip_id"] for row in table(copy, "signals")}


OWN = """
[custom.level]
function = "own_level:level"
input = "row"
columns = {level = "double"}
gate = "level > 0"
"""


@pytest.mark.nights
def test_a_clip_that_a_gate_drops_takes_no_good_copy_along(spark: SparkSession, tmp_path: Path) -> None:
    """Of three copies the largest one is kept by its hashes, and fails the gate; the last one comes later."""
    folder, output, conf = tmp_path / "in", tmp_path / "output", tmp_path / "own.toml"
    folder.mkdir()
    conf.write_text(OWN, encoding="utf-8")
    level = 'def level(rows):\n    return [float("bad" not in row["video_uri"]) for row in rows]\n'
    (tmp_path / "own_level.py").write_text(level, encoding="utf-8")
    settings = ["--conf", str(conf), "--set", "dedup.engine=mllib"]
    reasons: dict[str, list[str]] = {"bad.mp4": ["level"], "good.mp4": []}
    write_numbered(folder / "bad.mp4", 60, audio="aac")
    for name, reason in (("good.mp4", None), ("later.mp4", "duplicate")):
        write_numbered(folder / name, 60)
        reasons[name] = [reason] if reason else []
        assert curate(folder, output, *settings) == 0
        assert {Path(row["video_uri"]).name: row["reasons"] for row in table(output, "verdicts")} == reasons
        assert curate(folder, output, *settings, "--check") == 0
    force = load([str(conf)], SPLIT[1::2])
    with knowing(custom_tables.declared(force)):
        rows = Snapshot(Engine(str(output), Sources(), "min")).rows
        assert {row.inputs for row in pending(rows, InForce.of(force))} == {0}
