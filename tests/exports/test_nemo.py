"""NeMo exports: paths, JSON fields, ids and files are those of NeMo Curator's ClipWriterStage."""

from __future__ import annotations

import json
import pickletools
import re
import uuid
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from tests.support.export_rows import batches, clip, index, part
from udfs.exports import nemo
from udfs.runtime.context import Row

SOURCE = "/videos/a/b.mp4"
# Every path and field of NeMo Curator; <uuid> identifies a span, <file> a video and chunk.
PATHS = {
    "clips/<uuid>.mp4",
    "filtered_clips/<uuid>.mp4",
    "previews/<uuid>/<start>_<end>.webp",
    "metas/v0/<uuid>.json",
    "ce1_embd/<uuid>.pickle",
    "ce1_embd_parquet/<file>.parquet",
    "iv2_embd/<uuid>.pickle",
    "iv2_embd_parquet/<file>.parquet",
    "processed_videos/b.mp4.json",
    "processed_clip_chunks/b.mp4_0.json",
}
META = [
    *(
        "span_uuid",
        "source_video",
        "duration_span",
        "width_source",
        "height_source",
        "framerate_source",
        "clip_location",
    ),
    *("width", "height", "framerate", "num_frames", "video_codec", "num_bytes"),
    *("motion_score", "aesthetic_score", "errors", "windows", "valid"),
]
WINDOW = ["start_frame", "end_frame", "qwen2.5_caption", "qwen_lm_enhanced_caption"]
VIDEO = [
    *("video", "height", "width", "framerate", "num_frames", "duration", "video_codec", "pixel_format", "audio_format"),
    *("num_total_clips", "num_clip_chunks"),
]
CHUNK = [
    *(
        "video",
        "clip_chunk_index",
        "num_clips_filtered_by_motion",
        "num_clips_filtered_by_aesthetic",
        "num_clips_passed",
    ),
    *("num_clips_transcoded", "num_clips_with_embeddings", "num_clips_with_caption", "num_clips_with_webp"),
    *(
        "total_clip_duration",
        "max_clip_duration",
        "clips",
        "filtered_clips",
        "all_windows",
        "all_windows_enhanced_caption",
    ),
]
COSMOS, INTERNVIDEO = (
    "cosmos-embed1-224p",
    "OpenGVLab/InternVideo2-Stage2_1B-224p-f4@4362e1f88a992e7edbfd7696f7f78b7f79426dfd",
)
QWEN, LM = "Qwen/Qwen2.5-VL-7B-Instruct@cc594898137f460bfe9f0759e9844b3ce807cfb5", "Qwen/Qwen2.5-14B-Instruct@cf98f3b"


def row(folder: Path, clip_id: str, start_s: float, kept: bool = True, **other: Any) -> Row:
    """A clip of 4 s at 30000/1001 fps, with a preview, two vectors and a caption."""
    preview = folder / f"{clip_id}.webp"
    preview.write_bytes(b"webp of " + clip_id.encode())
    caption = {
        "start_frame": 0,
        "end_frame": 119,
        "model": QWEN,
        "prompt": "default",
        "caption": "a car",
        "stage2_caption": None,
    }
    video = {"height": 360, "width": 640, "framerate": 30000 / 1001, "num_frames": 900, "duration": 30.03}
    return clip(folder, clip_id) | {
        "source_video": SOURCE,
        "span": [start_s, start_s + 4],
        "start_frame": 1000,
        "end_frame": 1120,
        "method": "fixed_stride",
        "video": video | {"video_codec": "h264", "pixel_format": "yuv420p", "audio_format": "aac"},
        "encoded": {
            "width": 640,
            "height": 360,
            "framerate": 29.97,
            "num_frames": 120,
            "video_codec": "h264",
            "num_bytes": 5,
        },
        "motion_score": {"global_mean": 0.5, "per_patch_min_256": 0.25},
        "aesthetic_score": 4.5,
        "errors": ["caption"],
        "previews": [{"start_frame": 0, "end_frame": 119, "uri": str(preview)}],
        "embeddings": [{"model": COSMOS, "vector": [1.0, 0.0]}, {"model": INTERNVIDEO, "vector": [0.0, 1.0]}],
        "captions": [caption | {"enhanced_model": LM, "enhanced_caption": "a red car"}],
        "kept": kept,
        "reasons": [] if kept else ["motion_global_mean"],
        **other,
    }


def write(to: Path, rows: list[Row], paths: nemo.Paths = "absolute", **params: Any) -> dict[str, Path]:
    """The files that are written, by their paths below the folder; the videos lie in /videos/a."""
    told = TypeAdapter(nemo.Params).validate_python({"input_path": "/videos/a", **params})
    made = part(to)
    nemo.write(made, batches(rows), told, paths)
    made.close()
    found = [path for path in to.rglob("*") if path.is_file() and path.parent.name != "index"]
    return {str(path.relative_to(to)): path for path in found}


def pattern(path: str) -> str:
    """A path with ids and frame numbers replaced by placeholders."""
    named = re.sub(r"/[0-9a-f-]{36}\.parquet", "/<file>.parquet", path)
    return re.sub(r"/\d+_\d+\.webp", "/<start>_<end>.webp", re.sub(r"[0-9a-f-]{36}", "<uuid>", named))


def meta(files: dict[str, Path], clip_id: str, to: Path) -> dict[str, Any]:
    name = next(row["name"] for row in index(to) if row["clip_id"] == clip_id)
    return dict(json.loads(files[f"metas/v0/{name}.json"].read_text()))


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    """Two clips of a video that are kept, and one that is not."""
    return [row(tmp_path, "one", 0), row(tmp_path, "two", 4), row(tmp_path, "three", 8, kept=False)]


def test_an_export_has_the_paths_of_clip_writer_stage_and_no_others(tmp_path: Path, rows: list[Row]) -> None:
    assert {pattern(path) for path in write(tmp_path / "to", rows)} == PATHS


def test_json_files_have_the_fields_of_clip_writer_stage_in_order(tmp_path: Path, rows: list[Row]) -> None:
    files = write(tmp_path / "to", rows)
    facts_by_path = {path: json.loads(file.read_text()) for path, file in files.items() if path.endswith(".json")}
    assert [list(facts) for path, facts in facts_by_path.items() if path.startswith("metas/")] == [META] * 3
    assert list(facts_by_path["processed_videos/b.mp4.json"]) == VIDEO
    assert list(facts_by_path["processed_clip_chunks/b.mp4_0.json"]) == CHUNK
    assert list(meta(files, "one", tmp_path / "to")["windows"][0]) == WINDOW


def test_the_fields_of_a_clip_have_its_facts(tmp_path: Path, rows: list[Row]) -> None:
    to = tmp_path / "to"
    fields = meta(write(to, rows), "two", to)
    frames = "119_239"  # int(4 x 29.97), int(8 x 29.97)
    assert fields["span_uuid"] == str(uuid.uuid5(uuid.NAMESPACE_URL, f"{SOURCE}_{frames}"))
    assert (fields["source_video"], fields["duration_span"]) == (SOURCE, [4, 8])
    assert fields["clip_location"] == f"{to}/clips/{fields['span_uuid']}.mp4"
    assert Path(fields["clip_location"]).read_bytes() == b"two" * 100
    assert fields["motion_score"] == {"global_mean": 0.5, "per_patch_min_256": 0.25}
    window = {"start_frame": 0, "end_frame": 119, "qwen2.5_caption": "a car", "qwen_lm_enhanced_caption": "a red car"}
    assert (fields["windows"], fields["valid"], fields["errors"]) == ([window], True, ["caption"])


@pytest.mark.parametrize(("paths", "video"), [("relative", "b.mp4"), ("none", None)])
def test_by_default_no_document_tells_where_the_files_lie(
    tmp_path: Path, rows: list[Row], paths: nemo.Paths, video: str | None
) -> None:
    to = tmp_path / "to"
    written = write(to, rows, paths)
    found = meta(written, "two", to)
    assert found["source_video"] == video
    assert found["clip_location"] == (f"clips/{found['span_uuid']}.mp4" if video else None)
    assert found["span_uuid"] == str(uuid.uuid5(uuid.NAMESPACE_URL, f"{SOURCE}_119_239"))
    documents = [path.read_text() for name, path in written.items() if name.endswith(".json")]
    assert not any("/videos/a" in text or str(tmp_path) in text for text in documents)


def test_a_span_of_transnetv2_is_named_by_its_frames(tmp_path: Path) -> None:
    named = nemo.span_uuid(row(tmp_path, "one", 0, method="transnetv2"))
    assert named == str(uuid.uuid5(uuid.NAMESPACE_URL, f"{SOURCE}_1000_1120"))


def test_a_video_on_s3_is_named_by_bucket_and_key(tmp_path: Path) -> None:
    named = nemo.span_uuid(row(tmp_path, "one", 0, source_video="s3://bucket/a/b.mp4"))
    assert named == str(uuid.uuid5(uuid.NAMESPACE_URL, "bucket/a/b.mp4_0_119"))


def test_a_rejected_clip_is_in_filtered_clips_without_windows(tmp_path: Path, rows: list[Row]) -> None:
    to = tmp_path / "to"
    fields = meta(write(to, rows), "three", to)
    assert fields["clip_location"].startswith(f"{to}/filtered_clips/")
    assert (fields["windows"], fields["valid"]) == ([], False)


def test_unknown_facts_have_no_field(tmp_path: Path) -> None:
    unknown: dict[str, Any] = {
        "motion_score": {"global_mean": None, "per_patch_min_256": None},
        "aesthetic_score": None,
        "errors": None,
    }
    rows = [row(tmp_path, "one", 0, **unknown, captions=None)]
    fields = meta(write(tmp_path / "to", rows), "one", tmp_path / "to")
    assert not {"motion_score", "aesthetic_score", "errors"} & fields.keys()
    assert fields["windows"] == [{"start_frame": 0, "end_frame": 119}]


def test_a_chunk_counts_its_clips(tmp_path: Path, rows: list[Row]) -> None:
    fields = json.loads(write(tmp_path / "to", rows)["processed_clip_chunks/b.mp4_0.json"].read_text())
    numbers = {name: value for name, value in fields.items() if name.startswith("num_")}
    assert numbers == {
        "num_clips_filtered_by_motion": 1,
        "num_clips_filtered_by_aesthetic": 0,
        "num_clips_passed": 2,
        "num_clips_transcoded": 3,
        "num_clips_with_embeddings": 2,
        "num_clips_with_caption": 2,
        "num_clips_with_webp": 2,
    }
    assert (fields["total_clip_duration"], fields["max_clip_duration"]) == (12, 4)
    assert [len(fields["clips"]), len(fields["filtered_clips"])] == [2, 1]
    assert fields["all_windows"] == {name: {"0_119": "a car"} for name in fields["clips"]}
    assert fields["all_windows_enhanced_caption"] == {name: {"0_119": "a red car"} for name in fields["clips"]}


def test_a_video_is_cut_into_chunks_by_whole_seconds_of_clips(tmp_path: Path) -> None:
    rows = [row(tmp_path, f"clip{i}", 4 * i) for i in range(5)]
    files = write(tmp_path / "to", rows, num_clips_per_chunk=1)  # 8 s
    sizes = [len(json.loads(files[f"processed_clip_chunks/b.mp4_{i}.json"].read_text())["clips"]) for i in range(3)]
    assert sizes == [2, 2, 1]
    video = json.loads(files["processed_videos/b.mp4.json"].read_text())
    assert (video["num_total_clips"], video["num_clip_chunks"]) == (5, 3)
    for i in range(3):
        assert f"ce1_embd_parquet/{uuid.uuid5(uuid.NAMESPACE_URL, f'{SOURCE}_{i}')}.parquet" in files


def test_vectors_lie_in_parquet_and_in_pickles_of_arrays_and_nothing_else(tmp_path: Path, rows: list[Row]) -> None:
    files = write(tmp_path / "to", rows)
    [path] = (path for name, path in files.items() if name.startswith("iv2_embd_parquet/"))
    vectors = pq.read_table(path)
    assert [str(field.type) for field in vectors.schema] == ["string", "list<element: double>"]
    assert vectors.column_names == ["id", "embedding"]
    assert vectors["embedding"].to_pylist() == [[0.0, 1.0]] * 2
    pickled = files[f"iv2_embd/{vectors['id'][0]}.pickle"].read_bytes()
    names = {arg for op, arg, _ in pickletools.genops(pickled) if op.name == "SHORT_BINUNICODE"}  # read, not run
    assert names <= {
        "numpy._core.multiarray",
        "numpy",
        "_reconstruct",
        "ndarray",
        "dtype",
        "f4",
        "<",
        "latin1",
        "_codecs",
        "encode",
    }


@pytest.mark.parametrize(
    ("params", "missing"),
    [
        ({"upload_clips": False}, {"clips/<uuid>.mp4", "filtered_clips/<uuid>.mp4"}),
        ({"generate_previews": False}, {"previews/<uuid>/<start>_<end>.webp"}),
        ({"embedding_algorithm": "internvideo2"}, {"ce1_embd/<uuid>.pickle", "ce1_embd_parquet/<file>.parquet"}),
        ({"generate_captions": False}, set()),
    ],
)
def test_a_setting_leaves_out_its_files(
    tmp_path: Path, rows: list[Row], params: dict[str, Any], missing: set[str]
) -> None:
    assert PATHS - {pattern(path) for path in write(tmp_path / "to", rows, **params)} == missing


def test_only_captions_of_the_named_models_are_exported(tmp_path: Path, rows: list[Row]) -> None:
    fields = meta(write(tmp_path / "to", rows, caption_models=["qwen3"]), "one", tmp_path / "to")
    assert fields["windows"] == [{"start_frame": 0, "end_frame": 119, "qwen_lm_enhanced_caption": "a red car"}]


@pytest.mark.parametrize(
    "names",
    [
        {"caption_models": ["qwen"], "enhanced_caption_models": ["qwen2.5"]},
        {"caption_models": ["Qwen/Qwen2.5-VL-7B-Instruct"], "enhanced_caption_models": ["qwen-lm"]},
    ],
)
def test_names_of_nemo_curator_choose_captions(tmp_path: Path, rows: list[Row], names: dict[str, Any]) -> None:
    files = write(tmp_path / "to", rows, **names)
    assert [*meta(files, "one", tmp_path / "to")["windows"][0]] == WINDOW
    chunk = json.loads(files["processed_clip_chunks/b.mp4_0.json"].read_text())
    texts = [chunk[name].values() for name in ("all_windows", "all_windows_enhanced_caption")]
    assert [list(windows) for windows in texts] == [[{"0_119": "a car"}] * 2, [{"0_119": "a red car"}] * 2]


def test_a_name_of_an_embedding_model_may_be_the_start_of_several() -> None:
    assert nemo.is_vector_of("cosmos-embed1-336p", "cosmos-embed1")
    assert nemo.is_vector_of(INTERNVIDEO, "InternVideo2")
    assert not nemo.is_vector_of(INTERNVIDEO, "cosmos-embed1")


def test_the_index_leads_from_every_file_back_to_clip_and_video(tmp_path: Path, rows: list[Row]) -> None:
    to = tmp_path / "to"
    files = write(to, rows)
    assert {entry["path"] for entry in index(to)} == set(files)
    assert {entry["video_id"] for entry in index(to)} == {"v1"}
    files_of_one = [entry for entry in index(to) if entry["clip_id"] == "one" and not entry["shared"]]
    assert {Path(entry["path"]).parts[0] for entry in files_of_one} == {
        "clips",
        "previews",
        "metas",
        "ce1_embd",
        "iv2_embd",
    }
    assert all(entry["name"] in entry["path"] for entry in files_of_one)


def test_a_clip_whose_file_changed_is_a_failure_and_not_in_the_export(tmp_path: Path, rows: list[Row]) -> None:
    (tmp_path / "one.mp4").write_bytes(b"other")
    made = part(tmp_path / "to")
    nemo.write(made, batches(rows), nemo.Params(input_path="/videos"), "relative")
    assert [(key, error.code) for key, error in made.failed] == [("one", "CHANGED")]
    told = json.loads((tmp_path / "to/processed_videos/a/b.mp4.json").read_text())
    assert told["num_total_clips"] == 2


@pytest.mark.parametrize("source", ["/videos/a/../../../etc/x.mp4", "/elsewhere/b.mp4"])
def test_a_video_outside_the_folder_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(ValueError, match=r"outside the export|not below"):
        write(tmp_path / "to", [row(tmp_path, "one", 0, source_video=source)])
