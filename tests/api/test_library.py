"""An output as Python objects, without Spark: literal rows in every form, pages of clips, searches and videos."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

import reelmill
from jobs.api import pages
from jobs.config.errors import UsageError
from jobs.queries import statement
from reelmill import ClipStats, Library
from tests.support import s3, small_output
from tests.support.nemo_documents import DATA_MODEL

WEBP = b"RIFF\0\0\0\0WEBP"
WITHOUT_SPARK = """
import sys, reelmill
library = reelmill.open(sys.argv[1])
library.table("curated").polars(), library.clips()._repr_html_(), library.why("c1"), [*library.videos()]
loaded = {"pyspark", "py4j", "delta", "pandas", "cv2", "av", "torch"} & set(sys.modules)
assert not loaded, loaded
"""


# Asks as a worker of a data loader does, after its parent has read tables.
WORKERS = """
import multiprocessing, reelmill
from concurrent.futures import ProcessPoolExecutor
from tests.support.clip_counts import num_kept

if __name__ == "__main__":
    print(num_kept({output!r}), flush=True)
    with ProcessPoolExecutor(1, multiprocessing.get_context({method!r})) as pool:
        print(pool.submit(num_kept, {output!r}).result())
"""


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output of literal rows."""
    return small_output.write(tmp_path_factory.mktemp("output"))


@pytest.fixture(scope="module")
def library(output: Path) -> Library:
    """The output, opened."""
    return reelmill.open(output)


def test_its_tables_are_those_of_sql(library: Library) -> None:
    assert library.tables == sorted(statement.columns_of())


def test_all_forms_have_the_same_rows(library: Library) -> None:
    relation = library.sql("SELECT clip_id, start_s, reasons FROM verdicts WHERE NOT kept ORDER BY start_s")
    rows = [
        {"clip_id": "c2", "start_s": 4.5, "reasons": ["motion", "blur"]},
        {"clip_id": "c4", "start_s": 6.25, "reasons": ["duplicate"]},
    ]
    assert [*relation] == rows
    assert relation.arrow().to_pylist() == rows
    assert relation.polars().to_dicts() == rows
    assert relation.duckdb().to_arrow_table().to_pylist() == rows
    assert relation.pandas()[["clip_id", "start_s"]].to_dict("records") == [
        {"clip_id": row["clip_id"], "start_s": row["start_s"]} for row in rows
    ]
    assert relation.columns == ["clip_id", "start_s", "reasons"]


def test_names_and_types_are_those_of_spark(library: Library) -> None:
    asked = library.sql("SELECT count(*), sum(length(clip_id)) FROM verdicts").arrow()
    assert asked.schema == pa.schema([("count(*)", pa.int64()), ("sum(length(clip_id))", pa.int64())])
    assert library.table("videos").pandas()["attributes"].dropna().tolist() == [{"license": "cc-by", "who": None}]


def test_a_relation_of_duckdb_can_be_asked_on(library: Library) -> None:
    assert library.table("verdicts").duckdb().filter("kept").aggregate("count(*)").fetchall() == [(2,)]


def test_a_table_that_a_stage_wrote_after_the_output_was_opened_is_there(output: Path, tmp_path: Path) -> None:
    shutil.copytree(output, tmp_path / "output")
    opened = reelmill.open(tmp_path / "output")
    assert "loudness" not in opened.tables
    row = {"clip_id": ["c1"], "loudness": [0.5], "fingerprint": ["f"], "run_id": ["2"]}
    write_deltalake(tmp_path / "output/tables/loudness", pa.table(row))
    assert opened.sql("SELECT loudness FROM loudness").arrow().to_pylist() == [{"loudness": 0.5}]


def test_a_relation_shows_its_first_rows(library: Library) -> None:
    assert repr(library.sql("SELECT 1 AS one, NULL AS none")) == "one none\n  1 NULL"
    many = library.sql("SELECT explode(sequence(1, 30)) AS n")
    assert repr(many).endswith("\n20\n(the first 20 rows)")
    assert (
        library.sql("SELECT '<b>' AS x")._repr_html_()
        == "<table><tr><th>x</th></tr><tr><td>&lt;b&gt;</td></tr></table>"
    )


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        (lambda library: library.table("curate"), "no table or view curate; did you mean curated?"),
        (lambda library: library.sql("SELECT 1 FROM clip"), "sql: no table or view clip; did you mean clips?"),
        (lambda library: library.sql("SELECT motio FROM signals").arrow(), "sql: no column motio"),
        (lambda library: library.sql("DROP TABLE clips"), "sql: only queries are answered"),
        (lambda library: library.sql("SHOW TABLES"), "sql: only queries are answered here: SELECT, WITH and VALUES"),
        (lambda library: library.clips("1) SELECT (2"), "sql: "),
        (lambda library: library.sql("SELECT xxhash64(1)").arrow(), "the function xxhash64; ask for .spark()"),
        (lambda library: library.search("a car"), "the vectors here are of tiny"),
        (lambda library: library.search(clip="c2"), "clip c2: has no vector here"),
        (lambda library: library.search(), "search: give --text or --clip, one of both"),
        (lambda library: library.search(clip="c1", top=0), "search: top is 0, and must be 1 or more"),
        (lambda library: library.clips(limit=-1), "clips: limit is -1, and must be 0 or more"),
        (lambda library: [*library.sql("SELECT 1 AS a, 2 AS a")], "sql: several columns are called a: give them names"),
        (lambda library: library.sql("SELECT 1 AS a, 2 AS a").polars(), "sql: several columns are called a"),
        (lambda library: reelmill.open("/nowhere"), "--output /nowhere: no tables here"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_one_line(library: Library, ask: object, line: str) -> None:
    with pytest.raises(UsageError, match=re.escape(line)) as caught:
        ask(library)  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_clips_are_chosen_by_a_condition(library: Library) -> None:
    assert [clip["clip_id"] for clip in library.clips("kept AND motion_score_global_mean < 1 -- low")] == ["c1"]
    assert [clip["clip_id"] for clip in library.clips(limit=3)] == ["c3", "c4", "c1"]
    assert len([*library.clips("")]) == len([*library.clips()]) == 4


def test_a_notebook_shows_clips_with_their_previews(output: Path, tmp_path: Path) -> None:
    small = Path(shutil.copytree(output, tmp_path / "small"))
    preview, wrong = tmp_path / "c1.webp", "<img src=x onerror='alert(1)'>"
    preview.write_bytes(WEBP)
    shutil.rmtree(small / "tables/signals")
    shutil.rmtree(small / "tables/verdicts")
    signals = [{"clip_id": "c1", "previews": [{**small_output.PREVIEW, "uri": str(preview)}]}]
    verdicts = [{**row, "caption": wrong, "video_uri": f"/v/{wrong}"} for row in small_output.VERDICTS]
    small_output.fill(small, "signals", signals, "analyze")
    small_output.fill(small, "verdicts", verdicts, "filter")
    page = reelmill.open(small).clips()._repr_html_()
    assert page.count('<img style="') == page.count("<img ") == 1
    assert 'src="data:image/webp;base64,UklGRgAAAABXRUJQ"' in page
    assert page.count("no preview") == 3
    assert page.count("&lt;img src=x onerror=&#x27;alert(1)&#x27;&gt;") == 8
    assert "dropped: motion, blur" in page


def test_a_file_that_is_no_preview_gets_into_no_page(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"key")
    row = {"clip_id": "c", "preview": str(tmp_path / "secret")}
    page = pages.clips([row], [], lambda uri: Path(uri).read_bytes())
    assert f">{tmp_path}/secret</div>" in page
    assert "<img" not in page


def test_a_preview_that_is_gone_is_said_in_its_place(library: Library) -> None:
    assert "No such file or directory" in library.clips("clip_id = 'c1'")._repr_html_()


def test_more_like_a_clip_are_found_without_spark(library: Library) -> None:
    found = library.search(clip="c1", top=5)
    [row] = found
    assert (row["clip_id"], row["video_uri"], row["similarity"]) == ("c3", "/v/drive.mp4", pytest.approx(0.8))
    assert "similarity 0.8" in found._repr_html_()


def test_videos_come_with_their_clips(library: Library) -> None:
    drive, park = library.videos()
    assert (drive.input_path, park.input_path, park.input_video) == ("/v/drive.mp4", "/v/park.mp4", Path("/v/park.mp4"))
    assert [(len(video.clips), len(video.filtered_clips)) for video in (drive, park)] == [(1, 1), (1, 1)]
    assert (park.metadata.duration, park.num_total_clips, park.fraction, park.weight) == (30.0, 2, 1.0, 0.1)
    assert (park.has_metadata(), park.is_10_bit_color(), park.frame_array, park.errors) == (False, None, None, {})
    [moved], [still] = park.clips, park.filtered_clips
    assert (moved.span, moved.duration, moved.motion_score_global_mean) == ((0.0, 4.5), 4.5, 0.00123456)
    assert (still.reasons, still.kept, still.aesthetic_score) == (["motion", "blur"], False, None)
    assert [(window.start_frame, window.end_frame) for window in moved.windows] == [(0, 29), (30, 59)]
    assert moved.windows[1].caption == {"m": "two\nlines | a bar"}
    assert moved.cosmos_embed1_embedding is None
    assert moved.extracted_frames == moved.egomotion == {}


def test_the_data_model_has_all_of_nemos_names(library: Library) -> None:
    video = next(video for video in library.videos() if any(clip.windows for clip in video.clips))
    clip = next(clip for clip in video.clips if clip.windows)
    objects = (video, video.metadata, clip, clip.windows[0], video.clip_stats)
    missing = {
        f"{of}.{name}"
        for (of, names), each in zip(DATA_MODEL.items(), objects, strict=True)
        for name in names
        if name not in dir(each)
    }
    assert missing == set()


def test_videos_are_chosen_by_a_condition(library: Library) -> None:
    assert [video.input_path for video in library.videos("duration_s > 20")] == ["/v/park.mp4"]


def test_counts_of_a_video_are_those_of_the_view(library: Library) -> None:
    counts: dict[str, ClipStats] = {video.input_path: video.clip_stats for video in library.videos()}
    view = library.sql("SELECT videos.uri, s.* FROM clip_stats AS s JOIN videos ON videos.video_id = s.video_id")
    for row in view:
        uri, expected = row.pop("uri"), {k: v for k, v in row.items() if k not in ("video_id", "run_id")}
        assert vars(counts[uri]) == pytest.approx(expected)


def test_counts_are_combined() -> None:
    stats = ClipStats(num_passed=1, total_clip_duration=2.0, max_clip_duration=2.0)
    stats.combine(ClipStats(num_passed=2, num_with_webp=1, total_clip_duration=5.0, max_clip_duration=4.0))
    assert stats == ClipStats(num_passed=3, num_with_webp=1, total_clip_duration=7.0, max_clip_duration=4.0)


def test_vectors_and_texts_of_nemos_models_have_its_names(output: Path, tmp_path: Path) -> None:
    small = Path(shutil.copytree(output, tmp_path / "small"))
    shutil.rmtree(small / "tables/embeddings")
    shutil.rmtree(small / "tables/clips")
    row = {"clip_id": "c1", "dim": 2, "vector": [0.6, 0.8], "text_scores": {"a dog": 0.75}, "text_match": "a dog"}
    clip = {"clip_id": "c1", "video_id": "v1", "uri": str(tmp_path / "c1.mp4"), "width": 64, "num_bytes": 4}
    small_output.fill(small, "embeddings", [{**row, "model": "nvidia/Cosmos-Embed1-224p@787e0b9"}], "embed")
    small_output.fill(small, "clips", [clip], "clip")
    (tmp_path / "c1.mp4").write_bytes(b"ftyp")
    [clip_there] = [clip for video in reelmill.open(small).videos() for clip in video.clips]
    embedding = clip_there.cosmos_embed1_embedding
    assert embedding is not None
    assert np.allclose(embedding, [[0.6, 0.8]])
    assert clip_there.cosmos_embed1_text_match == ("a dog", 0.75)
    assert clip_there.intern_video_2_embedding is None
    assert clip_there.intern_video_2_text_match is None
    assert (clip_there.extract_metadata()["width"], clip_there.extract_metadata()["num_bytes"]) == (64, 4)
    assert (clip_there.get_major_size(), clip_there.buffer, clip_there.get_major_size()) == (0, b"ftyp", 4)


def test_an_output_on_s3_is_read_with_its_files(output: Path, s3_server: s3.Server, tmp_path: Path) -> None:
    small = Path(shutil.copytree(output, tmp_path / "small"))
    shutil.rmtree(small / "tables/signals")
    uri = "s3://library/out/media/c1.webp"
    signals = [{"clip_id": "c1", "previews": [{**small_output.PREVIEW, "uri": uri}]}]
    small_output.fill(small, "signals", signals, "analyze")
    (small / "media").mkdir()
    (small / "media/c1.webp").write_bytes(WEBP)
    for path in small.rglob("*"):
        if path.is_file():
            s3_server.put(f"s3://library/out/{path.relative_to(small)}", path)
    settings = {"sources.s3_endpoint": s3_server.url, "sources.s3_region": "us-east-1"}
    library = reelmill.open("s3://library/out", settings=settings)
    assert 'src="data:image/webp;base64,UklGRgAAAABXRUJQ"' in library.clips("clip_id = 'c1'")._repr_html_()
    [clip] = [clip for video in library.videos() for clip in video.clips if clip.windows]
    assert clip.windows[0].webp_bytes == WEBP
    assert library.table("verdicts").duckdb().filter("kept").aggregate("count(*)").fetchall() == [(2,)]


def test_an_output_is_read_without_spark_and_what_it_needs(output: Path) -> None:
    asked = [sys.executable, "-c", WITHOUT_SPARK, str(output)]
    path = {"PATH": "/usr/bin:/bin", "JAVA_HOME": "/nowhere", "PYTHONPATH": ":".join(["", *sys.path])}
    done = subprocess.run(asked, env=path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_workers_of_a_data_loader_read_or_say_how_to_start_them(output: Path, method: str) -> None:
    code = WORKERS.format(output=str(output), method=method)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split("\n")[0] == "2"
    said = done.stdout.split("\n")[1]
    assert said == "2" if method == "forkserver" else 'start workers by "spawn" or "forkserver"' in said
