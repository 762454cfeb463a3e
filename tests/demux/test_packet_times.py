"""packet_times: the packets say how many frames are shown and when, whatever the header claims."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.support import broken_files, field_pictures, odd_times
from tests.support.footage import numbers, read_number, write_looped, write_numbered
from tests.support.odd_times import SMALL
from udfs import clip, ingest, split
from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.demux import packet_times, timeline
from udfs.runtime.batching import Env
from udfs.storage import access
from udfs.storage.remote_file import RemotePath, Stat
from udfs.video import container, decode


def probe(path: Path) -> dict[str, Any]:
    return container.probe(str(path), Limits())


def decoded(path: Path) -> list[float]:
    """When each frame is shown, by PyAV's own decode of the whole file, in seconds after the first one."""
    with av.open(str(path)) as container:
        stamps = [frame.time for frame in container.decode(video=0) if frame.time is not None]
    return [at - stamps[0] for at in stamps]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of H.264 with B-frames and sound."""
    folder = tmp_path_factory.mktemp("good")
    return write_numbered(folder / "good.mp4", 120, 30, SMALL, audio="aac", gop=30, options={"bf": "2"})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("v.mp4", {"movflags": "faststart"}),
        ("hybrid.mp4", odd_times.HYBRID),
        ("fragmented.mp4", odd_times.FRAGMENTED),
        ("every.mp4", {"movflags": "frag_every_frame+empty_moov+delay_moov"}),
        ("v.mov", {}),
        ("v.mkv", {}),
        ("live.mkv", {"live": "1"}),
        ("v.ts", {}),
        ("v.flv", {}),
        ("no_end.flv", {"flvflags": "no_duration_filesize"}),
    ],
)
def test_a_copy_into_any_container_has_the_same_frames(good: Path, tmp_path: Path, name: str, options: dict[str, str]) -> None:
    facts = probe(odd_times.copy_packets(good, tmp_path / name, options))
    assert (facts["num_frames"], facts["framerate"], facts["is_vfr"]) == (120, pytest.approx(30), False)
    assert facts["duration_s"] == pytest.approx(4, abs=0.002)
    assert facts["frame_times"] is None


def test_packets_may_claim_a_share_of_the_file_and_not_of_what_its_boxes_claim(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = odd_times.copy_packets(good, tmp_path / "v.mp4", {"movflags": "faststart"})
    short = broken_files.cut_to(whole, tmp_path / "short.mp4", whole.stat().st_size // 5)  # its video alone has a third
    monkeypatch.setattr(packet_times, "MIN_BYTES", 1)
    monkeypatch.setattr(packet_times, "MOST_READ", 1)
    assert probe(whole)["num_frames"] == 120
    with pytest.raises(MediaError, match="many times the bytes of the file"):
        probe(short)


def test_what_the_header_claims_is_kept_where_it_differs(good: Path, tmp_path: Path) -> None:
    facts = probe(odd_times.copy_packets(good, tmp_path / "v.mp4", odd_times.HYBRID))
    assert facts["header_num_frames"] == 30
    assert "header_framerate" not in facts
    assert "header_num_frames" not in probe(good)


def test_only_the_index_of_an_mp4_is_read(good: Path, tmp_path: Path) -> None:
    """Media data behind the first packets may be gone: the index still tells of all frames."""
    fast = odd_times.copy_packets(good, tmp_path / "v.mp4", {"movflags": "faststart"})
    facts = probe(broken_files.cut_to(fast, tmp_path / "cut.mp4", fast.stat().st_size * 2 // 3))
    assert (facts["num_frames"], facts["duration_s"]) == (120, pytest.approx(4))
    assert facts["timing"] == "index"


def test_frames_that_an_edit_list_hides_are_counted_apart(good: Path, tmp_path: Path) -> None:
    path = odd_times.write_trimmed(good, tmp_path / "v.mp4", 1.41)
    facts, shown = probe(path), decoded(path)
    assert facts["num_frames"] == len(shown)
    assert facts["num_hidden_frames"] == 13  # of those before, FFmpeg reads from the key frame on
    assert facts["header_num_frames"] == 120
    assert facts["duration_s"] == pytest.approx(len(shown) / 30, abs=0.002)


def test_a_rate_that_changes_late_is_found(tmp_path: Path) -> None:
    path = odd_times.write_uneven(tmp_path / "v.mp4", [1 / 30] * 420 + [0.1] * 40)
    facts = probe(path)
    assert facts["is_vfr"]
    assert (facts["num_frames"], facts["duration_s"]) == (461, pytest.approx(18.033, abs=0.001))
    assert timeline.unpack(facts["frame_times"]) == pytest.approx(decoded(path), abs=1e-5)


@pytest.mark.parametrize("name", ["v.mkv", "v.flv"])
def test_a_stream_without_a_stated_rate_gets_the_measured_one(tmp_path: Path, name: str) -> None:
    facts = probe(write_numbered(tmp_path / name, 60, Fraction(30_000, 1001), SMALL, times_s=[k * 1.001 / 30 for k in range(60)]))
    assert facts["framerate"] == pytest.approx(30_000 / 1001)
    assert (facts["num_frames"], facts["is_vfr"]) == (60, False)


@pytest.mark.parametrize(
    ("offset_s", "num_breaks"),
    [(-1.9, 1), (3600.0, 1), (odd_times.WRAP_S - 3.0, 0), (-2.0 - 0.0, 1)],
    ids=["restarts", "jumps", "wraps", "restarts at 0"],
)
def test_a_clock_that_breaks_is_unrolled(good: Path, tmp_path: Path, offset_s: float, num_breaks: int) -> None:
    whole = num_breaks == 0
    path = (
        odd_times.copy_packets(good, tmp_path / "v.ts", offset_s=offset_s)
        if whole
        else odd_times.write_joined(tmp_path, good, offset_s)
    )
    facts = probe(path)
    assert len(facts["clock_breaks"] or []) == num_breaks
    assert facts["duration_s"] == pytest.approx(4, abs=0.15)
    row = facts | {"start_time_s": facts["start_time_s"]}
    with container.open_video(str(path), Limits(), timing=timeline.timing_of(row)) as video:
        times, seen = zip(*((at, read_number(frame)) for at, frame in decode.frames(video)), strict=True)
        assert sorted(seen) == list(seen)
        assert len(seen) == facts["num_frames"] >= 118
        assert np.diff(times) == pytest.approx(1 / 30, abs=0.07)
        later = [read_number(frame) for _, frame in decode.frames(video, 2.5, 3.0)]
    assert later == [n for at, n in zip(times, seen, strict=True) if 2.4985 <= at < 2.9985]


def test_single_frames_hours_ahead_are_put_in_their_place(good: Path, tmp_path: Path) -> None:
    path = odd_times.copy_packets(good, tmp_path / "v.mp4", strays=(50, 51))
    facts = probe(path)
    assert (facts["num_frames"], facts["duration_s"]) == (pytest.approx(120, abs=2), pytest.approx(4, abs=0.1))
    with container.open_video(str(path), Limits(), timing=timeline.timing_of(facts)) as video:
        assert [read_number(frame) for _, frame in decode.frames(video, 1.0, 2.0)] == pytest.approx(list(range(30, 60)), abs=2)


def test_a_picture_that_is_held_is_no_break(tmp_path: Path) -> None:
    facts = probe(odd_times.write_held(tmp_path / "v.mkv", 4, 15.0, audio="aac"))
    assert facts["clock_breaks"] is None
    assert (facts["num_frames"], facts["duration_s"]) == (4, pytest.approx(60, abs=0.1))


@pytest.mark.parametrize(("codec", "every"), [("mjpeg", 3), ("libx264", 4)])
def test_repeats_of_an_avi_are_no_frames(tmp_path: Path, codec: str, every: int) -> None:
    path = odd_times.write_repeats(tmp_path / "v.avi", 91, every, codec)
    facts = probe(path)
    assert facts["num_frames"] == len(decoded(path)) == len(range(0, 91, every))
    assert facts["duration_s"] == pytest.approx(91 / 30, abs=0.1)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("suffix", ["ts", "mkv", "mp4"])
def test_two_field_pictures_are_one_frame(tmp_path: Path, suffix: str, apart: bool) -> None:
    if apart and suffix != "ts":
        pytest.skip("only a transport stream sends fields apart")
    path = field_pictures.write(tmp_path / f"v.{suffix}", 60, apart)
    env = Env(media_root=str(tmp_path / "media"), fingerprint="f" * 16)
    (video,) = ingest.facts({"uri": str(path)}, env)
    assert (video["num_frames"], video["framerate"], video["is_vfr"]) == (60, pytest.approx(25), False)
    (row,) = clip.cut(video | {"spans": split.spans(video, split.Params(), env)}, clip.Params(deinterlace="off"), env)
    assert numbers(row["uri"]) == list(range(60))


def test_a_frame_an_hour_is_a_legal_rate(tmp_path: Path) -> None:
    facts = probe(write_numbered(tmp_path / "v.mp4", 10, Fraction(1, 3600), SMALL))
    assert (facts["num_frames"], facts["framerate"]) == (10, pytest.approx(1 / 3600))
    assert timeline.timing_of(facts).framerate == Fraction(1, 3600)


def test_a_time_scale_that_sound_and_codec_contradict_is_corrupt(good: Path, tmp_path: Path) -> None:
    scale = broken_files.box(good.read_bytes(), b"mdhd")[0] + 12
    path = broken_files.patch(good, tmp_path / "v.mp4", scale, struct.pack(">I", 100))
    with pytest.raises(MediaError, match="CORRUPT: frames at"):
        probe(path)


class Elsewhere:
    """A file on another machine, and how many bytes of it were fetched."""

    def __init__(self, path: Path) -> None:
        self.data, self.num_bytes = path.read_bytes(), 0
        self.path = RemotePath(f"s3://bucket/{path}", Stat(len(self.data), "1"), self.fetch)

    def fetch(self, uri: str, start: int, end: int, version: str) -> bytes:
        self.num_bytes += end - start
        return self.data[start:end]


def test_of_a_remote_mp4_the_index_is_fetched(tmp_path: Path, good: Path) -> None:
    long = write_looped(good, tmp_path / "long.mp4", 300, in_front=True)
    assert long.stat().st_size > 20_000_000
    there = Elsewhere(long)
    facts = container.probe(there.path, Limits())
    assert (facts["timing"], facts["num_frames"]) == ("index", 36_000)
    assert there.num_bytes < 0.2 * long.stat().st_size


@pytest.mark.parametrize(
    ("name", "options", "timing"),
    [
        ("v.mkv", {}, "header"),
        ("v.ts", {}, "header"),
        ("live.mkv", {"live": "1"}, "packets"),
        ("f.mp4", odd_times.HYBRID, "index"),
    ],
)
def test_of_a_remote_file_without_an_index_the_header_is_believed_if_it_says_anything(
    good: Path, tmp_path: Path, name: str, options: dict[str, str], timing: str
) -> None:
    facts = container.probe(Elsewhere(odd_times.copy_packets(good, tmp_path / name, options)).path, Limits())
    assert facts["timing"] == timing
    assert facts["num_frames"] == pytest.approx(120, abs=1)
    assert facts["framerate"] == pytest.approx(30, rel=0.01)
    assert timeline.of_row(facts).end_s == pytest.approx(4, abs=0.05)


def test_what_was_planned_by_a_header_is_judged_by_the_packets_met(good: Path, tmp_path: Path) -> None:
    env = Env(media_root=str(tmp_path / "media"), fingerprint="f" * 16)
    source_path = odd_times.copy_packets(good, tmp_path / "v.mkv")
    (video,) = ingest.facts({"uri": str(source_path)}, env)
    video |= {"timing": "header", "frame_times": None}
    spans = split.spans(video, split.Params(clip_len_s=2), env)
    assert [span["num_frames"] for span in spans] == [None, None]
    damaged = bytearray(source_path.read_bytes())
    middle = len(damaged) * 3 // 4
    damaged[middle:] = bytes(len(damaged) - middle)
    source_path.write_bytes(damaged)
    video["source_version"] = access.version(str(source_path))
    made = clip.cut(video | {"spans": spans}, clip.Params(), env)
    assert [row.get("failed_code") for row in made] == [None, "PARTIAL"]


def test_times_survive_their_packing() -> None:
    times = np.cumsum(np.random.default_rng(0).uniform(0.001, 20_000, 5000))
    assert timeline.unpack(timeline.pack(times)) == pytest.approx(times, abs=1e-6)
    assert len(timeline.pack(np.cumsum(np.full(100_000, 1 / 30)))) < 5000
