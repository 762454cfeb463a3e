"""Deinterlacing: interlaced frames become as many progressive ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support import odd_pictures
from tests.support.clip_units import (
    decoded_frames,
    only_clip,
    unit,
    whole_clip,
)
from tests.support.footage import numbers, read_number, rgb, write_numbered
from udfs.core.limits import Limits
from udfs.runtime.context import Env
from udfs.video import container
from udfs.video.deinterlace import Deinterlacer


def test_interlaced_footage_is_cut_by_frames(tmp_path: Path, env: Env) -> None:
    path = write_numbered(tmp_path / "a.ts", 30, options={"x264-params": "tff=1", "flags": "+ildct+ilme"})
    assert numbers(only_clip(unit(path, (5, 25)), env)["uri"]) == list(range(5, 25))


WOVEN = {"flags": "+ilme+ildct", "x264-params": "interlaced=1:tff=1"}


def test_interlaced_frames_become_as_many_progressive_ones(tmp_path: Path) -> None:
    path = odd_pictures.write(tmp_path / "a.mp4", odd_pictures.interlaced(30), options=WOVEN)
    assert container.probe(str(path), Limits())["field_order"] == "tt"
    woven, plain = (whole_clip(path, tmp_path / mode, deinterlace=mode, crf=12) for mode in ("off", "auto"))
    for made, least, most in ((woven, 3, 1e9), (plain, -1, 0.2)):
        shown = decoded_frames(made["uri"])
        assert [read_number(frame) for frame in shown] == list(range(30))
        assert [frame.time for frame in shown] == pytest.approx([k / 25 for k in range(30)])
        assert all(least < odd_pictures.comb(rgb(frame)) < most for frame in shown)


def test_frames_that_turn_interlaced_midway_lose_none() -> None:
    given = [*odd_pictures.numbered(5), *odd_pictures.interlaced(5, first=5), *odd_pictures.numbered(3, first=10)]
    line = Deinterlacer[int](enabled=True)
    out = [pair for k, frame in enumerate(given) for pair in line.push(k, frame)] + list(line.flush())
    assert [note for note, _ in out] == list(range(13))
    assert [read_number(rgb(frame)) for _, frame in out] == list(range(13))
    assert out[0][1] is given[0]  # not filtered
    assert np.array_equal(rgb(out[12][1]), rgb(given[12]))
    assert max(odd_pictures.comb(rgb(frame)) for _, frame in out[5:10]) < 0.2


@pytest.mark.parametrize("count", [1, 2])
def test_a_clip_of_one_or_two_interlaced_frames_keeps_them(count: int) -> None:
    line = Deinterlacer[int](enabled=True)
    out = [pair for k, frame in enumerate(odd_pictures.interlaced(count)) for pair in line.push(k, frame)] + list(
        line.flush()
    )
    assert [(note, read_number(rgb(frame))) for note, frame in out] == [(k, k) for k in range(count)]


def test_progressive_frames_are_not_touched() -> None:
    line = Deinterlacer[int](enabled=True)
    given = list(odd_pictures.numbered(3))
    assert [out for k, frame in enumerate(given) for _, out in line.push(k, frame)] == given
    assert line.graph is None
