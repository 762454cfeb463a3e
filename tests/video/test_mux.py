"""The sound of an mp4: copied or encoded, in sync, and never at the cost of the clip."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from tests.support.clip_units import (
    delay_s,
    only_clip,
    overwrite_packets,
    samples_48khz,
    unit,
)
from tests.support.footage import numbers, seconds_heard, write_numbered
from udfs.runtime.context import Env


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
    made = only_clip(unit(path, (20, 75)), env)
    assert made["audio_codec"] == kept
    assert seconds_heard(made["uri"], every_s=1 / 3)[:5] == [0, 1, 1, 1, 2]
    assert made["duration_s"] == pytest.approx(55 / 30, abs=1e-3)
    assert abs(delay_s(samples_48khz(path), 20 / 30, samples_48khz(made["uri"]))) < 0.003


def test_sound_begins_with_the_first_frame_and_ends_with_the_last(tmp_path: Path, env: Env) -> None:
    made = only_clip(unit(write_numbered(tmp_path / "a.mp4", 60, audio="aac"), (13, 43)), env)
    with av.open(made["uri"]) as container:
        frames = list(container.decode(audio=0))
    assert frames[0].time == 0
    assert frames[-1].time == pytest.approx(1.0, abs=0.025)


def test_sound_is_dropped_where_asked(tmp_path: Path, env: Env) -> None:
    made = only_clip(unit(write_numbered(tmp_path / "a.mp4", 30, audio="aac"), (0, 30)), env, audio="drop")
    assert made["audio_codec"] is None
    with av.open(made["uri"]) as container:
        assert [stream.type for stream in container.streams] == ["video"]


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "aac"), ("a.mp4", "mp2")])
def test_sound_that_cannot_be_decoded_does_not_cost_the_clip(tmp_path: Path, env: Env, name: str, codec: str) -> None:
    path = overwrite_packets(write_numbered(tmp_path / name, 30, audio=codec), "audio", slice(None), keep=0)
    made = only_clip(unit(path, (0, 30)), env)
    assert numbers(made["uri"]) == list(range(30))
    assert made["audio_codec"] is None


def test_where_there_is_no_sound_is_silence(tmp_path: Path, env: Env) -> None:
    whole = write_numbered(tmp_path / "a.mov", 60, audio="pcm_s16le")
    with av.open(str(whole)) as container, av.open(str(tmp_path / "b.mov"), "w") as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in container.streams}
        for packet in container.demux():
            if packet.dts is None or (
                packet.stream.type == "audio" and not 0.5 <= (packet.pts or 0) * packet.time_base < 1.25
            ):
                continue
            packet.stream = streams[packet.stream.index]
            out.mux(packet)
    made = only_clip(unit(tmp_path / "b.mov", (0, 30)), env)
    assert seconds_heard(made["uri"], 0.25) == [-1, -1, 0, 0]


def test_a_clip_can_be_played_while_it_loads_and_has_no_creation_time(tmp_path: Path, env: Env) -> None:
    made = only_clip(unit(write_numbered(tmp_path / "a.mp4", 30, audio="aac"), (0, 30)), env)
    data = Path(made["uri"]).read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(made["uri"]) as container:
        assert "creation_time" not in container.metadata
