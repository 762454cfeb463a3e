"""Picture or sound that goes on in a track of another PID: the warning that a probe gives."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from tests.support import broken_files, odd_streams, odd_times
from tests.support.footage import write_numbered
from udfs.core.limits import Limits
from udfs.video import container

SMALL = (160, 120)
OTHER_PIDS = {"mpegts_start_pid": "512"}


@pytest.mark.parametrize(
    "options",
    [
        OTHER_PIDS,
        OTHER_PIDS | {"tables_version": "5"},
        OTHER_PIDS | {"mpegts_pmt_start_pid": "4352"},
        OTHER_PIDS | {"mpegts_pmt_start_pid": "4352", "mpegts_service_id": "77"},
    ],
    ids=["pids", "version", "map", "programme"],
)
@pytest.mark.parametrize("returns", [False, True])
def test_footage_in_a_track_of_another_pid_is_reported(tmp_path: Path, options: dict[str, str], returns: bool) -> None:
    whole = write_numbered(tmp_path / "w.mp4", 90, 30, (320, 240), audio="aac", gop=30)
    first = odd_times.copy_packets(whole, tmp_path / "1.ts")
    second = odd_times.copy_packets(whole, tmp_path / "2.ts", options)
    path = broken_files.join_files(tmp_path / "v.ts", first, second, *([first] if returns else []))
    facts = container.probe(str(path), Limits())
    assert facts["num_frames"] == 90 * (1 + returns)
    lost, total = second.stat().st_size / 1e6, path.stat().st_size / 1e6
    warning = f"{lost:.1f} of {total:.1f} MB are in no clip: there the picture has the PID 0x200 in place of 0x100"
    assert facts["footage_warning"] == warning


def test_no_footage_is_missed_where_the_pid_stays_or_only_sound_goes_on(tmp_path: Path) -> None:
    whole = write_numbered(tmp_path / "w.mp4", 60, 30, SMALL, audio="mp2", gop=30)
    parts = [odd_times.copy_packets(whole, tmp_path / "1.ts"), odd_streams.write_sound(tmp_path / "2.ts")]
    for path in (*parts[:1], broken_files.join_files(tmp_path / "v.ts", parts[0], parts[0], *[parts[1]] * 5)):
        assert container.probe(str(path), Limits())["footage_warning"] is None


def _with_ids(source: Path, path: Path, picture: int, sound: int | None, options: dict[str, str]) -> Path:
    """A transport stream of a file's packets, under these PIDs; without sound if that has none."""
    with av.open(str(source)) as original, av.open(str(path), "w", options=options) as out:
        tracks = {}
        for stream in original.streams:
            if (pid := picture if stream.type == "video" else sound) is not None:
                tracks[stream.index] = out.add_stream_from_template(stream)
                tracks[stream.index].id = pid
        for packet in original.demux():
            if packet.dts is not None and packet.stream.index in tracks:
                packet.stream = tracks[packet.stream.index]
                out.mux(packet)
    return path


@pytest.mark.parametrize("codec", ["aac", "mp2", "ac3"])
@pytest.mark.parametrize("sounds", [(0x101, 0x102), (0x101, 0x102, 0x101)], ids=["to-the-end", "for-a-while"])
def test_sound_in_a_track_of_another_pid_is_reported(tmp_path: Path, codec: str, sounds: tuple[int, ...]) -> None:
    told = _warning(tmp_path, codec, sounds)  # FFmpeg may choose either of two tracks that it finds at the beginning
    assert told is not None
    assert told.endswith(("PID 0x102 in place of 0x101", "PID 0x101 in place of 0x102"))


def test_sound_far_from_both_ends_of_the_file_is_reported(tmp_path: Path) -> None:
    told = _warning(tmp_path, "aac", (None, 0x102, None), {"muxrate": "8000000"})
    assert told is not None
    assert told.endswith("it has the PID 0x102 and at the beginning there is none")


@pytest.mark.parametrize("codec", ["aac", "mp2", "ac3"])
@pytest.mark.parametrize(
    "sounds", [(0x101, None), (0x101, 0x101), (None, 0x102), (None, None)], ids=["ends", "same", "begins", "none"]
)
def test_no_sound_is_missed_where_one_track_has_all_of_it(
    tmp_path: Path, codec: str, sounds: tuple[int | None, ...]
) -> None:
    assert _warning(tmp_path, codec, sounds) is None


def _warning(
    folder: Path, codec: str, sounds: tuple[int | None, ...], options: dict[str, str] | None = None
) -> str | None:
    """What a probe says of a file of parts with the same picture and sound under these PIDs."""
    whole = write_numbered(folder / "w.mp4", 300, 30, (640, 360), audio=codec, gop=30)
    parts = [_with_ids(whole, folder / f"{i}.ts", 0x100, pid, options or {}) for i, pid in enumerate(sounds)]
    facts = container.probe(str(broken_files.join_files(folder / "v.ts", *parts)), Limits())
    assert facts["num_frames"] == 300 * len(sounds)
    warning: str | None = facts["footage_warning"]
    return warning
