"""Cost of probing an hour of video, compared with decoding it and with reading all its packets."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import pytest

from tests.support.footage import write_looped, write_numbered
from tests.support.odd_times import copy_packets
from udfs.core.limits import Limits
from udfs.storage.remote_file import RemotePath, Stat
from udfs.video import container

MINUTE, MINUTES, FPS = 60, 60, 30


@pytest.fixture(scope="module")
def minute(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of one minute, 640 x 360, with sound."""
    folder = tmp_path_factory.mktemp("minute")
    return write_numbered(
        folder / "minute.mp4", MINUTE * FPS, FPS, (640, 360), audio="aac", gop=60, options={"bf": "2"}
    )


def cpu_s(work: Callable[[], object]) -> float:
    """The CPU seconds that the work takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


def bytes_read(path: Path) -> int:
    """The bytes that a probe of a remote file fetches."""
    data, num_fetched = path.read_bytes(), [0]

    def fetch(uri: str, start: int, end: int, version: str) -> bytes:
        num_fetched[0] += end - start
        return data[start:end]

    container.probe(RemotePath(f"s3://bucket/{path.name}", Stat(len(data), "1"), fetch), Limits())
    return num_fetched[0]


def num_packets(path: Path) -> int:
    """Read all packets of the picture; returns their number."""
    with av.open(str(path)) as container:
        return sum(packet.size > 0 for packet in container.demux(video=0))


def num_frames(path: Path) -> int:
    """Decode all frames with one thread; returns their number."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_count = 1
        return sum(1 for _ in container.decode(video=0))


def test_probing_an_hour_takes_a_twentieth_of_its_decode_at_most(minute: Path, tmp_path: Path) -> None:
    hour = write_looped(minute, tmp_path / "hour.mp4", MINUTES, in_front=True)
    decode_s = cpu_s(lambda: num_frames(minute)) * MINUTES
    for name in ("hour.mp4", "hour.mkv", "hour.ts"):
        path = hour if name == "hour.mp4" else copy_packets(hour, tmp_path / name)
        probe_s, demux_s = cpu_s(partial(container.probe, str(path), Limits())), cpu_s(partial(num_packets, path))
        facts, size = container.probe(str(path), Limits()), path.stat().st_size
        num_read = bytes_read(path) if facts["timing"] == "index" else size
        print(
            f"\n{name}: {facts['num_frames']} frames; "
            f"probe {probe_s:.2f} s and {num_read / 1e6:.1f} of {size / 1e6:.0f} MB, ",
            end="",
        )
        print(f"demux {demux_s:.2f} s, decode {decode_s:.0f} s")
        assert facts["num_frames"] == MINUTE * MINUTES * FPS
        assert probe_s < decode_s / 20
        assert probe_s < 3 * demux_s
        if facts["timing"] == "index":
            assert num_read < 0.1 * size
