"""A decoder that hangs or dies, and one bad file among many: one failure each, and nothing of the others."""

from __future__ import annotations

import io
import os
import shutil
import sys
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.video.stream import VideoStream
from PIL import Image
from pyspark.sql import SparkSession

from jobs import cli
from tests.support.footage import write_numbered
from tests.support.outputs import CURATED, table, versions

pytestmark = [pytest.mark.spark, pytest.mark.upkeep]
SIZE = (7680, 4320)
SCANS = 20_000  # each takes a decoder some milliseconds, and 53 bytes of the file
TIMEOUT_S = 10  # a busy machine may import for some seconds before the first input
CODE = """
import ctypes
import os
import re

HANGS, DIES = {names!r}


def weigh(path):
    if HANGS in path:
        re.match(r"(a+)+$", "a" * 64 + "b")  # holds the GIL for years
    if DIES in path:
        ctypes.string_at(0)
    return os.path.getsize(path)
"""
CONF = """
[custom.weight]
function = "weights_{name}:weigh"
input = "clip"
columns = {{num_bytes = "bigint"}}
"""


def scan_bomb() -> bytes:
    """A progressive JPEG that repeats one scan over all its blocks: a decoder that takes them all works for minutes.

    Libraries that decode pictures for browsers know it as the "scan bomb" and limit the number of scans.
    """
    made = io.BytesIO()
    Image.new("L", SIZE, 90).save(made, "jpeg", progressive=True, quality=50)
    data = made.getvalue()
    last = data.rindex(b"\xff\xda")  # begins the last scan, which ends with the picture
    return data[:last] + data[last:-2] * SCANS + data[-2:]


def write_hanging(path: Path) -> Path:
    """A video of such pictures."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("mjpeg", rate=30)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = *SIZE, "yuvj420p"
        picture = scan_bomb()
        for number in range(3):
            packet = av.Packet(picture)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 30), video, True
            out.mux(packet)
    return path


def test_32_37_one_file_that_hangs_a_decoder_costs_one_row_of_a_hundred(spark: SparkSession, tmp_path: Path) -> None:
    videos, output = tmp_path / "videos", tmp_path / "output"
    videos.mkdir()
    good = write_numbered(tmp_path / "good.mp4", 10, size=(160, 120))
    for number in range(99):
        (videos / f"{number:02}.mp4").hardlink_to(good)
    write_hanging(videos / "50-hangs.mov")
    options = ["--set", f"limits.timeout_s={TIMEOUT_S}"]
    ingest = ["ingest", str(videos), "-o", str(output), *options]
    assert cli.main(ingest) == 0
    assert len(table(output, "videos")) == 99
    [failure] = table(output, "failures")
    assert (Path(failure["key"]).name, failure["code"], failure["attempts"]) == ("50-hangs.mov", "TIMEOUT", 1)
    [run] = table(output, "runs")
    assert (run["num_in"], run["num_out"], run["num_failed"]) == (100, 99, 1)
    before = versions(output)
    assert cli.main(ingest) == 0  # it is not tried again by itself
    assert versions(output) == before
    assert cli.main([*ingest, "--retry-failed", "TIMEOUT"]) == 0
    assert sorted(row["attempts"] for row in table(output, "failures")) == [1, 2]
    assert len(table(output, "videos")) == 99


def test_31_32_code_that_holds_the_gil_and_code_that_crashes_cost_their_clips(
    spark: SparkSession, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Path(shutil.copytree(curated, tmp_path / "output"))
    hangs, dies, good = (row["clip_id"] for row in table(output, "clips"))
    name = f"t{os.getpid()}"
    (tmp_path / f"weights_{name}.py").write_text(CODE.format(names=(hangs, dies)))
    (tmp_path / "conf.toml").write_text(CONF.format(name=name))
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    options = [f"--set={option}" for option in [*CURATED, f"limits.timeout_s={TIMEOUT_S}"]]
    assert cli.main(["custom", "-o", str(output), "--conf", str(tmp_path / "conf.toml"), *options]) == 0
    assert [row["clip_id"] for row in table(output, "weight")] == [good]
    codes = {row["key"]: row["code"] for row in table(output, "failures") if row["stage"] == "weight"}
    assert codes == {hangs: "TIMEOUT", dies: "CRASH"}
