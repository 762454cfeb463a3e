"""Spans of numbered footage -> mp4 files that hold exactly the asked frames, and the sound that goes with them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pandas as pd
import pytest
from av.audio.resampler import AudioResampler
from av.packet import Packet
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from schemas.clips import TABLE
from tests.support.footage import numbers, read_number, seconds_heard, write_numbered
from udfs import clip
from udfs.clip import Params
from udfs.core.limits import Limits
from udfs.demux import demuxer
from udfs.demux.demuxer import Video
from udfs.runtime import batching
from udfs.runtime.context import COST, FAILURE, GPU_COST, Env, Row
from udfs.storage import access
from udfs.video import container, decode

Frames = tuple[int, int]  # first, and the one after the last


@pytest.fixture
def env(tmp_path: Path) -> Env:
    return Env(media_root=str(tmp_path / "media"), fingerprint="0123456789abcdef")


def unit(path: Path, *spans: Frames, **changed: Any) -> Row:
    """The work of cutting spans, given in frames, out of a file; a clip is called after its span."""
    facts = container.probe(str(path), Limits())
    fps = facts["framerate"]
    cuts = [
        {"clip_id": f"{first}-{end}", "start_s": first / fps, "end_s": end / fps, "num_frames": end - first}
        for first, end in spans
    ]
    return facts | {"video_id": "v", "uri": str(path), "source_version": access.version(str(path)), "spans": cuts} | changed


def one(row: Row, env: Env, **settings: Any) -> Row:
    """The only clip of a unit."""
    (made,) = clip.cut_unit(row, Params(**settings), env)
    return made


def codes(rows: list[Row]) -> list[str | None]:
    return [row.get("failed_code") for row in rows]


def sound(path: Path | str) -> NDArray[np.float64]:
    """The samples of the first audio stream at 48 kHz, in one channel, from the first shown frame on."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        first_s = float((video.start_time or 0) * (video.time_base or 0))
        resampler = AudioResampler("s16", "mono", 48_000)
        frames = [piece for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
    assert frames[0].time is not None
    late = round((frames[0].time - first_s) * 48_000)
    samples = np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(float)
    return np.concatenate([np.zeros(max(0, late)), samples[max(0, -late) :]])


def overwrite(path: Path, stream: str, share: slice, keep: int) -> Path:
    """Replace some packets of a stream by noise, but for their first bytes."""
    with av.open(str(path)) as container:
        found = [p for p in container.demux(next(s for s in container.streams if s.type == stream)) if p.size and p.pos]
        places = [(packet.pos or 0, packet.size) for packet in found[share]]
    noise = np.random.default_rng(0)
    with path.open("r+b") as f:
        for at, size in places:
            f.seek(at + min(keep, size))
            f.write(noise.bytes(max(0, size - keep)))
    return path


# Which frames


def test_ten_seconds_at_thirty_frames_are_exactly_those_three_hundred(tmp_path: Path, env: Env) -> None:
    made = one(unit(write_numbered(tmp_path / "a.mp4", 330, size=(96, 64)), (15, 315)), env)
    assert numbers(made["uri"]) == list(range(15, 315))
    assert (made["num_frames"], made["duration_s"], made["framerate"], made["exact"]) == (300, 10.0, 30.0, True)


def test_a_row_has_the_columns_of_the_table(tmp_path: Path, env: Env) -> None:
    made = one(unit(write_numbered(tmp_path / "a.mp4", 30), (0, 30)), env)
    assert set(made) == set(TABLE.schema.names) - {"fingerprint", "run_id"}
    assert made["num_bytes"] == Path(made["uri"]).stat().st_size
    assert (made["width"], made["height"], made["video_codec"], made["encoder"]) == (320, 240, "h264", "libx264")


def test_overlapping_spans_are_cut_in_one_pass(tmp_path: Path, env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = count_decoded(monkeypatch)
    spans = [(0, 30), (10, 40), (10, 20), (40, 60)]
    made = clip.cut_unit(unit(write_numbered(tmp_path / "a.mp4", 60), *spans), Params(), env)
    assert {row["clip_id"]: numbers(row["uri"]) for row in made} == {f"{a}-{b}": list(range(a, b)) for a, b in spans}
    assert decoded() < 70  # a second pass would make it 120


def test_only_the_part_of_a_long_video_is_decoded(tmp_path: Path, env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    row = unit(write_numbered(tmp_path / "a.mp4", 1200, size=(64, 48), gop=30), (1100, 1130))
    decoded = count_decoded(monkeypatch)
    assert numbers(one(row, env)["uri"]) == list(range(1100, 1130))
    assert decoded() < 100


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25), Fraction(60), Fraction(25, 2)])
def test_every_frame_rate_gives_the_asked_frames(tmp_path: Path, env: Env, fps: Fraction) -> None:
    made = one(unit(write_numbered(tmp_path / "a.mkv", 60, fps=fps, size=(160, 120)), (17, 49)), env)
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
    made = one(row, env)
    with av.open(made["uri"]) as container:
        shown = [(read_number(frame), frame.time) for frame in container.decode(video=0)]
    assert [number for number, _ in shown] == [3, 4, 5, 6, 7, 8]
    assert [time for _, time in shown] == pytest.approx([0, 0.2, 0.3, 0.31, 0.6, 1.2], abs=1e-3)
    assert made["duration_s"] == pytest.approx(1.6, abs=2e-3)  # the last frame stays until the span ends


def test_a_span_between_two_frames_is_too_short(tmp_path: Path, env: Env) -> None:
    row = unit(write_numbered(tmp_path / "a.mkv", times_s=[0, 0.1, 0.2, 1.0, 1.1, 2.0]), (0, 1), is_vfr=True)
    row["spans"] = [{"clip_id": "c", "start_s": 0.5, "end_s": 0.9, "start_frame": 1, "end_frame": 2}]
    assert codes(clip.cut_unit(row, Params(), env)) == ["TOO_SHORT"]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_times_count_from_the_first_shown_frame(tmp_path: Path, env: Env, name: str) -> None:
    path = write_numbered(tmp_path / name, times_s=[5 + k / 30 for k in range(60)], audio="aac")
    made = one(unit(path, (30, 60), is_vfr=False), env)
    assert numbers(made["uri"]) == list(range(30, 60))
    with av.open(made["uri"]) as container:
        assert container.streams.video[0].start_time == 0


# What the pictures are


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx265", "yuv420p10le"),
        ("a.mkv", "ffv1", "yuv422p10le"),
        ("a.mp4", "libx264", "yuv444p"),
        ("a.mov", "prores_ks", "yuva444p10le"),
        ("a.mov", "qtrle", "rgb24"),
        ("a.avi", "mjpeg", "yuvj420p"),
        ("a.mkv", "ffv1", "gray"),
    ],
)
def test_every_pixel_format_becomes_8_bit_420(tmp_path: Path, env: Env, name: str, codec: str, pix_fmt: str) -> None:
    path = write_numbered(tmp_path / name, 12, codec=codec, pix_fmt=pix_fmt, full_range=pix_fmt.startswith("yuvj"))
    made = one(unit(path, (3, 12)), env)
    assert numbers(made["uri"]) == list(range(3, 12))
    with av.open(made["uri"]) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p"


@pytest.mark.parametrize("full_range", [False, True])
def test_black_and_white_are_of_limited_range(tmp_path: Path, env: Env, full_range: bool) -> None:
    made = one(unit(write_numbered(tmp_path / "a.mp4", 12, full_range=full_range), (0, 12)), env)
    with av.open(made["uri"]) as container:
        frame = next(container.decode(video=0))
    luma = frame.to_ndarray()[:240]
    assert frame.color_range != ColorRange.JPEG
    assert luma[10:30, 10:30].mean() == pytest.approx(16 + 20 * 219 / 255, abs=3)  # number 0: its first block is black
    assert luma[90:110, 10:30].mean() == pytest.approx(16 + 235 * 219 / 255, abs=3)  # and its check bits are white


def test_colour_tags_are_kept(tmp_path: Path, env: Env) -> None:
    tags = {"x264-params": "colorprim=bt709:transfer=bt709:colormatrix=bt709"}
    made = one(unit(write_numbered(tmp_path / "a.mp4", 12, options=tags), (0, 12)), env)
    with av.open(made["uri"]) as container:
        context = container.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc, context.colorspace) == (1, 1, 1)


def test_an_odd_size_loses_a_pixel_and_is_not_scaled(tmp_path: Path, env: Env) -> None:
    made = one(unit(write_numbered(tmp_path / "a.mkv", 12, codec="ffv1", size=(163, 119)), (0, 12)), env, crf=1)
    assert (made["width"], made["height"]) == (162, 118)
    with av.open(str(tmp_path / "a.mkv")) as before, av.open(made["uri"]) as after:
        whole, cropped = next(before.decode(video=0)), next(after.decode(video=0))
    seen = cropped.to_ndarray(format="gray").astype(int) - whole.to_ndarray(format="gray")[:118, :162].astype(int)
    assert np.abs(seen).mean() < 2


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_pixels_come_upright(tmp_path: Path, env: Env, rotation: int) -> None:
    made = one(unit(write_numbered(tmp_path / "a.mp4", 12, rotation=rotation), (2, 12)), env)
    assert (made["width"], made["height"]) == ((320, 240) if rotation == 180 else (240, 320))
    with av.open(made["uri"]) as container:
        shown = list(container.decode(video=0))
    assert [read_number(frame) for frame in shown] == list(range(2, 12))  # as stored, not as a player would turn it
    assert {frame.rotation for frame in shown} == {0}


def test_a_change_of_size_midway_is_scaled_to_the_first_frame(tmp_path: Path, env: Env) -> None:
    plain = {"bf": "0"}  # B-frames would shift the second file's times
    wide = write_numbered(tmp_path / "a.ts", 30, options=plain)
    small = write_numbered(tmp_path / "b.ts", times_s=[1 + k / 30 for k in range(30)], size=(160, 120), first=30, options=plain)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(wide.read_bytes() + small.read_bytes())
    made = one(unit(joined, (15, 45), is_vfr=False), env)
    assert numbers(made["uri"]) == list(range(15, 45))
    assert (made["width"], made["height"]) == (320, 240)


def test_interlaced_footage_is_cut_by_frames(tmp_path: Path, env: Env) -> None:
    path = write_numbered(tmp_path / "a.ts", 30, options={"x264-params": "tff=1", "flags": "+ildct+ilme"})
    assert numbers(one(unit(path, (5, 25)), env)["uri"]) == list(range(5, 25))


# What the files are


def test_two_runs_give_the_same_bytes(tmp_path: Path, env: Env) -> None:
    row = unit(write_numbered(tmp_path / "a.mkv", 40, audio="vorbis"), (3, 33))
    again = Env(media_root=str(tmp_path / "again"), fingerprint=env.fingerprint)
    first, second = one(row, env), one(row, again)
    assert first["sha256"] == second["sha256"]
    assert first["uri"] != second["uri"]


def test_a_clip_can_be_played_while_it_loads_and_tells_no_time_of_creation(tmp_path: Path, env: Env) -> None:
    made = one(unit(write_numbered(tmp_path / "a.mp4", 30, audio="aac"), (0, 30)), env)
    data = Path(made["uri"]).read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(made["uri"]) as container:
        assert "creation_time" not in container.metadata


def test_nothing_but_the_clips_is_left(tmp_path: Path, env: Env) -> None:
    made = one(unit(write_numbered(tmp_path / "a.mp4", 30), (0, 30)), env)
    assert [str(path) for path in (tmp_path / "media").rglob("*") if path.is_file()] == [made["uri"]]


def test_frames_are_not_forced_to_the_types_of_the_source(tmp_path: Path, env: Env) -> None:
    made = one(unit(write_numbered(tmp_path / "a.mp4", 30, gop=1), (0, 30)), env)  # an all-intra source
    with av.open(made["uri"]) as container:
        assert sum(packet.is_keyframe for packet in container.demux(video=0)) == 1


@pytest.mark.parametrize(("encoder", "codec"), [("libvpx-vp9", "vp9"), ("libsvtav1", "av1")])
def test_other_encoders_cut_the_same_frames(tmp_path: Path, env: Env, encoder: str, codec: str) -> None:
    made = one(unit(write_numbered(tmp_path / "a.mp4", 30), (5, 25)), env, encoder=encoder)
    assert numbers(made["uri"]) == list(range(5, 25))
    assert (made["video_codec"], made["encoder"], made["duration_s"]) == (codec, encoder, pytest.approx(20 / 30))


def test_the_sources_bit_rate_replaces_constant_quality(tmp_path: Path, env: Env) -> None:
    path = write_numbered(tmp_path / "a.mp4", 90)
    poor = one(unit(path, (0, 90), bit_rate_k=20), env, use_input_bit_rate=True)
    assert poor["num_bytes"] < one(unit(path, (0, 90), bit_rate_k=20), env)["num_bytes"] / 2


# Sound


@pytest.mark.parametrize(
    ("name", "codec", "kept"),
    [
        ("a.mp4", "aac", "aac"),
        ("a.ts", "aac", "aac"),
        ("a.mp4", "libmp3lame", "mp3"),
        ("a.mkv", "libopus", "opus"),
        ("a.mkv", "flac", "flac"),
        ("a.mov", "alac", "alac"),
        ("a.mp4", "ac3", "ac3"),
        ("a.mp4", "eac3", "eac3"),
        ("a.mov", "pcm_s16le", "aac"),
        ("a.mkv", "vorbis", "aac"),
        ("a.wmv", "wmav2", "aac"),
        ("a.mkv", "mp2", "aac"),
    ],
)
def test_sound_is_copied_or_encoded_and_in_sync(tmp_path: Path, env: Env, name: str, codec: str, kept: str) -> None:
    video = "wmv2" if name.endswith(".wmv") else "libx264"
    path = write_numbered(tmp_path / name, 90, size=(96, 64), audio=codec, codec=video)
    made = one(unit(path, (20, 75)), env)
    assert made["audio_codec"] == kept
    assert seconds_heard(made["uri"], every_s=1 / 3)[:5] == [0, 1, 1, 1, 2]
    assert made["duration_s"] == pytest.approx(55 / 30, abs=1e-3)
    assert abs(delay_s(sound(path), 20 / 30, sound(made["uri"]))) < 0.003


def delay_s(whole: NDArray[np.float64], start_s: float, part: NDArray[np.float64]) -> float:
    """How much later than it should the sound of a part comes."""
    most = 4800  # samples: it is looked for 0.1 s on either side
    middle = part[most : 48_000 + most]
    start = round(start_s * 48_000)
    around = whole[start : start + 48_000 + 2 * most]
    return (most - float(np.argmax(np.correlate(around, middle, "valid")))) / 48_000


def test_sound_begins_with_the_first_frame_and_ends_with_the_last(tmp_path: Path, env: Env) -> None:
    made = one(unit(write_numbered(tmp_path / "a.mp4", 60, audio="aac"), (13, 43)), env)
    with av.open(made["uri"]) as container:
        frames = list(container.decode(audio=0))
    assert frames[0].time == 0
    assert frames[-1].time == pytest.approx(1.0, abs=0.025)


def test_sound_is_dropped_where_asked(tmp_path: Path, env: Env) -> None:
    made = one(unit(write_numbered(tmp_path / "a.mp4", 30, audio="aac"), (0, 30)), env, audio="drop")
    assert made["audio_codec"] is None
    with av.open(made["uri"]) as container:
        assert [stream.type for stream in container.streams] == ["video"]


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "aac"), ("a.mp4", "mp2")])
def test_sound_that_cannot_be_decoded_does_not_cost_the_clip(tmp_path: Path, env: Env, name: str, codec: str) -> None:
    path = overwrite(write_numbered(tmp_path / name, 30, audio=codec), "audio", slice(None), keep=0)
    made = one(unit(path, (0, 30)), env)
    assert numbers(made["uri"]) == list(range(30))
    assert made["audio_codec"] is None


def test_where_there_is_no_sound_is_silence(tmp_path: Path, env: Env) -> None:
    whole = write_numbered(tmp_path / "a.mov", 60, audio="pcm_s16le")
    with av.open(str(whole)) as container, av.open(str(tmp_path / "b.mov"), "w") as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in container.streams}
        for packet in container.demux():
            if packet.dts is None or (packet.stream.type == "audio" and not 0.5 <= (packet.pts or 0) * packet.time_base < 1.25):
                continue
            packet.stream = streams[packet.stream.index]
            out.mux(packet)
    made = one(unit(tmp_path / "b.mov", (0, 30)), env)
    assert seconds_heard(made["uri"], 0.25) == [-1, -1, 0, 0]


# Copies


def test_a_copy_between_key_frames_is_exact(tmp_path: Path, env: Env) -> None:
    row = unit(write_numbered(tmp_path / "a.mp4", 90, gop=30, audio="aac"), (0, 30), (30, 90))
    made = clip.cut_unit(row, Params(mode="copy"), env)
    assert [numbers(m["uri"]) for m in made] == [list(range(30)), list(range(30, 90))]
    assert [(m["exact"], m["encoder"], m["audio_codec"]) for m in made] == [(True, "copy", "aac")] * 2
    assert [m["duration_s"] for m in made] == [1.0, 2.0]
    assert abs(delay_s(sound(row["uri"]), 1.0, sound(made[1]["uri"]))) < 0.003


def test_a_copy_begins_at_the_key_frame_before(tmp_path: Path, env: Env) -> None:
    made = one(unit(write_numbered(tmp_path / "a.mkv", 90, gop=30), (45, 70)), env, mode="copy")
    held = numbers(made["uri"])
    assert held[0] == 30
    assert held == list(range(30, 30 + made["num_frames"]))
    assert made["exact"] is False
    assert made["duration_s"] == pytest.approx(made["num_frames"] / 30, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx265", {}),
        ("a.mp4", "libx264", {"x264-params": "open-gop=1:scenecut=0:bframes=3"}),
        ("a.ts", "libx264", {}),
        ("a.webm", "libvpx-vp9", {}),
        ("a.mkv", "libsvtav1", {}),
    ],
)
def test_a_copy_says_what_it_holds(tmp_path: Path, env: Env, name: str, codec: str, options: dict[str, str]) -> None:
    row = unit(write_numbered(tmp_path / name, 90, codec=codec, gop=30, options=options), (30, 60), (45, 70))
    for made, (first, end) in zip(clip.cut_unit(row, Params(mode="copy"), env), [(30, 60), (45, 70)], strict=True):
        held = numbers(made["uri"])
        assert held == list(range(held[0], held[0] + made["num_frames"]))
        assert held[0] <= first
        assert held[-1] >= end - 1
        assert made["exact"] == (held == list(range(first, end)))


def test_what_a_copy_cannot_cut_exactly_is_transcoded(tmp_path: Path, env: Env) -> None:
    spans = [(0, 30), (30, 60), (45, 70)]
    row = unit(write_numbered(tmp_path / "a.mp4", 90, gop=30), *spans)
    made = {m["clip_id"]: m for m in clip.cut_unit(row, Params(copy_if_exact=True), env)}
    assert [numbers(made[f"{a}-{b}"]["uri"]) for a, b in spans] == [list(range(a, b)) for a, b in spans]
    assert [made[f"{a}-{b}"]["encoder"] for a, b in spans] == ["copy", "copy", "libx264"]
    assert all(m["exact"] for m in made.values())


def test_a_codec_that_mp4_cannot_hold_is_not_copied(tmp_path: Path, env: Env) -> None:
    row = unit(write_numbered(tmp_path / "a.mpg", 30, codec="mpeg2video"), (0, 30))
    (failed,) = clip.cut_unit(row, Params(mode="copy"), env)
    assert (failed["failed_key"], failed["failed_code"]) == ("0-30", "UNSUPPORTED")
    assert "mpeg2video" in failed["failed_message"]
    assert one(row, env, copy_if_exact=True)["encoder"] == "libx264"


def test_a_copy_without_a_key_frame_in_reach_is_refused(tmp_path: Path, env: Env) -> None:
    row = unit(write_numbered(tmp_path / "a.mp4", 90, gop=90), (80, 90))
    (failed,) = clip.cut_unit(row, Params(mode="copy", copy_reach_s=2), env)
    assert failed["failed_code"] == "UNSUPPORTED"
    assert "no key frame in the 2 s before 2.667 s" in failed["failed_message"]


def test_a_copied_turn_is_left_to_the_player_and_told_upright(tmp_path: Path, env: Env) -> None:
    made = one(unit(write_numbered(tmp_path / "a.mp4", 30, rotation=90), (0, 30)), env, mode="copy")
    assert (made["width"], made["height"]) == (240, 320)
    assert numbers(made["uri"]) == list(range(30))  # which turns them as a player does


# Damage


def test_of_a_truncated_video_the_whole_clips_are_kept(tmp_path: Path, env: Env) -> None:
    path = write_numbered(tmp_path / "a.mkv", 120, gop=15)
    row = unit(path, (0, 30), (30, 60), (45, 105), (105, 120))
    with path.open("r+b") as f:
        f.truncate(path.stat().st_size * 6 // 10)
    made = clip.cut_unit(row | {"source_version": access.version(str(path))}, Params(), env)
    assert codes(made) == [None, None, "PARTIAL", "CORRUPT"]
    assert numbers(made[1]["uri"]) == list(range(30, 60))


def test_damage_fails_only_the_clip_that_holds_it(tmp_path: Path, env: Env) -> None:
    path = overwrite(write_numbered(tmp_path / "a.mp4", 90, gop=30), "video", slice(35, 55), keep=8)
    made = clip.cut_unit(unit(path, (0, 30), (30, 60), (60, 90)), Params(), env)
    assert codes(made) == [None, "CORRUPT", None]
    assert numbers(made[2]["uri"]) == list(range(60, 90))


@pytest.mark.parametrize("mode", ["transcode", "copy"])
def test_a_failed_clip_leaves_no_file(tmp_path: Path, env: Env, mode: Literal["transcode", "copy"]) -> None:
    path = write_numbered(tmp_path / "a.mkv", 60, gop=15)
    row = unit(path, (45, 60))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    made = clip.cut_unit(row | {"source_version": access.version(str(path))}, Params(mode=mode), env)
    assert codes(made) == ["CORRUPT"]
    assert [found for found in (tmp_path / "media").rglob("*") if found.is_file()] == []


# Batches


def test_rows_takes_units_as_arrow_hands_them_over(tmp_path: Path, env: Env) -> None:
    row = unit(write_numbered(tmp_path / "a.mp4", 60), (0, 30), (30, 60), fingerprint="f", duration_s=2.0)
    batch = pd.DataFrame([row | {"spans": np.array(row["spans"], dtype=object)}])
    (made,) = clip.rows(iter([batch]), Params(), env)
    assert list(made.columns) == [*clip.COLUMNS, "fingerprint", *FAILURE, COST, GPU_COST]
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


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that tells how many packets were given to a decoder since."""
    given: list[int] = []
    packets = demuxer.packets

    def counted(video: Video) -> Iterator[Packet[Any]]:
        for packet in packets(video):
            given.append(packet.size)
            yield packet

    monkeypatch.setattr(decode, "packets", counted)
    return lambda: len(given)
