"""The pieces of a video hold each of its frames once, whatever the file."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import broken_files, clips
from tests.support.footage import draw, read_number, write_numbered
from tests.support.sandbox_probe import call_here
from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.runtime import sandbox
from udfs.shots import transnet_frames
from udfs.shots.transnet_frames import Piece
from udfs.video import container, decode

LIMITS = Limits()
SMALL = (192, 108)
OPEN_GOP = {"x264-params": "open-gop=1:bframes=3:b-adapt=0:keyint=12:min-keyint=12:scenecut=0"}
UNEVEN = [k / 30 + 0.011 * (k % 3) for k in range(40)] + [2 + k / 7 for k in range(20)]


def call_in_sandbox(function: Callable[..., Any], *args: Any) -> Any:
    return sandbox.call(function, *args, timeout_s=60, memory_mb=1024)


def concatenated(pieces: list[Piece]) -> Piece:
    return np.concatenate([times for times, _ in pieces]), np.concatenate([pictures for _, pictures in pieces])


@pytest.fixture(
    params=["cfr", "b-frames", "vfr", "open gop", "one key frame", "mkv", "ts", "avi", "times that jump back"]
)
def video(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """60 numbered frames."""
    name = str(request.param)
    suffix = f".{name}" if name in ("mkv", "ts", "avi") else ".mp4"
    if name == "times that jump back":
        parts = [write_numbered(tmp_path / f"{k}.ts", 30, 30, SMALL, first=30 * k) for k in range(2)]
        return broken_files.join_files(tmp_path / "v.ts", *parts)
    options = {"bf": "0"} if name == "cfr" else OPEN_GOP if name == "open gop" else {"bf": "3", "b_strategy": "0"}
    rate, gop = Fraction(30_000, 1001), 250 if name == "one key frame" else 12
    return write_numbered(
        tmp_path / f"v{suffix}", 60, rate, SMALL, gop=gop, options=options, times_s=UNEVEN if name == "vfr" else None
    )


@pytest.mark.parametrize("piece_frames", [7, 12, 59])
def test_pieces_hold_every_frame_once_at_the_times_of_one_pass(video: Path, piece_frames: int) -> None:
    times, pictures = concatenated(
        list(transnet_frames.pieces(str(video), LIMITS, call_here, piece_frames=piece_frames))
    )
    with container.open_video(str(video), LIMITS) as whole:
        assert times.tolist() == [at_s for at_s, _ in decode.frames(whole)]
    assert [read_number(picture) for picture in pictures] == list(range(60))


def test_a_process_that_has_not_decoded_the_piece_before_decodes_up_to_it(video: Path) -> None:
    pieces = list(transnet_frames.pieces(str(video), LIMITS, call_here, piece_frames=7))
    times, pictures = transnet_frames.decode_piece(str(video), 5, 7, LIMITS)
    assert np.array_equal(times, pieces[5][0])
    assert np.array_equal(pictures, pieces[5][1])


def test_the_file_is_opened_once(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "v.mp4", 60, size=SMALL)
    pieces = transnet_frames.pieces(str(path), LIMITS, call_in_sandbox, piece_frames=20)
    first = next(pieces)
    path.unlink()  # the process that has it open can still read it
    assert [read_number(picture) for picture in concatenated([first, *pieces])[1]] == list(range(60))


def test_a_second_pass_begins_at_the_first_piece(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "v.mp4", 40, size=SMALL)
    first_pass = transnet_frames.pieces(str(path), LIMITS, call_here, piece_frames=10)
    next(first_pass), next(first_pass)
    assert len(list(transnet_frames.pieces(str(path), LIMITS, call_here, piece_frames=10))) == 4


@pytest.mark.parametrize(("num_frames", "lengths"), [(20, [10, 10]), (25, [10, 10, 5]), (1, [1])])
def test_the_last_piece_may_be_shorter_but_not_empty(tmp_path: Path, num_frames: int, lengths: list[int]) -> None:
    path = write_numbered(tmp_path / "v.mp4", num_frames, size=SMALL)
    assert [len(times) for times, _ in transnet_frames.pieces(str(path), LIMITS, call_here, piece_frames=10)] == lengths


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_pictures_are_upright(tmp_path: Path, rotation: int) -> None:
    path = write_numbered(tmp_path / "v.mp4", 3, size=SMALL, rotation=rotation)
    ((_, pictures),) = transnet_frames.pieces(str(path), LIMITS, call_here)
    assert pictures.shape == (3, 27, 48, 3)
    assert [read_number(picture) for picture in pictures] == [0, 1, 2]


def test_the_whole_picture_is_scaled_to_48_x_27(tmp_path: Path) -> None:
    halves = np.hstack([np.full((240, 160, 3), 40, np.uint8), np.full((240, 160, 3), 210, np.uint8)])
    ((_, pictures),) = transnet_frames.pieces(str(clips.write(tmp_path / "v.mp4", [halves] * 2)), LIMITS, call_here)
    assert pictures[0, :, :22].mean() == pytest.approx(40, abs=4)
    assert pictures[0, :, 26:].mean() == pytest.approx(210, abs=4)


def test_no_frame_is_lost_where_the_size_changes(tmp_path: Path) -> None:
    parts = [write_numbered(tmp_path / f"{w}.ts", 20, 30, (w, 108), first=n) for w, n in ((192, 0), (256, 20))]
    ((_, pictures),) = transnet_frames.pieces(
        str(broken_files.join_files(tmp_path / "v.ts", *parts)), LIMITS, call_here
    )
    assert {len(picture) for picture in pictures} == {27}
    assert read_number(pictures[-1]) == 39


def test_a_video_without_a_decodable_frame_is_corrupt(tmp_path: Path) -> None:
    good = write_numbered(tmp_path / "good.mp4", 10, size=SMALL)
    start, end = broken_files.box(good.read_bytes(), b"mdat")
    damaged = broken_files.patch(good, tmp_path / "v.mp4", start + 8, bytes(end - start - 8))
    with pytest.raises(MediaError, match="CORRUPT: no frame could be decoded"):
        list(transnet_frames.pieces(str(damaged), LIMITS, call_here))


def test_the_colors_are_those_of_the_picture(tmp_path: Path) -> None:
    drawn = draw(3, SMALL)
    path = str(clips.write(tmp_path / "v.mp4", [drawn] * 2, options={"crf": "10"}))
    ((_, pictures),) = transnet_frames.pieces(path, LIMITS, call_here)
    assert pictures[0].mean(axis=(0, 1)) == pytest.approx(drawn.mean(axis=(0, 1)), abs=3)
