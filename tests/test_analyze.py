"""analyze: one decode gives every column, and an error in one measurement is a warning."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from av.codec.hwaccel import HWAccel

from schemas.signals import TABLE
from tests.support import clips
from tests.support.footage import numbers, write_numbered
from udfs import analyze
from udfs.analyze import Params, Settings
from udfs.core.errors import MediaError, OutputError
from udfs.core.limits import Limits
from udfs.demux.demuxer import Video
from udfs.runtime.context import COST, FAILURE, GPU_COST, Row
from udfs.signals import motion, preview
from udfs.video import container

NONE = Params(motion=False, quality=False, phash=False, proxy=False, preview=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_numbered(tmp_path / "clip.mp4", 60)


def measured(path: Path, settings: Settings | None = None, **facts: object) -> Row:
    (signals,) = analyze.measure_clip(clips.row(path) | facts, settings or Settings(), clips.env(path.parent))
    return signals


def files(path: Path) -> dict[str, bytes]:
    """What lies in the media store of a clip's folder, by name."""
    return {str(file): file.read_bytes() for file in (path.parent / "media").rglob("*") if file.is_file()}


def test_a_row_has_the_columns_of_the_table(path: Path) -> None:
    assert list(measured(path)) == [
        name for name in TABLE.schema.names if name not in ("cpu_s", "fingerprint", "run_id")
    ]


def test_every_observer_fills_its_columns(path: Path) -> None:
    signals = measured(path)
    assert signals["motion_source"] == "vectors"
    assert signals["blackness"] == 0.0
    assert len(signals["phash"]) == 4
    assert numbers(signals["proxy_uri"]) == [0, 8, 15, 23, 30, 38, 45, 53]
    assert signals["proxy_num_frames"] == 8
    assert [entry["end_frame"] for entry in signals["previews"]] == [59]
    assert signals["warnings"] == []


def test_the_clip_is_opened_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, open_video = [], container.open_video

    @contextmanager
    def counted(name: str, limits: Limits, accel: HWAccel | None) -> Iterator[Video]:
        opened.append(name)
        with open_video(name, limits, accel) as video:
            yield video

    row = clips.row(path)
    monkeypatch.setattr(container, "open_video", counted)
    analyze.measure_clip(row, Settings(), clips.env(path.parent))
    assert opened == [str(path)]


def test_what_is_off_stays_null(path: Path) -> None:
    signals = measured(path, Settings(analyze=NONE))
    known = {name: value for name, value in signals.items() if value is not None}
    assert known == {"clip_id": "c1ip", "motion_source": "off", "warnings": []}
    assert files(path) == {}


def test_the_same_clip_gives_the_same_row_and_files(path: Path) -> None:
    first = measured(path), files(path)
    assert len(first[1]) == 2
    assert (measured(path), files(path)) == first


def test_threads_change_nothing(tmp_path: Path) -> None:
    path = clips.write(tmp_path / "pan.mp4", clips.panned((320, 264), 120, 2))
    settings = Settings(analyze=dataclasses.replace(NONE, motion=True), motion=motion.Params(fps=30))
    env = dataclasses.replace(clips.env(tmp_path), limits=Limits(decode_threads=4))
    for _ in range(3):  # frame threads lose vectors by chance
        assert analyze.measure_clip(clips.row(path), settings, env) == [measured(path, settings)]


def test_an_observer_s_fault_is_a_warning(tmp_path: Path) -> None:
    wide = clips.write(tmp_path / "wide.mp4", [clips.plain((16400, 64), 90)] * 4, codec="mjpeg", pix_fmt="yuvj420p")
    signals = measured(wide)
    assert signals["previews"] is None
    assert signals["motion_source"] == "frames"
    assert signals["letterbox"] == [0, 0, 16400, 64]
    assert len(signals["warnings"]) == 1
    assert signals["warnings"][0].startswith("preview: UNSUPPORTED")


def test_a_fault_at_the_end_is_a_warning_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: preview.Observer) -> Row:
        raise MediaError("UNSUPPORTED", "no")

    monkeypatch.setattr(preview.Observer, "result", refuse)
    signals = measured(path)
    assert (signals["previews"], signals["warnings"]) == (None, ["preview: UNSUPPORTED: no"])
    assert signals["motion_source"] == "vectors"


def test_a_disk_that_cannot_be_written_is_loud(path: Path) -> None:
    (path.parent / "media").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="media"):
        measured(path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_clip_fails_and_leaves_no_file(tmp_path: Path, share: float) -> None:
    whole = write_numbered(tmp_path / "whole.mp4", 60, options={"movflags": "frag_keyframe+empty_moov"}, gop=5)
    short = tmp_path / "short.mp4"
    short.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    with pytest.raises(MediaError, match=r"PARTIAL|CORRUPT"):
        measured(short, num_frames=60)
    assert files(short) == {}


def test_a_damaged_clip_fails(path: Path) -> None:
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 800
    content[start : start + 6000] = bytes(6000)
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"CORRUPT|PARTIAL"):
        measured(path)


def test_frames_that_change_their_size_are_refused(tmp_path: Path) -> None:
    parts = [write_numbered(tmp_path / f"{size[0]}.ts", 20, size=size, gop=20) for size in ((320, 240), (160, 120))]
    both = tmp_path / "both.ts"
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(MediaError, match="UNSUPPORTED: the frame size changes from 320x240 to 160x120"):
        measured(both)


def test_a_clip_that_is_gone_is_not_found(path: Path) -> None:
    row = clips.row(path)
    path.unlink()
    with pytest.raises(MediaError, match="NOT_FOUND"):
        analyze.measure_clip(row, Settings(), clips.env(path.parent))


def test_rows_give_one_row_a_clip_and_a_failure_for_a_bad_one(path: Path) -> None:
    bad = path.parent / "bad.mp4"
    bad.write_bytes(path.read_bytes()[:3000])
    batch = pd.DataFrame([clips.row(path), clips.row(path) | {"clip_id": "bad", "uri": str(bad)}])
    (out,) = analyze.rows([batch], Settings(), clips.env(path.parent))
    assert list(out.columns) == [*analyze.COLUMNS, "fingerprint", *FAILURE, COST, GPU_COST]
    assert out["clip_id"].tolist() == ["c1ip", None]
    assert out["failed_key"].tolist() == [None, "bad"]
    assert out["failed_code"].tolist()[1] == "CORRUPT"


def test_settings_travel_to_a_worker() -> None:
    settings = Settings(analyze=NONE, preview=preview.Params(quality=7))
    assert pickle.loads(pickle.dumps(settings)) == settings
