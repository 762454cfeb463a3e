"""Index files: of an mp4, the index alone is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import broken_files, odd_times
from tests.support.footage import write_looped
from tests.support.sandbox_probe import RemoteCopy, probe
from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.demux import packet_times
from udfs.video import container


def test_only_the_index_of_an_mp4_is_read(good: Path, tmp_path: Path) -> None:
    """Media data behind the first packets may be gone: the index still tells of all frames."""
    fast = odd_times.copy_packets(good, tmp_path / "v.mp4", {"movflags": "faststart"})
    facts = probe(broken_files.cut_to(fast, tmp_path / "cut.mp4", fast.stat().st_size * 2 // 3))
    assert (facts["num_frames"], facts["duration_s"]) == (120, pytest.approx(4))
    assert facts["timing"] == "index"


def test_packets_may_claim_a_share_of_the_file_and_not_of_what_its_boxes_claim(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = odd_times.copy_packets(good, tmp_path / "v.mp4", {"movflags": "faststart"})
    short = broken_files.cut_to(whole, tmp_path / "short.mp4", whole.stat().st_size // 5)  # its video alone has a third
    monkeypatch.setattr(packet_times, "MIN_BYTES", 1)
    monkeypatch.setattr(packet_times, "MAX_READ_RATIO", 1)
    assert probe(whole)["num_frames"] == 120
    with pytest.raises(MediaError, match="many times the bytes of the file"):
        probe(short)


def test_of_a_remote_mp4_the_index_is_fetched(tmp_path: Path, good: Path) -> None:
    long = write_looped(good, tmp_path / "long.mp4", 300, in_front=True)
    assert long.stat().st_size > 20_000_000
    remote = RemoteCopy(long)
    facts = container.probe(remote.path, Limits())
    assert (facts["timing"], facts["num_frames"]) == ("index", 36_000)
    assert remote.num_bytes < 0.2 * long.stat().st_size
