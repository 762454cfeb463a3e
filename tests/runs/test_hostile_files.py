"""curate over hostile and odd files at once: each is a row or clips, its siblings are untouched."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from pyspark.sql import SparkSession

from jobs import cli
from tests.support import broken_files, clips, memory_watch, odd_streams
from tests.support.footage import numbers, write_looped, write_numbered
from tests.support.outputs import table

pytestmark = [pytest.mark.files, pytest.mark.spark]
SEEDS = 200
SMALL = (160, 120)
SETTINGS = ("--set=split.clip_len_s=1", "--set=split.min_clip_length_s=0.5", "--set=limits.timeout_s=30")
TITLE = "../../../escape\x1b[2J; rm -rf $HOME"


def titled(source: Path, path: Path) -> Path:
    """A copy with a title that is a path, a command and a control sequence."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        new.metadata["title"] = TITLE
        video = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                new.mux(packet)
    return path


def padded(source: Path, path: Path, size: int) -> Path:
    """A copy with a free box behind it, which takes no room on the disk."""
    shutil.copy(source, path)
    room = size - path.stat().st_size
    with open(path, "ab") as file:
        file.write((1).to_bytes(4, "big") + b"free" + room.to_bytes(8, "big"))
    os.truncate(path, size)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files, and a list that names one of them twice."""
    folder = tmp_path_factory.mktemp("files")
    good = write_numbered(folder / "good.mp4", 60, size=SMALL)
    write_numbered(folder / "single.mp4", 1, size=SMALL)
    shutil.copy(good, folder / "copy.mp4")
    titled(write_numbered(folder.parent / "untitled.mp4", 60, size=SMALL, first=500), folder / "titled.mp4")
    padded(write_numbered(folder.parent / "small.mp4", 60, size=SMALL, first=700), folder / "large.mp4", (1 << 31) + 99)
    odd_streams.write_flat(folder / "black.mp4", SMALL, "libx264", "yuv420p", num_frames=20)
    odd_streams.write_flat(folder / "frozen.mp4", SMALL, "libx264", "yuv420p", num_frames=20, level=90)
    dice = np.random.default_rng(0)
    clips.write(folder / "noise.mp4", [dice.integers(0, 256, (120, 160, 3), dtype=np.uint8) for _ in range(30)])
    (folder / "playlist.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\n{good}\n#EXT-X-ENDLIST\n")
    (folder / "concat.ts").write_text(f"ffconcat version 1.0\nfile '{good}'\n")
    moov = broken_files.box(good.read_bytes(), b"moov")
    for seed in range(SEEDS):
        broken_files.flip_bits(good, folder / f"flipped{seed}.mp4", moov, 1 + seed % 8, seed)
    paths = sorted(map(str, folder.iterdir()))
    (folder / "list.json").write_text(json.dumps([*paths, str(good), f"{folder}/../{folder.name}/good.mp4"]))
    return folder


@pytest.fixture(scope="module")
def output(spark: SparkSession, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What curate makes of them."""
    output = tmp_path_factory.mktemp("hostile") / "output"
    with memory_watch.watched() as watch:
        assert cli.main(["curate", "--manifest", str(folder / "list.json"), "--output", str(output), *SETTINGS]) == 0
    assert watch.most_mb < 1024  # also of the file of 2 GiB
    return output


def codes(output: Path) -> dict[str, str]:
    """The code of each file that failed, by its name."""
    return {Path(row["key"]).name: row["code"] for row in table(output, "failures") if row["stage"] == "ingest"}


def taken(output: Path) -> dict[str, str]:
    """The id of each video, by the name of its file."""
    return {Path(row["uri"]).name: row["video_id"] for row in table(output, "videos")}


def clips_of(output: Path, name: str) -> list[str]:
    """The addresses of the clips of a file."""
    video_id = taken(output)[name]
    rows = sorted(
        (row for row in table(output, "spans") if row["video_id"] == video_id), key=lambda row: float(row["start_s"])
    )
    uris = {row["clip_id"]: row["uri"] for row in table(output, "clips")}
    return [uris[row["clip_id"]] for row in rows]


def test_7_flipped_bits_of_the_index_are_rows_or_videos(output: Path) -> None:
    failed = {row["key"] for row in table(output, "failures")}
    seen = {row["code"] for row in table(output, "failures")}
    assert not seen & {"BUG", "CRASH", "TIMEOUT", "OOM"}, seen
    names = {Path(key).name for key in failed} | taken(output).keys()
    assert [seed for seed in range(SEEDS) if f"flipped{seed}.mp4" not in names] == []


def test_12_a_single_frame_is_too_short(output: Path) -> None:
    assert codes(output)["single.mp4"] == "TOO_SHORT"


def test_23_a_file_over_two_gigabytes_is_read_by_its_path(output: Path) -> None:
    [video] = [row for row in table(output, "videos") if row["uri"].endswith("large.mp4")]
    assert video["size"] > 1 << 31
    assert [numbers(uri) for uri in clips_of(output, "large.mp4")] == [[*range(700, 730)], [*range(730, 760)]]


@pytest.mark.parametrize("name", ["black.mp4", "frozen.mp4", "noise.mp4"])
def test_26_no_number_of_odd_pictures_is_odd(output: Path, name: str) -> None:
    ids = {Path(uri).name[:36] for uri in clips_of(output, name)}
    rows = [row for table_ in ("signals", "verdicts") for row in table(output, table_) if row["clip_id"] in ids]
    assert {row["clip_id"] for row in rows} == ids
    assert ids
    values = [value for row in rows for value in row.values() if isinstance(value, float)]
    assert values
    assert all(map(math.isfinite, values))


def test_28_a_file_that_is_named_thrice_is_one_video_and_its_copy_another(output: Path) -> None:
    uris = [row["uri"] for row in table(output, "videos")]
    assert len(uris) == len(set(uris))
    assert taken(output)["good.mp4"] != taken(output)["copy.mp4"]
    groups = {frozenset((row["clip_id"], row["copy_of"])) for row in table(output, "copies") if row["copy_of"]}
    ids = [{Path(uri).name[:36] for uri in clips_of(output, name)} for name in ("good.mp4", "copy.mp4")]
    both = set().union(*ids)
    assert len([group for group in groups if group & both]) >= 2


@pytest.mark.parametrize("name", ["playlist.mp4", "concat.ts"])
def test_53_playlists_under_the_name_of_a_video_are_denied(output: Path, name: str) -> None:
    assert codes(output)[name] == "DENIED"


def test_60_a_title_is_no_path(output: Path, folder: Path) -> None:
    assert [numbers(uri) for uri in clips_of(output, "titled.mp4")] == [[*range(500, 530)], [*range(530, 560)]]
    names = [path.name for path in (*output.rglob("*"), *folder.parent.rglob("*"))]
    assert not [name for name in names if "escape" in name or "rm -rf" in name]
    texts = [text for row in table(output, "clips") for text in row.values() if isinstance(text, str)]
    assert not [text for text in texts if "escape" in text]


def test_22_ten_hours_of_video_take_no_more_memory_than_ten_minutes(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    ten_minutes = write_numbered(tmp_path / "short.mp4", 600, fps=1, size=SMALL)
    write_looped(ten_minutes, tmp_path / "videos/long.mp4", 60)
    peaks = list[float]()
    for manifest in (ten_minutes, tmp_path / "videos"):
        output = tmp_path / f"output{len(peaks)}"
        with memory_watch.watched() as watch:
            for job in (["ingest", "--manifest", str(manifest)], ["split", "--set=split.method=content"]):
                assert cli.main([*job, "--output", str(output)]) == 0
        peaks.append(watch.most_mb)
        assert table(output, "failures") == []
    assert table(tmp_path / "output1", "videos")[0]["duration_s"] == pytest.approx(36_000)
    assert peaks[1] < peaks[0] + 150
