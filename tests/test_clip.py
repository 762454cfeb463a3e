"""clip: units of work become rows of clips, files of exact frames, and failures of single spans."""

from __future__ import annotations

import hashlib
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import av
import numpy as np
import pandas as pd
import pytest

from schemas.clips import TABLE
from tests.support.clip_units import (
    failure_codes,
    only_clip,
    unit,
)
from tests.support.footage import numbers, read_number, write_numbered
from udfs import clip
from udfs.clip import Params
from udfs.runtime import batching
from udfs.runtime.context import COST, FAILURE, GPU_COST, Env, Row
from udfs.storage import access


@pytest.fixture
def env(tmp_path: Path) -> Env:
    return Env(media_root=str(tmp_path / "media"), fingerprint="0123456789abcdef")


# Which frames


def test_ten_seconds_at_thirty_frames_are_exactly_those_three_hundred(tmp_path: Path, env: Env) -> None:
    made = only_clip(unit(write_numbered(tmp_path / "a.mp4", 330, size=(96, 64)), (15, 315)), env)
    assert numbers(made["uri"]) == list(range(15, 315))
    assert (made["num_frames"], made["duration_s"], made["framerate"], made["exact"]) == (300, 10.0, 30.0, True)


def test_a_row_has_the_columns_of_the_table(tmp_path: Path, env: Env) -> None:
    made = only_clip(unit(write_numbered(tmp_path / "a.mp4", 30), (0, 30)), env)
    assert set(made) == set(TABLE.schema.names) - {"cpu_s", "fingerprint", "run_id"}
    assert made["num_bytes"] == Path(made["uri"]).stat().st_size
    assert (made["width"], made["height"], made["video_codec"], made["encoder"]) == (320, 240, "h264", "libx264")


@pytest.mark.parametrize(
    "fps", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25), Fraction(60), Fraction(25, 2)]
)
def test_every_frame_rate_gives_the_asked_frames(tmp_path: Path, env: Env, fps: Fraction) -> None:
    made = only_clip(unit(write_numbered(tmp_path / "a.mkv", 60, fps=fps, size=(160, 120)), (17, 49)), env)
    assert numbers(made["uri"]) == list(range(17, 49))
    assert made["framerate"] == pytest.approx(float(fps), rel=1e-3)  # Matroska states it a little off
    assert made["duration_s"] == pytest.approx(32 / float(fps), rel=1e-3)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mov", "libx264"),
        ("a.ts", "libx264"),
        ("a.flv", "libx264"),
        ("a.avi", "mpeg4"),
        ("a.mpg", "mpeg2video"),
        ("a.wmv", "wmv2"),
        ("a.webm", "libvpx-vp9"),
        ("a.mkv", "libsvtav1"),
        ("a.mp4", "libx265"),
    ],
)
def test_every_container_gives_the_asked_frames(tmp_path: Path, env: Env, name: str, codec: str) -> None:
    row = unit(write_numbered(tmp_path / name, 60, codec=codec, gop=20), (7, 22), (41, 59))
    made = clip.cut_unit(row, Params(), env)
    assert [numbers(m["uri"]) for m in made] == [list(range(7, 22)), list(range(41, 59))]


def test_a_variable_frame_rate_keeps_its_times(tmp_path: Path, env: Env) -> None:
    times = [0, 0.1, 0.15, 0.3, 0.5, 0.6, 0.61, 0.9, 1.5, 2.0]
    row = unit(write_numbered(tmp_path / "a.mkv", times_s=times), (0, 1), is_vfr=True)
    row["spans"] = [{"clip_id": "c", "start_s": 0.2, "end_s": 1.9, "start_frame": 5, "end_frame": 40}]
    made = only_clip(row, env)
    with av.open(made["uri"]) as container:
        shown = [(read_number(frame), frame.time) for frame in container.decode(video=0)]
    assert [number for number, _ in shown] == [3, 4, 5, 6, 7, 8]
    assert [time for _, time in shown] == pytest.approx([0, 0.2, 0.3, 0.31, 0.6, 1.2], abs=1e-3)
    assert made["duration_s"] == pytest.approx(1.6, abs=2e-3)  # the last frame stays until the span ends


def test_a_span_between_two_frames_is_too_short(tmp_path: Path, env: Env) -> None:
    row = unit(write_numbered(tmp_path / "a.mkv", times_s=[0, 0.1, 0.2, 1.0, 1.1, 2.0]), (0, 1), is_vfr=True)
    row["spans"] = [{"clip_id": "c", "start_s": 0.5, "end_s": 0.9, "start_frame": 1, "end_frame": 2}]
    assert failure_codes(clip.cut_unit(row, Params(), env)) == ["TOO_SHORT"]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_times_count_from_the_first_shown_frame(tmp_path: Path, env: Env, name: str) -> None:
    path = write_numbered(tmp_path / name, times_s=[5 + k / 30 for k in range(60)], audio="aac")
    made = only_clip(unit(path, (30, 60), is_vfr=False), env)
    assert numbers(made["uri"]) == list(range(30, 60))
    with av.open(made["uri"]) as container:
        assert container.streams.video[0].start_time == 0


# What the files are


def test_two_runs_give_the_same_bytes(tmp_path: Path, env: Env) -> None:
    row = unit(write_numbered(tmp_path / "a.mkv", 40, audio="vorbis"), (3, 33))
    again = Env(media_root=str(tmp_path / "again"), fingerprint=env.fingerprint)
    first, second = only_clip(row, env), only_clip(row, again)
    assert first["sha256"] == second["sha256"]
    assert first["uri"] != second["uri"]


def cut_once(row: Row, env: Env) -> pd.DataFrame:
    """The rows of a task that cuts clips, once for each attempt."""
    (made,) = clip.rows(iter([pd.DataFrame([row])]), Params(), env)
    return made


@pytest.mark.files
def test_36_two_attempts_at_the_same_time_leave_one_file_per_clip(tmp_path: Path, env: Env) -> None:
    row = unit(write_numbered(tmp_path / "a.mp4", 180), *((k, k + 30) for k in range(0, 180, 30)), fingerprint="f")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        first, other = [attempt.result() for attempt in [pool.submit(cut_once, row, env) for _ in range(2)]]
    assert first["failed_key"].isna().all()
    assert other[["clip_id", "uri", "sha256"]].equals(first[["clip_id", "uri", "sha256"]])
    there = sorted(str(path) for path in (tmp_path / "media").rglob("*") if path.is_file())
    assert there == sorted(first["uri"])
    hashes = [hashlib.sha256(Path(uri).read_bytes()).hexdigest() for uri in first["uri"]]
    assert hashes == first["sha256"].tolist()


def test_nothing_but_the_clips_is_left(tmp_path: Path, env: Env) -> None:
    made = only_clip(unit(write_numbered(tmp_path / "a.mp4", 30), (0, 30)), env)
    assert [str(path) for path in (tmp_path / "media").rglob("*") if path.is_file()] == [made["uri"]]


def test_frames_are_not_forced_to_the_types_of_the_source(tmp_path: Path, env: Env) -> None:
    made = only_clip(unit(write_numbered(tmp_path / "a.mp4", 30, gop=1), (0, 30)), env)  # an all-intra source
    with av.open(made["uri"]) as container:
        assert sum(packet.is_keyframe for packet in container.demux(video=0)) == 1


@pytest.mark.parametrize(("encoder", "codec"), [("libvpx-vp9", "vp9"), ("libsvtav1", "av1")])
def test_other_encoders_cut_the_same_frames(tmp_path: Path, env: Env, encoder: str, codec: str) -> None:
    made = only_clip(unit(write_numbered(tmp_path / "a.mp4", 30), (5, 25)), env, encoder=encoder)
    assert numbers(made["uri"]) == list(range(5, 25))
    assert (made["video_codec"], made["encoder"], made["duration_s"]) == (codec, encoder, pytest.approx(20 / 30))


def test_the_sources_bit_rate_replaces_constant_quality(tmp_path: Path, env: Env) -> None:
    path = write_numbered(tmp_path / "a.mp4", 90)
    poor = only_clip(unit(path, (0, 90), bit_rate_k=20), env, use_input_bit_rate=True)
    assert poor["num_bytes"] < only_clip(unit(path, (0, 90), bit_rate_k=20), env)["num_bytes"] / 2


# Damage


@pytest.mark.parametrize("mode", ["transcode", "copy"])
def test_a_failed_clip_leaves_no_file(tmp_path: Path, env: Env, mode: Literal["transcode", "copy"]) -> None:
    path = write_numbered(tmp_path / "a.mkv", 60, gop=15)
    row = unit(path, (45, 60))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    made = clip.cut_unit(row | {"source_version": access.version(str(path))}, Params(mode=mode), env)
    assert failure_codes(made) == ["CORRUPT"]
    assert [found for found in (tmp_path / "media").rglob("*") if found.is_file()] == []


# Batches


def test_rows_takes_units_as_arrow_hands_them_over(tmp_path: Path, env: Env) -> None:
    row = unit(write_numbered(tmp_path / "a.mp4", 60), (0, 30), (30, 60), fingerprint="f", duration_s=2.0)
    batch = pd.DataFrame([row | {"spans": np.array(row["spans"], dtype=object)}])
    (made,) = clip.rows(iter([batch]), Params(), env)
    assert list(made.columns) == [*TABLE.stage_columns, "fingerprint", *FAILURE, COST, GPU_COST]
    assert made["clip_id"].tolist() == ["0-30", "30-60"]
    assert made["fingerprint"].tolist() == ["f", "f"]
    assert made["cpu_s"].min() > 0


def test_a_video_that_changed_fails_each_of_its_clips(tmp_path: Path, env: Env) -> None:
    row = unit(write_numbered(tmp_path / "a.mp4", 60), (0, 30), (30, 60), source_version="other")
    (made,) = clip.rows(iter([pd.DataFrame([row])]), Params(), env)
    assert made["failed_key"].tolist() == ["0-30", "30-60"]
    assert made["failed_code"].tolist() == ["CHANGED", "CHANGED"]


def dying_on_the_second(row: Row) -> list[Row]:
    """Work whose decoder dies of one span."""
    if any(span["clip_id"] == "b" for span in row["spans"]):
        os.kill(os.getpid(), signal.SIGSEGV)
    return [{"clip_id": span["clip_id"]} for span in row["spans"]]


def test_a_span_that_kills_the_decoder_fails_alone(env: Env) -> None:
    spans = [{"clip_id": name, "start_s": 0.0, "end_s": 1.0} for name in "abc"]
    (made,) = batching.each(
        iter([pd.DataFrame([{"spans": spans, "duration_s": 1.0}])]),
        dying_on_the_second,
        key="clip_id",
        columns=["clip_id"],
        limits=env.limits,
        parts=clip.single_span_units,
    )
    assert made["clip_id"].tolist() == ["a", None, "c"]
    assert made["failed_key"].tolist() == [None, "b", None]
    assert made["failed_code"].tolist() == [None, "CRASH", None]
