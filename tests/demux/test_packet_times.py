"""packet_times: the packets say how many frames are shown and when, whatever the header claims."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.support import broken_files, field_pictures, odd_times
from tests.support.footage import numbers, write_numbered
from tests.support.sandbox_probe import RemoteCopy, frame_times_s, probe
from udfs import clip, ingest, split
from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.demux import timeline
from udfs.runtime.context import Env
from udfs.storage import access
from udfs.video import container


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
def test_a_copy_into_any_container_has_the_same_frames(
    good: Path, tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    facts = probe(odd_times.copy_packets(good, tmp_path / name, options))
    assert (facts["num_frames"], facts["framerate"], facts["is_vfr"]) == (120, pytest.approx(30), False)
    assert facts["duration_s"] == pytest.approx(4, abs=0.002)
    assert facts["frame_times"] is None


def test_what_the_header_claims_is_kept_where_it_differs(good: Path, tmp_path: Path) -> None:
    facts = probe(odd_times.copy_packets(good, tmp_path / "v.mp4", odd_times.HYBRID))
    assert facts["header_num_frames"] == 30
    assert "header_framerate" not in facts
    assert "header_num_frames" not in probe(good)


def test_frames_that_an_edit_list_hides_are_counted_apart(good: Path, tmp_path: Path) -> None:
    path = odd_times.write_trimmed(good, tmp_path / "v.mp4", 1.41)
    facts, shown = probe(path), frame_times_s(path)
    assert facts["num_frames"] == len(shown)
    assert facts["num_hidden_frames"] == 13  # of those before, FFmpeg reads from the key frame on
    assert facts["header_num_frames"] == 120
    assert facts["duration_s"] == pytest.approx(len(shown) / 30, abs=0.002)


@pytest.mark.parametrize(("codec", "every"), [("mjpeg", 3), ("libx264", 4)])
def test_repeats_of_an_avi_are_no_frames(tmp_path: Path, codec: str, every: int) -> None:
    path = odd_times.write_repeats(tmp_path / "v.avi", 91, every, codec)
    facts = probe(path)
    assert facts["num_frames"] == len(frame_times_s(path)) == len(range(0, 91, every))
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
    (row,) = clip.cut_unit(
        video | {"spans": split.spans(video, split.Params(), env)}, clip.Params(deinterlace="off"), env
    )
    assert numbers(row["uri"]) == list(range(60))


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 1, 0)])
def test_field_pictures_are_frames_wherever_they_begin(tmp_path: Path, apart: bool, order: tuple[int, ...]) -> None:
    parts = [
        write_numbered(tmp_path / "p.ts", 50, 25, (160, 128), gop=25),
        field_pictures.write(tmp_path / "f.ts", 60, apart),
    ]
    path = broken_files.join_files(tmp_path / "v.ts", *(parts[n] for n in order))
    facts = probe(path)
    num_frames = sum((50, 60)[n] for n in order)
    assert (facts["num_frames"], facts["framerate"], facts["is_vfr"]) == (num_frames, pytest.approx(25), False)
    assert facts["duration_s"] == pytest.approx(num_frames / 25, abs=0.001)


def test_frames_of_twice_the_rate_are_no_fields(tmp_path: Path) -> None:
    parts = [write_numbered(tmp_path / f"{fps}.ts", 2 * fps, fps, (160, 128), gop=25) for fps in (25, 50)]
    facts = probe(broken_files.join_files(tmp_path / "v.ts", *parts))
    assert (facts["num_frames"], facts["is_vfr"]) == (150, True)


def test_a_time_scale_that_sound_and_codec_contradict_is_corrupt(good: Path, tmp_path: Path) -> None:
    scale = broken_files.box(good.read_bytes(), b"mdhd")[0] + 12
    path = broken_files.patch(good, tmp_path / "v.mp4", scale, struct.pack(">I", 100))
    with pytest.raises(MediaError, match="CORRUPT: frames at"):
        probe(path)


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
    facts = container.probe(RemoteCopy(odd_times.copy_packets(good, tmp_path / name, options)).path, Limits())
    assert facts["timing"] == timing
    assert facts["num_frames"] == pytest.approx(120, abs=1)
    assert facts["framerate"] == pytest.approx(30, rel=0.01)
    assert timeline.timeline_of_row(facts).end_s == pytest.approx(4, abs=0.05)


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
    made = clip.cut_unit(video | {"spans": spans}, clip.Params(), env)
    assert [row.get("failed_code") for row in made] == [None, "PARTIAL"]


def test_frames_of_mpeg4_that_are_not_coded_stay_on_screen(tmp_path: Path) -> None:
    path = odd_times.write_skipped(tmp_path / "v.avi", 120, every=4)
    facts = probe(path)
    assert (facts["num_frames"], facts["duration_s"]) == (90, pytest.approx(4, abs=0.05))
    env = Env(media_root=str(tmp_path / "media"), fingerprint="f" * 16)
    video = ingest.facts({"uri": str(path), "attributes": None}, env)[0]
    made = clip.cut_unit(
        video | {"spans": split.spans(video, split.Params(), env)}, clip.Params(deinterlace="off"), env
    )
    assert [row.get("failed_code") for row in made] == [None]
