"""The sound of several clips of one file: read once, and that of each clip as if it were cut alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest

from tests.support import beeps, odd_times
from tests.support.beeps import Sound
from tests.support.broken_files import join_files
from udfs import clip
from udfs.audio.sound_file import SoundFile
from udfs.core.limits import Limits
from udfs.demux import timeline
from udfs.runtime.context import Env, Row
from udfs.storage import access
from udfs.video import container

SECONDS = 40


def joined(folder: Path, codec: str) -> Path:
    """A transport stream whose clock jumps in the middle."""
    parts = [
        beeps.write(folder / f"{n}.ts", Sound(codec), SECONDS / 2, first=20 * n, start_s=1000 * n) for n in range(2)
    ]
    return join_files(folder / "v.ts", *parts)


def without_index(folder: Path, codec: str) -> Path:
    """A Matroska file as a live recording leaves it."""
    return odd_times.copy_packets(beeps.write(folder / "w.mkv", Sound(codec), SECONDS), folder / "v.mkv", {"live": "1"})


def flv(folder: Path, codec: str) -> Path:
    """An FLV file, which has no index that FFmpeg reads."""
    with_index = beeps.write(folder / "w.mkv", Sound(codec, 44_100), SECONDS)
    return odd_times.copy_packets(with_index, folder / "v.flv")


def cut(path: Path, folder: Path, spans: list[tuple[float, float]], **settings: Any) -> dict[str, Row]:
    facts = container.probe(str(path), Limits())
    cuts = [{"clip_id": f"c{start:g}-{end:g}", "start_s": start, "end_s": end} for start, end in spans]
    unit = facts | {"video_id": "v", "uri": str(path), "source_version": access.version(str(path)), "spans": cuts}
    rows = clip.cut_unit(unit, clip.Params(**settings), Env(media_root=str(folder), fingerprint="f" * 16).with_media())
    return {row["clip_id"]: row for row in rows}


def packets(path: str) -> list[tuple[int, int | None, int | None, bytes]]:
    """The stream, times and data of all packets; the header estimates the bit rate from what was read before."""
    with av.open(path) as file:
        return [(p.stream.index, p.pts, p.duration, bytes(p)) for p in file.demux() if p.size]


@pytest.mark.parametrize("mode", ["transcode", "copy"])
@pytest.mark.parametrize(
    ("write", "codec"),
    [
        *((joined, codec) for codec in ("aac", "libmp3lame", "mp2")),
        *((without_index, codec) for codec in ("aac", "mp2", "pcm_s16le")),
        *((flv, codec) for codec in ("aac", "libmp3lame")),
    ],
)
def test_clips_that_are_cut_together_are_those_that_are_cut_alone(
    tmp_path: Path, mode: str, write: Any, codec: str
) -> None:
    path = write(tmp_path, codec)
    spans = [(0.0, 4.0), (1.0, 2.0), (4.0, 9.0), (17.0, 23.0), (19.0, 20.5), (30.0, 39.9)]
    together = cut(path, tmp_path / "together", spans, mode=mode)
    for span in spans:
        ((clip_id, alone),) = cut(path, tmp_path / "alone", [span], mode=mode).items()
        assert alone["audio_codec"]
        assert together[clip_id]["audio_warning"] == alone["audio_warning"]
        assert packets(together[clip_id]["uri"]) == packets(alone["uri"])


def bytes_read() -> int:
    """How many bytes this process has read from files."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.parametrize("write", [joined, flv])
def test_a_file_without_seeks_is_read_a_few_times_however_many_clips_it_gives(tmp_path: Path, write: Any) -> None:
    path = write(tmp_path, "aac")
    before = bytes_read()
    cut(path, tmp_path / "out", [(float(start), start + 1.0) for start in range(SECONDS - 1)])
    assert bytes_read() - before < 10 * path.stat().st_size


def test_an_earlier_start_than_the_last_one_is_read_again(tmp_path: Path) -> None:
    path = joined(tmp_path, "aac")
    timing = timeline.timing_of_row(container.probe(str(path), Limits()))
    sounds = SoundFile(lambda: container.open_video(str(path), Limits(), timing=timing))
    stream = sounds.video.container.streams.audio[0]
    starts = [sounds.video.start_s + at for at in (20.0, 30.0, 5.0)]
    firsts = [next(packet.pts or 0 for packet in sounds.packets(stream, start)) for start in starts]
    sounds.close()
    assert firsts[2] < firsts[0] < firsts[1]
