"""Stream copies: clips cut without decoding hold the packets of their span, exact or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import odd_times
from tests.support.clip_units import (
    delay_s,
    only_clip,
    samples_48khz,
    unit,
)
from tests.support.footage import numbers, seconds_heard, write_numbered
from tests.support.sandbox_probe import SMALL
from udfs import clip
from udfs.clip import Params
from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.runtime.context import Env, Row
from udfs.video import container, stream_copy


def test_a_copy_between_key_frames_is_exact(tmp_path: Path, env: Env) -> None:
    row = unit(write_numbered(tmp_path / "a.mp4", 90, gop=30, audio="aac"), (0, 30), (30, 90))
    made = clip.cut_unit(row, Params(mode="copy"), env)
    assert [numbers(m["uri"]) for m in made] == [list(range(30)), list(range(30, 90))]
    assert [(m["exact"], m["encoder"], m["audio_codec"]) for m in made] == [(True, "copy", "aac")] * 2
    assert [m["duration_s"] for m in made] == [1.0, 2.0]
    assert abs(delay_s(samples_48khz(row["uri"]), 1.0, samples_48khz(made[1]["uri"]))) < 0.003


def test_a_copy_begins_at_the_key_frame_before(tmp_path: Path, env: Env) -> None:
    made = only_clip(unit(write_numbered(tmp_path / "a.mkv", 90, gop=30), (45, 70)), env, mode="copy")
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
    assert only_clip(row, env, copy_if_exact=True)["encoder"] == "libx264"


def test_a_copy_without_a_key_frame_in_reach_is_refused(tmp_path: Path, env: Env) -> None:
    row = unit(write_numbered(tmp_path / "a.mp4", 90, gop=90), (80, 90))
    (failed,) = clip.cut_unit(row, Params(mode="copy", copy_reach_s=2), env)
    assert failed["failed_code"] == "UNSUPPORTED"
    assert "no key frame in the 2 s before 2.667 s" in failed["failed_message"]


def test_a_copied_rotation_is_left_to_the_player_and_the_size_is_upright(tmp_path: Path, env: Env) -> None:
    made = only_clip(unit(write_numbered(tmp_path / "a.mp4", 30, rotation=90), (0, 30)), env, mode="copy")
    assert (made["width"], made["height"]) == (240, 320)
    assert numbers(made["uri"]) == list(range(30))  # which turns them as a player does


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_overlapping_copies_from_the_start_keep_the_coded_sound(tmp_path: Path, env: Env, name: str) -> None:
    row = unit(write_numbered(tmp_path / name, 90, gop=30, audio="libmp3lame"), (0, 30), (0, 60), (30, 60))
    made = clip.cut_unit(row, Params(mode="copy"), env)
    assert [m["audio_codec"] for m in made] == ["mp3"] * 3
    assert [seconds_heard(m["uri"]) for m in made] == [[0, 0], [0, 0, 1, 1], [1, 1]]


def test_copies_of_a_video_whose_clock_breaks_keep_their_sound(tmp_path: Path, env: Env) -> None:
    whole = write_numbered(tmp_path / "a.mp4", 180, size=SMALL, gop=30, audio="aac", options={"bf": "2"})
    row = unit(odd_times.write_joined(tmp_path, whole, 3600.0), (0, 30), (90, 120), (120, 150))
    assert len(row["clock_breaks"]) == 1
    made = clip.cut_unit(row, Params(mode="copy"), env)
    # The joint adds two frames of time, so that the second copy begins at the key frame before frame 90.
    assert [seconds_heard(m["uri"]) for m in made] == [[0, 0], [2, 2, 3, 3], [4, 4]]
    assert [m["audio_warning"] for m in made] == [None] * 3


def test_a_copy_begins_right_where_the_file_does_not_begin_with_a_key_frame(tmp_path: Path, env: Env) -> None:
    whole = write_numbered(tmp_path / "a.mkv", 120, size=SMALL, gop=30, audio="aac")
    # Its first packets have no decoding time and are left out; a seek to its start leads past its second key frame.
    path = odd_times.copy_packets(whole, tmp_path / "b.mkv", strays=(50, 70))
    made = only_clip(unit(path, (0, 30)), env, mode="copy")
    assert numbers(made["uri"])[:30] == list(range(30, 60))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_packets_that_are_too_large_to_keep_are_read_again(
    tmp_path: Path, env: Env, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = unit(write_numbered(tmp_path / name, 150, gop=30, audio="aac", options={"bf": "2"}), (0, 45), (60, 90))
    kept = clip.cut_unit(row, Params(mode="copy"), env)
    for limit in (0, 3000):  # the first packet, or one in the middle, is too many
        monkeypatch.setattr(stream_copy, "MAX_KEPT_BYTES", limit)
        assert clip.cut_unit(row, Params(mode="copy"), env) == kept


def test_sound_that_cannot_be_copied_is_encoded_beside_the_same_picture(tmp_path: Path, env: Env) -> None:
    path = write_numbered(tmp_path / "a.mkv", 90, gop=30, audio="vorbis", options={"bf": "2"})
    row = unit(path, (0, 30), (30, 60))
    made = clip.cut_unit(row, Params(mode="copy"), env)
    assert [(m["audio_codec"], m["audio_warning"]) for m in made] == [("aac", None)] * 2
    assert [numbers(m["uri"]) for m in made] == [list(range(30)), list(range(30, 60))]


@pytest.mark.parametrize("codec", ["mpeg4", "libx264", "libx265", "libsvtav1"])
def test_the_columns_of_a_copy_are_those_of_its_file(tmp_path: Path, env: Env, codec: str) -> None:
    row = unit(write_numbered(tmp_path / "a.mp4", 90, codec=codec, gop=30, audio="aac"), (0, 30))
    made = only_clip(row, env, mode="copy")
    facts = container.probe(made["uri"], Limits())
    for name in ("width", "height", "sample_aspect_ratio", "framerate", "num_frames", "duration_s", "audio_codec"):
        assert made[name] == (pytest.approx(facts[name]) if name == "framerate" else facts[name]), name


def test_a_fault_while_a_copy_is_stored_is_its_own_and_not_that_of_the_spans_behind_it(
    tmp_path: Path, env: Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = unit(write_numbered(tmp_path / "a.mp4", 90, gop=30), (0, 30), (30, 60))
    store_clip, calls = clip._store_clip, list[str]()

    def refuse_first(span: Row, *arguments: Any) -> Row:
        calls.append(span["clip_id"])
        if len(calls) == 1:
            raise MediaError("UNREACHABLE", "no store")
        return store_clip(span, *arguments)

    monkeypatch.setattr(clip, "_store_clip", refuse_first)
    with pytest.raises(MediaError, match="no store"):  # the adapter then tries each span alone
        clip.cut_unit(row, Params(mode="copy"), env)
    assert calls == ["0-30"]
