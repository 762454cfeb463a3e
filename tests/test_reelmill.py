"""import reelmill: an output and its clips as a notebook has them, jobs as functions, NeMo Curator's names."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import pytest
from pyspark.sql import SparkSession

import reelmill
from jobs.api import functions
from tests.support.outputs import files, table
from tests.support.pages import blocks

_, JOBS, REMOVALS, FOLDERS = blocks(Path("docs/python.md"), "py")


def started_beside(tmp_path: Path, file: str) -> subprocess.CompletedProcess[str]:
    """What `import reelmill` gives where an empty file of another project comes first on the path."""
    other = tmp_path / file
    other.parent.mkdir(exist_ok=True)
    other.write_text("", encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), str(Path(reelmill.__file__).parent)])
    command = [sys.executable, "-c", "import reelmill"]
    return subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)


@pytest.mark.parametrize("file", ["jobs.py", "conf/__init__.py"])
def test_a_package_of_the_same_name_is_one_clear_line(file: str, tmp_path: Path) -> None:
    line = started_beside(tmp_path, file).stderr.splitlines()[-1]
    assert line.startswith("ImportError: reelmill needs its own packages beside ")
    assert f"but {tmp_path / file} is found as the package {file[:4]}: rename it" in line


def test_a_folder_of_the_same_name_that_is_no_package_gives_way(tmp_path: Path) -> None:
    done = started_beside(tmp_path, "conf/settings.py")
    assert (done.returncode, done.stderr) == (0, "")


def test_it_is_found_beside_a_clone_of_its_name(tmp_path: Path) -> None:
    """As installed, also where one stands in the folder above a clone."""
    (tmp_path / "reelmill").mkdir()
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-c", "import reelmill; print(reelmill.__file__)"]
    found = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout.strip()
    assert Path(found).name == Path(reelmill.__file__).name


def test_it_offers_its_names_and_all_jobs_and_no_other() -> None:
    assert {"open", "Library", "curate", "filter", "dedup", "takedown", "get_output_path_clips"} <= set(dir(reelmill))
    assert all(getattr(reelmill, name) for name in dir(reelmill))
    assert [*reelmill.__annotations__] == [*functions.NAMES]
    with pytest.raises(AttributeError, match="no attribute 'curat'"):
        reelmill.curat  # noqa: B018


@pytest.mark.spark
def test_spark_gives_the_rows_that_duckdb_gives(spark: SparkSession, curated: Path) -> None:
    relation = reelmill.open(curated).sql("SELECT clip_id, start_s, previews FROM curated ORDER BY clip_id")
    frame = relation.spark()
    assert frame.sparkSession is spark
    assert frame.toArrow().to_pylist() == relation.arrow().to_pylist()
    with pytest.raises(reelmill.CommandError, match="sql: "):
        reelmill.open(curated).sql("SELECT nothing FROM clips").spark()


@pytest.mark.spark
def test_clips_and_their_files_are_there(curated: Path) -> None:
    long, other = reelmill.open(curated).videos()
    assert (long.input_video.name, len(long.clips), len(other.clips)) == ("long.mp4", 2, 1)
    assert (long.has_metadata(), long.is_10_bit_color(), long.metadata.num_frames) == (True, False, 120)
    assert (long.source_bytes, long.fraction) == (long.input_video.read_bytes(), 1.0)
    clip = long.clips[0]
    with av.open(io.BytesIO(clip.buffer)) as file:
        assert file.streams.video[0].frames == clip.extract_metadata()["num_frames"] == 60
    [window] = clip.windows
    assert window.webp_bytes is not None
    assert window.webp_bytes[:4] == b"RIFF"
    assert clip.get_major_size() == len(clip.buffer) + len(window.webp_bytes)
    page = reelmill.open(curated).clips()._repr_html_()
    assert page.count('src="data:image/webp;base64,') == 3


@pytest.mark.spark
@pytest.mark.nights
def test_jobs_run_in_the_session_that_is_there(curated: Path, tmp_path: Path, capsys: Any) -> None:
    """The example of docs/python.md, where nothing is new; its filter drops all clips."""
    shutil.copytree(curated, tmp_path / "out")
    videos = Path(table(curated, "videos")[0]["uri"]).parent
    names: dict[str, Any] = {"__name__": "snippet"}
    with contextlib.chdir(tmp_path):
        exec(JOBS.replace('"videos/"', repr(str(videos))) + FOLDERS, names)
        assert names["counts"].num_out == 3
        assert "other verdicts" in capsys.readouterr().out
        library = reelmill.open("out")
        spans = {str(clip.span_uuid) for video in library.videos() for clip in video.filtered_clips}
        assert {path.stem for path in Path(names["dropped_files"]).iterdir()} == spans
        assert {path.stem for path in Path(names["meta_files"]).iterdir()} == spans
        assert not Path(names["clip_files"]).exists()
        for helper in (reelmill.get_output_path_processed_videos, reelmill.get_output_path_processed_clip_chunks):
            assert {path.name.partition(".")[0] for path in Path(helper("nemo")).iterdir()} == {"long", "other"}
    story = library.why(library.table("dropped").arrow()["clip_id"][0].as_py())
    assert story["reasons"] == ["motion_global_mean_low"]
    assert [gate["fails_if"] for gate in story["gates"] if gate["failed"]] == ["motion_score_global_mean < 1.0"]


@pytest.mark.spark
@pytest.mark.upkeep
def test_jobs_that_delete_return_what_went(curated: Path, tmp_path: Path, capsys: Any) -> None:
    """The example of docs/python.md."""
    output = Path(shutil.copytree(curated, tmp_path / "out", ignore=shutil.ignore_patterns("exports")))
    media = len(files(output))
    [video] = [row for row in table(curated, "videos") if row["uri"].endswith("/long.mp4")]
    names: dict[str, Any] = {"__name__": "snippet"}
    with contextlib.chdir(tmp_path):
        exec(REMOVALS.replace("videos/long.mp4", video["uri"]), names)
    gone = names["gone"]
    assert (gone.num_videos, gone.dry_run) == (1, False)
    steps = {step.where: step for step in gone.steps}
    assert steps["clips"].rows == 2
    assert steps["media"].files == media - len(files(output)) > 0
    assert f" {steps['media'].num_bytes}" in capsys.readouterr().out
    assert gone.num_rows == sum(step.rows or 0 for step in gone.steps)
    assert gone.num_bytes == sum(step.num_bytes or 0 for step in gone.steps)
    again = reelmill.takedown(output, video["uri"], dry_run=True)
    assert (again.num_videos, again.num_rows, again.num_files, again.dry_run) == (1, 0, 0, True)
    merged = reelmill.maintain(output, keep_days=0, force=True)
    assert merged.num_files == sum(step.files or 0 for step in merged.steps if step.what == "old versions")


@pytest.mark.parametrize("name", ["ce1_embd", "ce1_embd_parquet", "iv2_embd", "iv2_embd_parquet", "previews"])
def test_a_helper_is_named_like_its_folder(name: str) -> None:
    assert getattr(reelmill, f"get_output_path_{name}")("s3://bucket/nemo/") == f"s3://bucket/nemo/{name}"
