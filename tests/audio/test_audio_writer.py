"""The sound of clips: each beep of the source is where it was, to 20 ms, and a loss is reported."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pandas as pd
import pytest

from jobs.lake.history import Counts
from tests.support import beeps
from tests.support.beeps import Sound
from tests.support.broken_files import join_files
from udfs import clip
from udfs.clip import Params
from udfs.core.limits import Limits
from udfs.runtime import sandbox
from udfs.runtime.context import Env, Row
from udfs.storage import access
from udfs.video import container

CUT = clip.cut_unit
SPANS = ((0.0, 4.0), (4.52, 8.0))
NEAR_S = 0.02
TRUTH = {n: n + beeps.OFFSET_S + beeps.BEEP_S / 2 for n in range(10)}

CASES = {
    "mp4": ("aac", "libmp3lame", "mp2", "ac3", "eac3", "libopus", "flac", "alac"),
    "mov": ("aac", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_mulaw", "adpcm_ima_qt"),
    "mkv": ("aac", "libmp3lame", "mp2", "ac3", "eac3", "libopus", "vorbis", "flac", "alac", "pcm_s16le", "pcm_s24le"),
    "webm": ("libopus", "vorbis"),
    "ts": ("aac", "libmp3lame", "mp2", "ac3", "eac3", "libopus"),
    "mpg": ("mp2", "ac3"),
    "avi": ("libmp3lame", "mp2", "ac3", "aac", "pcm_s16le", "adpcm_ms", "adpcm_ima_wav"),
    "flv": ("aac", "libmp3lame", "adpcm_swf", "pcm_s16le"),
    "3gp": ("aac", "libopencore_amrnb"),
    "ogv": ("vorbis", "libopus", "flac"),
    "wmv": ("wmav2", "libmp3lame", "pcm_s16le"),
}
BIT_RATES = {"libopencore_amrnb": 12_200, "wmav2": 96_000}
RATES = {"libopencore_amrnb": 8_000, "adpcm_swf": 44_100, "adpcm_ima_wav": 44_100}


def sound(codec: str, container: str = "") -> Sound:
    """A sound that the codec and the container take."""
    layout = "stereo" if codec in ("vorbis", "wmav2") else "mono"  # the only one that some encoders take
    rate = 44_100 if container == "flv" else RATES.get(codec, 48_000)
    return Sound(codec, rate, layout, BIT_RATES.get(codec))


def cut(path: Path, tmp_path: Path, spans: tuple[tuple[float, float], ...] = SPANS, **settings: Any) -> list[Row]:
    """The clips of some spans, given in seconds."""
    return clip.cut_unit(unit(path, spans), Params(**settings), env_of(tmp_path))


def env_of(tmp_path: Path) -> Env:
    """The Env of an output in a folder."""
    return Env(media_root=str(tmp_path / "media"), fingerprint="0123456789abcdef").with_media()


def unit(path: Path, spans: tuple[tuple[float, float], ...] = SPANS) -> Row:
    """The unit of a video with some spans, given in seconds."""
    facts = container.probe(str(path), Limits())
    cuts = [
        {
            "clip_id": f"c{n}",
            "start_s": start_s,
            "end_s": end_s,
            "start_frame": round(start_s * 25),
            "end_frame": round(end_s * 25),
        }
        for n, (start_s, end_s) in enumerate(spans)
    ]
    return facts | {"video_id": "v", "uri": str(path), "source_version": access.version(str(path)), "spans": cuts}


def problems(
    path: Path, rows: list[Row], spans: tuple[tuple[float, float], ...] = SPANS, truth: dict[int, float] | None = None
) -> list[str]:
    """How the beeps of clips differ from those of the source, or from the known ones; one line per difference."""
    source_beeps, frame_times_s = truth or beeps.beeps(path), beeps.picture_times(path)
    return [
        problem
        for row, (asked_s, end_s) in zip(rows, spans, strict=True)
        for start_s in [min(at for at in frame_times_s if at >= asked_s - 0.001)]  # a clip begins with a picture
        for problem in clip_problems(row, start_s, end_s, source_beeps)
    ]


def clip_problems(row: Row, start_s: float, end_s: float, source_beeps: dict[int, float]) -> list[str]:
    expected = {n: at - start_s for n, at in source_beeps.items() if start_s + 0.06 < at < end_s - 0.06}
    if row.get("failed_code") or row["audio_warning"] or len(expected) < min(3, int(end_s - start_s) - 1):
        return [f"{row} of a source with beeps at {source_beeps}"]
    clip_beeps = beeps.beeps(row["uri"])
    return [
        f"beep {n} at {clip_beeps.get(n)} s and not at {at_s:.3f} s of {row['clip_id']}"
        for n, at_s in expected.items()
        if n not in clip_beeps or abs(clip_beeps[n] - at_s) > NEAR_S
    ]


@pytest.mark.files
@pytest.mark.parametrize(("container", "codec"), [(name, codec) for name, codecs in CASES.items() for codec in codecs])
def test_every_beep_is_where_it_was(tmp_path: Path, container: str, codec: str) -> None:
    path = beeps.write(tmp_path / f"a.{container}", sound(codec, container))
    assert problems(path, cut(path, tmp_path)) == []


# Oddities


@pytest.mark.files
@pytest.mark.parametrize("codec", ["aac", "ac3", "libopus", "flac", "alac"])
def test_fragments_of_one_frame_whose_times_repeat_lose_no_sound(tmp_path: Path, codec: str) -> None:
    path = beeps.write(tmp_path / "a.mp4", sound(codec), options={"movflags": "frag_every_frame+empty_moov+delay_moov"})
    assert problems(path, cut(path, tmp_path), truth=TRUTH) == []


@pytest.mark.files
@pytest.mark.parametrize("codec", ["aac", "ac3", "mp2", "libmp3lame"])
def test_parameters_that_change_midway_lose_no_sound(tmp_path: Path, codec: str) -> None:
    first = beeps.write(tmp_path / "1.ts", Sound(codec, 44_100, "mono"), length_s=6)
    second = beeps.write(tmp_path / "2.ts", Sound(codec, 48_000, "stereo"), length_s=6, first=6, start_s=6)
    path = join_files(tmp_path / "a.ts", first, second)
    spans = (*SPANS, (7.0, 11.0))
    assert problems(path, cut(path, tmp_path, spans), spans) == []


@pytest.mark.files
def test_recordings_that_overlap_follow_one_another(tmp_path: Path) -> None:
    first = beeps.write(tmp_path / "1.ts", Sound(), length_s=6, options={"muxdelay": "0"})
    second = beeps.write(tmp_path / "2.ts", Sound(), length_s=6, first=6, start_s=5.8)
    path = join_files(tmp_path / "a.ts", first, second)
    assert problems(path, cut(path, tmp_path), truth=TRUTH) == []  # the second follows the first


@pytest.mark.files
def test_a_clock_that_wraps_moves_no_sound(tmp_path: Path) -> None:
    path = beeps.write(tmp_path / "a.ts", Sound(), options={"output_ts_offset": "95437"})
    spans = ((0.0, 4.0), (3.0, 7.0), (5.0, 9.0), (8.0, 10.0))
    assert problems(path, cut(path, tmp_path, spans), spans) == []


@pytest.mark.files
@pytest.mark.parametrize(
    ("name", "codec", "at_once"),
    [
        ("a.mkv", "pcm_s16le", 40),
        ("a.mov", "pcm_s16be", 47),
        ("a.mov", "adpcm_ima_qt", 300),
        ("a.avi", "pcm_s16le", 40),
    ],
)
def test_packets_of_a_second_are_cut_exactly(tmp_path: Path, name: str, codec: str, at_once: int) -> None:
    short = beeps.write(tmp_path / f"short{Path(name).suffix}", sound(codec))
    path = beeps.rewrite_sound(short, tmp_path / name, lambda packets: beeps.merge_packets(packets, at_once))
    assert problems(path, cut(path, tmp_path)) == []


@pytest.mark.files
def test_packets_that_reach_far_over_the_ends_are_not_copied(tmp_path: Path) -> None:
    path = beeps.write(tmp_path / "a.mov", Sound("alac", 16_000))  # of 4096 samples: a quarter of a second
    made = cut(path, tmp_path)
    assert problems(path, made) == []
    assert {row["audio_codec"] for row in made} == {"aac"}


@pytest.mark.files
@pytest.mark.parametrize("by_ms", [1500, 6000])
def test_an_index_that_leads_behind_the_start_loses_no_sound(tmp_path: Path, by_ms: int) -> None:
    path = beeps.shift_cues(beeps.write(tmp_path / "a.mkv", Sound(), options={"cluster_time_limit": "3000"}), by_ms)
    assert problems(path, cut(path, tmp_path)) == []


@pytest.mark.files
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.mov", "a.avi"])
def test_sound_that_begins_late_stays_late(tmp_path: Path, name: str) -> None:
    codec = "libmp3lame" if name == "a.avi" else "aac"
    path = beeps.write(tmp_path / name, sound(codec), late_s=2)
    assert problems(path, cut(path, tmp_path, ((0.0, 6.0), (4.52, 8.0))), ((0.0, 6.0), (4.52, 8.0))) == []


@pytest.mark.files
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.flv"])
def test_a_clock_that_does_not_begin_at_zero_is_kept(tmp_path: Path, name: str) -> None:
    path = beeps.write(tmp_path / name, sound("aac", name[2:]), start_s=7)
    assert problems(path, cut(path, tmp_path)) == []


@pytest.mark.files
@pytest.mark.parametrize(
    ("name", "codec"), [("a.webm", "libopus"), ("a.mp4", "aac"), ("a.mkv", "vorbis"), ("a.ts", "mp2")]
)
def test_gaps_between_packets_become_silence(tmp_path: Path, name: str, codec: str) -> None:
    whole = beeps.write(tmp_path / f"whole{Path(name).suffix}", sound(codec))
    path = beeps.rewrite_sound(
        whole, tmp_path / name, lambda packets: [p for p in packets if 0.15 < (p.pts or 0) * p.time_base % 1 < 0.6]
    )
    made = cut(path, tmp_path)
    assert problems(path, made) == []
    assert {row["audio_codec"] for row in made} == {"aac"}  # a copy would leave the silence to the reader


@pytest.mark.files
@pytest.mark.parametrize("movflags", ["", "negative_cts_offsets", "frag_keyframe+empty_moov"])
def test_the_edit_list_of_a_trimmed_file_is_kept(tmp_path: Path, movflags: str) -> None:
    whole = beeps.write(tmp_path / "whole.mp4", Sound(), length_s=12)
    path = tmp_path / "a.mp4"
    with (
        av.open(str(whole)) as given,
        av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as out,
    ):
        streams = {stream.index: out.add_stream_from_template(stream) for stream in given.streams}
        for packet in given.demux():
            later_s = 1.36  # behind the key frame of second 1
            if packet.size and packet.pts is not None and packet.pts * packet.time_base >= 1:
                packet.pts -= round(later_s / packet.time_base)
                packet.dts = (packet.dts or 0) - round(later_s / packet.time_base)
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    assert problems(path, cut(path, tmp_path)) == []


@pytest.mark.parametrize(
    ("layout", "codec"), [("7.1", "pcm_s24le"), ("5.1", "pcm_s16le"), ("5.1", "alac"), ("quad", "flac")]
)
def test_many_channels_are_mixed_down_and_crash_nothing(tmp_path: Path, layout: str, codec: str) -> None:
    path = beeps.write(tmp_path / ("a.mkv" if codec == "flac" else "a.mov"), Sound(codec, 48_000, layout), length_s=9)
    rows = sandbox.call(clip.cut_unit, unit(path), Params(), env_of(tmp_path), timeout_s=60, memory_mb=1024)
    assert problems(path, rows) == []
    sandbox.stop()


# Which track


def test_a_clip_holds_the_track_that_the_setting_names(tmp_path: Path) -> None:
    path = beeps.write(tmp_path / "a.mkv", (Sound("aac"), Sound("ac3")), 3, default=0, languages=("jpn", "eng"))
    assert [row["audio_codec"] for row in cut(path, tmp_path, ((0.0, 2.0),))] == ["aac"]
    assert [row["audio_codec"] for row in cut(path, tmp_path, ((0.0, 2.0),), audio_language="en")] == ["ac3"]


# What is reported


def blank(path: Path, when: Callable[[float], bool]) -> Path:
    """Overwrite the packets of the sound that begin at some times."""
    with av.open(str(path)) as container:
        places = [
            (p.pos or 0, p.size) for p in container.demux(audio=0) if p.size and when(float((p.pts or 0) * p.time_base))
        ]
    data = bytearray(path.read_bytes())
    for at, size in places:
        data[at : at + size] = b"\xff\x00" * (size // 2) + b"\x00" * (size % 2)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("codec", ["mp2", "aac"])
def test_sound_that_cannot_be_decoded_is_a_warning(tmp_path: Path, codec: str) -> None:
    path = blank(beeps.write(tmp_path / "a.mp4", Sound(codec), 4), lambda at_s: True)
    (row,) = cut(path, tmp_path, ((0.0, 4.0),))
    assert row["audio_codec"] is None
    assert row["audio_warning"] == "no sound: it cannot be decoded"


def test_a_part_that_cannot_be_decoded_is_a_warning(tmp_path: Path) -> None:
    path = blank(beeps.write(tmp_path / "a.mov", Sound("alac", 16_000), 4), lambda at_s: at_s >= 3)
    rows = cut(path, tmp_path, ((0.0, 2.0), (2.0, 4.0)))
    assert rows[0]["audio_warning"] is None
    assert rows[1]["audio_warning"].endswith("s of 2.0 s of sound are missing: it cannot be decoded")


def test_a_track_without_a_decoder_is_a_warning(tmp_path: Path) -> None:
    path = beeps.write(tmp_path / "a.mkv", Sound("ac3"), 3)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"A_AC3", b"A_XYZ"))
    (row,) = cut(path, tmp_path, ((0.0, 2.0),))
    assert (row["audio_codec"], row["audio_warning"]) == (None, "no sound: its track has no decoder")


def test_no_track_a_gap_and_an_early_end_are_no_loss(tmp_path: Path) -> None:
    short = beeps.rewrite_sound(
        beeps.write(tmp_path / "long.mkv", Sound("mp2"), 6),
        tmp_path / "short.mkv",
        lambda packets: [
            p for p in packets if not 1 < (p.pts or 0) * p.time_base < 2 and (p.pts or 0) * p.time_base < 3
        ],
    )
    silent = beeps.write(tmp_path / "silent.mkv", (), 3)
    assert [row["audio_warning"] for row in cut(short, tmp_path, ((0.0, 2.0), (2.0, 4.0), (4.0, 6.0)))] == [None] * 3
    assert [row["audio_warning"] for row in cut(silent, tmp_path, ((0.0, 2.0),))] == [None]


def test_dropped_sound_is_no_loss(tmp_path: Path) -> None:
    path = beeps.write(tmp_path / "a.mkv", Sound(), 3)
    assert [row["audio_warning"] for row in cut(path, tmp_path, ((0.0, 2.0),), audio="drop")] == [None]


def test_a_crash_in_sound_costs_the_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = beeps.write(tmp_path / "a.mkv", Sound(), 3)
    monkeypatch.setattr(clip, "cut_unit", crashing_with_sound)
    env = Env(media_root=str(tmp_path / "media"), fingerprint="0123456789abcdef")
    spans = [
        {"clip_id": f"c{n}", "start_s": float(n), "end_s": n + 1.0, "start_frame": n * 25, "end_frame": n * 25 + 25}
        for n in (0, 1)
    ]
    facts = container.probe(str(path), Limits())
    row = facts | {
        "video_id": "v",
        "uri": str(path),
        "source_version": access.version(str(path)),
        "spans": spans,
        "duration_s": 2.0,
    }
    (made,) = clip.rows(iter([pd.DataFrame([row])]), Params(), env)
    assert made["clip_id"].tolist() == ["c0", "c1"]
    assert made["audio_codec"].tolist() == ["aac", None]
    assert made["audio_warning"].tolist() == [None, "no sound: with it, the decoding process died: SIGABRT"]
    (silent,) = clip.rows(iter([pd.DataFrame([row])]), Params(audio="drop"), env)
    assert silent["failed_code"].tolist() == [None, None]


def crashing_with_sound(row: Row, params: Params, env: Env) -> list[Row]:
    """The work on a unit, whose decoder dies of the sound of its second span."""
    if (
        any(span["clip_id"] == "c1" for span in row["spans"])
        and params.audio == "keep"
        and not row.get("audio_warning")
    ):
        os.abort()
    return CUT(row, params, env)


def test_the_last_line_counts_warnings() -> None:
    counts = Counts(2, 2, Counter(), Counter({"audio_warning": 1})) + Counts(
        1, 1, Counter(), Counter({"audio_warning": 1})
    )
    assert str(counts) == "done: 3 rows written, nothing failed; 2 rows with audio_warning"
