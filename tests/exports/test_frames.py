"""Exports of frames: folders with the right pictures, complete or absent, and written once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from jobs import cli
from tests.support.footage import read_number, write_numbered
from tests.support.outputs import table
from udfs.core.errors import MediaError
from udfs.exports import frames
from udfs.runtime.context import Env, Row

ENV = Env(media_root="unused", fingerprint="f" * 16)


def row(path: Path, version: str = "v1") -> Row:
    return {"key": "c1ip", "uri": str(path), "version": version, "duration_s": 2.0, "fingerprint": "f" * 16} | {
        "shown_uri": path.name,
        "is_source": False,
    }


def write(clip: Row, to: Path, **params: object) -> list[Row]:
    how = TypeAdapter(frames.Params).validate_python(params)
    return frames.write(clip, how, ENV, str(to), str(to / ".writing"))


def numbers_in(folder: Path) -> list[int]:
    """The numbers in the pictures of a folder, in the order of their names."""
    pictures = (path for path in sorted(folder.iterdir()) if path.name != frames.LIST)
    return [read_number(np.asarray(Image.open(path))) for path in pictures]


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """The modification time and the bytes of every file below a folder."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def test_each_rate_has_a_folder_of_pictures_named_by_their_times(tmp_path: Path) -> None:
    [done] = write(row(write_numbered(tmp_path / "a.mp4")), tmp_path / "to", fps=[1, 2.5])
    assert sorted(path.name for path in (tmp_path / "to/c1ip").iterdir()) == ["1fps", "2.5fps"]
    assert numbers_in(tmp_path / "to/c1ip/1fps") == [0, 30, 59]
    assert numbers_in(tmp_path / "to/c1ip/2.5fps") == [0, 12, 24, 36, 48, 59]
    names = sorted(path.name for path in (tmp_path / "to/c1ip/1fps").glob("*.jpg"))
    assert names == ["000000_0.000s.jpg", "000001_1.000s.jpg", "000002_1.967s.jpg"]
    size = sum(path.stat().st_size for path in (tmp_path / "to").rglob("*.jpg"))
    assert done == {"num_frames": 9, "num_bytes": size}


@pytest.mark.parametrize(("policy", "number"), [("first", 0), ("middle", 30), ("last", 59)])
def test_a_policy_exports_one_picture(tmp_path: Path, policy: str, number: int) -> None:
    write(row(write_numbered(tmp_path / "a.mp4")), tmp_path / "to", policy=policy)
    assert numbers_in(tmp_path / "to/c1ip" / policy) == [number]


def test_the_list_has_the_source_the_settings_and_the_times(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4")
    write(row(path), tmp_path / "to", quality=80)
    found = json.loads((tmp_path / "to/c1ip/1fps/frames.json").read_text())
    assert found.pop("times_s") == pytest.approx([0, 1, 59 / 30], abs=1e-6)
    assert found == {"uri": path.name, "version": "v1", "target_res": -1, "encoding": "jpeg", "quality": 80}


def test_target_res_gives_squares_and_npz_gives_one_file(tmp_path: Path) -> None:
    write(row(write_numbered(tmp_path / "a.mp4")), tmp_path / "to", target_res=96, encoding="npz")
    with np.load(tmp_path / "to/c1ip/1fps/frames.npz") as arrays:
        assert arrays["frames"].shape == (3, 96, 96, 3)
        assert [read_number(picture) for picture in arrays["frames"]] == [0, 30, 59]


def test_pictures_of_a_rotated_clip_are_upright(tmp_path: Path) -> None:
    write(row(write_numbered(tmp_path / "a.mp4", 30, rotation=90)), tmp_path / "to", policy="last")
    [path] = (tmp_path / "to/c1ip/last").glob("*.jpg")
    assert Image.open(path).size == (240, 320)
    assert numbers_in(path.parent) == [29]


def test_a_complete_folder_is_left_alone_and_a_new_rate_gets_its_own(tmp_path: Path) -> None:
    clip, to = row(write_numbered(tmp_path / "a.mp4")), tmp_path / "to"
    write(clip, to)
    before = contents(to)
    assert write(clip, to) == []
    assert write(clip, to, fps=[1, 2])[0]["num_frames"] == 5
    assert contents(to).items() > before.items()


@pytest.mark.parametrize("change", [{"quality": 20}, {"target_res": 64}, {"encoding": "png"}])
def test_other_settings_replace_the_folder_as_a_whole(tmp_path: Path, change: dict[str, object]) -> None:
    clip, to = row(write_numbered(tmp_path / "a.mp4")), tmp_path / "to"
    write(clip, to)
    before = contents(to)
    assert write(clip, to, **change)[0]["num_frames"] == 3
    after = contents(to)
    assert len(after) == 4
    assert not set(before.values()) & set(after.values())


def test_a_file_of_another_version_is_exported_again(tmp_path: Path) -> None:
    write(row(write_numbered(tmp_path / "a.mp4")), tmp_path / "to")
    other = row(write_numbered(tmp_path / "a.mp4", first=500), version="v2")
    assert write(other, tmp_path / "to")[0]["num_frames"] == 3
    assert numbers_in(tmp_path / "to/c1ip/1fps") == [500, 530, 559]


def test_a_file_by_another_name_is_not_exported_again(tmp_path: Path) -> None:
    clip, to = row(write_numbered(tmp_path / "a.mp4")), tmp_path / "to"
    write(clip, to)
    assert write(clip | {"shown_uri": str(tmp_path / "a.mp4")}, to) == []


def test_a_folder_without_its_list_is_not_complete(tmp_path: Path) -> None:
    clip, to = row(write_numbered(tmp_path / "a.mp4")), tmp_path / "to"
    write(clip, to)
    (to / "c1ip/1fps/frames.json").unlink()
    (to / "c1ip/1fps/000009_9.000s.jpg").write_bytes(b"")
    assert write(clip, to)[0]["num_frames"] == 3
    assert numbers_in(to / "c1ip/1fps") == [0, 30, 59]


@pytest.mark.parametrize("encoding", ["jpeg", "npz"])
def test_a_video_that_ends_early_leaves_nothing(tmp_path: Path, encoding: str) -> None:
    path = write_numbered(tmp_path / "a.mkv", gop=10)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    content = bytearray(path.read_bytes())
    content[3000:] = bytes(len(content) - 3000)
    path.write_bytes(content)
    with pytest.raises(MediaError):
        write(row(path), tmp_path / "to", fps=[30], encoding=encoding)
    assert [p for p in (tmp_path / "to").rglob("*") if p.name != ".writing"] == []


def test_a_video_that_changed_since_it_was_ingested_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="CHANGED"):
        write(row(write_numbered(tmp_path / "a.mp4"), version="1-1") | {"is_source": True}, tmp_path / "to")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"target_res": 0}, "target_res 0"),
        ({"target_res": -2}, "greater than or equal to -1"),
        ({"fps": []}, "at least 1 item"),
        ({"fps": [0]}, "greater than 0"),
        ({"fps": [1, 1]}, "the same rate twice"),
        ({"policy": "best"}, "'sequence', 'first', 'middle' or 'last'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(params: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(frames.Params).validate_python(params)


@pytest.fixture(scope="module")
def output(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the shared output; its tables name the clips of the original."""
    return Path(shutil.copytree(curated, tmp_path_factory.mktemp("export") / "output"))


def export_frames(output: Path, to: Path, *settings: str) -> int:
    """The exit status of an export."""
    overrides = [word for setting in settings for word in ("--set", setting)]
    return cli.main(["export", "--format", "frames", "--output", str(output), "--to", str(to), *overrides])


@pytest.mark.spark
def test_every_kept_clip_has_its_folders(output: Path, tmp_path: Path) -> None:
    assert export_frames(output, tmp_path, "export.frames.fps=[1, 2]") == 0
    starts = {row["clip_id"]: row["start_frame"] for row in table(output, "spans")}
    first = {row["video_id"]: 500 if row["uri"].endswith("mkv") else 0 for row in table(output, "videos")}
    starts = {row["clip_id"]: starts[row["clip_id"]] + first[row["video_id"]] for row in table(output, "clips")}
    assert sorted(starts.values()) == [0, 60, 500]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(starts)  # and nothing else is left behind
    for clip_id, start in starts.items():
        assert numbers_in(tmp_path / clip_id / "1fps") == [start, start + 30, start + 59]
        assert numbers_in(tmp_path / clip_id / "2fps") == [start, start + 15, start + 30, start + 45, start + 59]


@pytest.mark.spark
@pytest.mark.exports
def test_a_second_export_writes_only_what_is_missing(
    output: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert export_frames(output, tmp_path) == 0
    before, runs = contents(tmp_path), len(table(output, "runs"))
    assert export_frames(output, tmp_path) == 0
    assert "nothing to do" in caplog.text
    assert (contents(tmp_path), len(table(output, "runs"))) == (before, runs)
    removed_list = next(iter(tmp_path.iterdir())) / "1fps" / frames.LIST
    removed_list.unlink()
    assert export_frames(output, tmp_path) == 0
    assert {name: content for name, (_, content) in contents(tmp_path).items()} == {
        n: c for n, (_, c) in before.items()
    }
    last = max((row for row in table(output, "runs") if row["stage"] == "export"), key=lambda row: row["started_at"])
    assert (last["num_in"], last["num_out"], last["num_failed"]) == (1, 1, 0)
    assert last["cpu_s"] > 0


@pytest.mark.spark
@pytest.mark.exports
def test_many_clips_are_exported_in_waves(output: Path, tmp_path: Path) -> None:
    # So many waves that a hash deals the two videos to two of them.
    assert export_frames(output, tmp_path, "curate.wave_hours=0.000001", "export.frames.policy=first") == 0
    rows = table(output, "runs")
    last = max(row["run_id"] for row in rows)
    waves = [(row["num_in"], row["exported_to"]) for row in rows if row["run_id"] == last]
    assert sorted(waves) == [(1, str(tmp_path)), (2, str(tmp_path))]
    assert len([*tmp_path.iterdir()]) == 3


@pytest.mark.spark
def test_a_condition_chooses_among_the_rows_of_the_view(output: Path, tmp_path: Path) -> None:
    assert export_frames(output, tmp_path, "export.where=start_s >= 2", "export.frames.policy=first") == 0
    [folder] = tmp_path.iterdir()
    assert numbers_in(folder / "first") == [60]


@pytest.mark.spark
def test_whole_videos_are_exported_by_their_own_ids(output: Path, tmp_path: Path) -> None:
    assert export_frames(output, tmp_path, "export.what=videos", "export.frames.encoding=png") == 0
    ids = {Path(row["uri"]).name: row["video_id"] for row in table(output, "videos")}
    assert json.loads((tmp_path / ids["long.mp4"] / "1fps" / frames.LIST).read_text())["uri"] == "long.mp4"
    assert numbers_in(tmp_path / ids["long.mp4"] / "1fps") == [0, 30, 60, 90, 119]
    assert numbers_in(tmp_path / ids["other.mkv"] / "1fps") == [500, 530, 559]


@pytest.mark.spark
@pytest.mark.exports
def test_where_frames_are_decoded_makes_other_folders_of_the_same_pictures(
    output: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    on_gpu = ("export.frames.encoding=png", "export.frames.hwaccel=cuda", "export.frames.resources.gpus=0.25")
    assert export_frames(output, tmp_path / "cpu", "export.frames.encoding=png") == 0
    assert export_frames(output, tmp_path / "gpu", *on_gpu) == 0
    assert "export: 1 CPU and 0.25 GPUs per task; no resource profile: local" in caplog.text
    pictures = [
        {name: data for name, (_, data) in contents(tmp_path / where).items() if name.endswith("png")}
        for where in ("cpu", "gpu")
    ]
    assert pictures[0] == pictures[1]
    assert len(pictures[0]) == 9
    listed = [json.loads(path.read_text()) for path in (tmp_path / "gpu").rglob(frames.LIST)]
    assert [found["hwaccel"] for found in listed] == ["cuda"] * 3
    assert export_frames(output, tmp_path / "cpu", *on_gpu) == 0  # which writes them again


@pytest.mark.spark
@pytest.mark.exports
def test_an_unreadable_clip_is_a_failure_and_the_others_are_exported(curated_apart: Path, tmp_path: Path) -> None:
    output, to = Path(shutil.copytree(curated_apart, tmp_path / "output")), tmp_path / "to"
    broken = next(row for row in table(output, "clips") if row["num_frames"] == 60)
    content = Path(broken["uri"]).read_bytes()
    try:
        Path(broken["uri"]).write_bytes(b"no video")
        assert export_frames(output, to, "export.what=clips", "export.frames.policy=last") == 0
        assert len(list(to.iterdir())) == 2
        failed = [row for row in table(output, "failures") if row["stage"] == "export"]
        assert [(row["key"], row["code"], row["attempts"]) for row in failed] == [(broken["clip_id"], "UNSUPPORTED", 1)]
        # Not tried again by the same settings, until that is asked for.
        assert export_frames(output, to, "export.what=clips", "export.frames.policy=last") == 0
        assert len([row for row in table(output, "failures") if row["stage"] == "export"]) == 1
    finally:
        Path(broken["uri"]).write_bytes(content)
    again = ["--retry-failed", "--set", "export.what=clips", "--set", "export.frames.policy=last"]
    assert cli.main(["export", "--format", "frames", "--output", str(output), "--to", str(to), *again]) == 0
    assert len(list(to.iterdir())) == 3


@pytest.mark.spark
def test_a_wrong_condition_is_a_usage_error(output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export_frames(output, tmp_path, "export.where=tint = 3") == 2
    assert capsys.readouterr().err.startswith("reelmill: export.where: [UNRESOLVED_COLUMN")


@pytest.mark.parametrize("to", ["s3://bucket/frames", __file__])
def test_a_target_that_cannot_be_written_to_is_reported_before_spark_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], to: str
) -> None:
    (tmp_path / "tables").mkdir()
    no_retry = "--set=sources.retry_s=0"  # no store answers here
    assert cli.main(["export", "--format", "frames", "--output", str(tmp_path), "--to", to, no_retry]) == 2
    assert capsys.readouterr().err.startswith(f"reelmill: --to {to}: ")
