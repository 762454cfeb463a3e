"""Program of NeMo Curator's environment: cut clips and score their motion with its own stages.

Its transcoding stage names no libx264. Here it gets that encoder, with the settings of ours, by the
method that writes the encoder's options.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Any

import ray
from nemo_curator.backends.ray_data import RayDataExecutor
from nemo_curator.pipeline import Pipeline
from nemo_curator.stages.video.clipping.clip_extraction_stages import ClipTranscodingStage, FixedStrideExtractorStage
from nemo_curator.stages.video.filtering.motion_filter import MotionFilterStage, MotionVectorDecodeStage
from nemo_curator.stages.video.io.clip_writer import ClipWriterStage
from nemo_curator.stages.video.io.video_reader import VideoReader
from nemo_curator.tasks.video import Clip, Video, VideoTask

from tests.bench.serve import serve

MOTION_BATCH = 64  # frames at once, as its command line sets
SLOTS = 4  # that Ray counts per core: each of its stages holds one, and on two cores the pipeline waits for ever


class X264Stage(ClipTranscodingStage):  # type: ignore[misc]  # the package is not here
    """Its transcoding stage with libx264."""

    def setup(self, worker_metadata: Any = None) -> None:
        """Do not ask whether the encoder is one of its three."""

    def _add_video_encoding_options(self, command: list[str], use_bit_rate: str | None, force_pix_fmt: bool) -> None:
        command.extend(["-preset", "veryfast", "-crf", "20", "-pix_fmt", "yuv420p"])


def stages(clip_len_s: float, output: str, source: str) -> list[Any]:
    """The stages from a folder of videos to written clips with motion scores."""
    writer = ClipWriterStage(
        output_path=output,
        input_path=source,
        upload_clips=True,
        dry_run=False,
        generate_embeddings=False,
        generate_previews=False,
        generate_captions=False,
    )
    return [
        VideoReader(input_video_path=source),
        FixedStrideExtractorStage(
            clip_len_s=clip_len_s, clip_stride_s=clip_len_s, min_clip_length_s=2.0, limit_clips=0
        ),
        _transcoding(),
        MotionVectorDecodeStage(num_cpus_per_worker=1.0),
        MotionFilterStage(score_only=True, motion_filter_batch_size=MOTION_BATCH),
        writer,
    ]


def transcode(paths: list[str], spans: list[list[tuple[float, float]]], count: bool = False) -> list[int]:
    """Cut the spans of each video; the clips of each, or with `count` the frames of each clip."""
    return _answer(_transcoded(paths, spans), count)


def transcode_and_score(paths: list[str], spans: list[list[tuple[float, float]]], count: bool = False) -> list[int]:
    """Cut the spans of each video and score the motion of every clip; the answer of `transcode`."""
    decoding = MotionVectorDecodeStage(num_cpus_per_worker=1.0)
    scoring = MotionFilterStage(score_only=True, motion_filter_batch_size=MOTION_BATCH)
    return _answer([scoring.process(decoding.process(task)) for task in _transcoded(paths, spans)], count)


def pipeline(folder: str, clip_len_s: float) -> int:
    """Run its pipeline on a folder of videos; the number of clips written."""
    output = tempfile.mkdtemp(prefix="bench-nemo-")
    try:
        ray.init(num_cpus=SLOTS * (os.cpu_count() or 1), include_dashboard=False, log_to_driver=False)
        curation = Pipeline(name="bench", description="read, cut, score motion, write")
        for stage in stages(clip_len_s, output, folder):
            curation.add_stage(stage)
        curation.run(RayDataExecutor())
        return len(list(Path(output, "clips").rglob("*.mp4")))
    finally:
        shutil.rmtree(output)


def _transcoding() -> ClipTranscodingStage:
    return X264Stage(encoder="libx264", num_cpus_per_worker=1.0, encoder_threads=1)


def _transcoded(paths: list[str], spans: list[list[tuple[float, float]]]) -> list[Any]:
    """Its tasks of cut clips, one or more per video."""
    tasks = []
    for path, cut in zip(paths, spans, strict=True):
        video = Video(input_video=Path(path), source_bytes=Path(path).read_bytes())
        video.populate_metadata()
        video.clips = [
            Clip(uuid=uuid.uuid5(uuid.NAMESPACE_URL, f"{path}_{start_s}"), source_video=path, span=(start_s, end_s))
            for start_s, end_s in cut
        ]
        tasks += _transcoding().process(VideoTask(dataset_name="bench", data=video))
    return tasks


def _answer(tasks: list[Any], count: bool) -> list[int]:
    clips = [clip for task in tasks for clip in task.data.clips]
    assert not any(clip.errors for clip in clips), [clip.errors for clip in clips]
    return [_packets(clip.buffer) for clip in clips] if count else [len(clips)]


def _packets(content: bytes) -> int:
    command = ["ffprobe", "-v", "error", "-count_packets", "-select_streams", "v", "-show_entries"]
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(content)
        file.flush()
        listed = [*command, "stream=nb_read_packets", "-of", "csv=p=0", file.name]
        return int(subprocess.run(listed, capture_output=True, text=True, check=True).stdout.strip().strip(","))


if __name__ == "__main__":
    serve({"transcode": transcode, "transcode_and_score": transcode_and_score, "pipeline": pipeline})
