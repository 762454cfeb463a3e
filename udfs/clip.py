"""clip: cut the spans of a video to mp4 files, one row per clip."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import av.error
from av.codec.hwaccel import HWAccel
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.audio.audio_writer import SoundSpan
from udfs.audio.sound_file import SoundFile
from udfs.core.errors import Code, MediaError
from udfs.core.limits import Tally
from udfs.core.task_resources import EFFORT, Resources
from udfs.demux import timeline
from udfs.demux.demuxer import Video
from udfs.demux.timeline import BOUNDARY_TOLERANCE_S
from udfs.runtime import batching, sandbox
from udfs.runtime.context import FAILURE, Env, Row
from udfs.runtime.sandbox import Needs
from udfs.storage import access, media_store
from udfs.storage.remote_file import AnyPath
from udfs.video import container, encoder_options, mp4_writer, mux, nvdec, stream_copy, transcode
from udfs.video.nvdec import Hwaccel, Place

if TYPE_CHECKING:  # the decoding process, which imports this module, starts in half the time without
    import pandas as pd

LANGUAGE = r"^([A-Za-z]{2,3}([-_][A-Za-z0-9]+)*)?$"
FATAL: tuple[Code, ...] = ("CRASH", "TIMEOUT", "OOM")  # failures of the decoding process that the sound may have caused
COPY_SPEED = 12  # a copied second costs at most this part of a transcoded one
MAX_MISSING_S = 0.5  # a file may be shorter than its header states by this


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params(encoder_options.Params):
    """[clip]"""

    mode: Annotated[
        Literal["transcode", "copy"],
        Field(description="copy: packets are copied without decoding, from a key frame on"),
    ] = "transcode"
    copy_if_exact: Annotated[
        bool, Field(description="copy where that gives the exact frames, and transcode the rest")
    ] = False
    copy_reach_s: Annotated[
        float, Field(ge=0, le=600, description="seconds that a copy may begin before its span, to reach a key frame")
    ] = 10.0
    use_input_bit_rate: Annotated[bool, Field(description="encode at the source's bit rate and not by crf")] = False
    audio: Annotated[Literal["keep", "drop"], Field(description="keep: copied where mp4 can hold it, else AAC")] = (
        "keep"
    )
    audio_language: Annotated[
        str, Field(pattern=LANGUAGE, description="preferred track: a code of ISO 639, such as eng")
    ] = ""
    max_unit_s: Annotated[float, Field(gt=0, description="seconds of video that one decoding pass cuts")] = 300.0
    hwaccel: Annotated[Hwaccel, Field(description="cuda: NVDEC decodes what it can, and may hide damage")] = "none"
    resources: Annotated[
        Resources,
        Field(
            json_schema_extra=EFFORT, description="gpus 0: a third of a GPU with h264_nvenc or hwaccel cuda, else none"
        ),
    ] = Resources()

    @property
    def unit_s(self) -> float:
        """Seconds of video whose spans are cut together: more where nothing is decoded."""
        return self.max_unit_s * (COPY_SPEED if self.mode == "copy" else 1)

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU may encode or decode."""
        return self.mode == "transcode" and (self.encoder == encoder_options.NVENC or self.hwaccel == "cuda")


def rows(batches: Iterable[pd.DataFrame], params: Params, env: Env) -> Iterator[pd.DataFrame]:
    """Cut batches of units, each a video and some of its spans, to batches of clips.

    A span that fails has a row with its clip_id and its failure.
    """
    from schemas.clips import TABLE  # here for the same reason: schemas import pyarrow

    if program := encoder_options.program(params):  # the only one that the decoding process may start
        params = replace(params, ffmpeg=program)
    work = partial(cut_unit, params=params, env=env.with_media())
    needs = Needs(gpu=params.on_gpu, program=program)
    limits = env.limits.with_cuda() if params.on_gpu else env.limits
    rescue = unit_without_sound if params.audio == "keep" else None
    yield from batching.each(
        batches,
        work,
        key="clip_id",
        columns=TABLE.stage_columns,
        limits=limits,
        needs=needs,
        parts=single_span_units,
        rescue=rescue,
    )
    if params.on_gpu:
        sandbox.stop()  # frees the GPU memory that the models of the next stage may need


def single_span_units(unit: Row) -> list[Row]:
    """A unit split into one unit per span."""
    spans = [{"clip_id": s["clip_id"], "duration_s": s["end_s"] - s["start_s"], "spans": [s]} for s in unit["spans"]]
    return [unit | span for span in spans]


def unit_without_sound(unit: Row, error: MediaError) -> Row | None:
    """The unit without its sound, if the sound may have ended the decoding process; else None."""
    if error.code not in FATAL or unit.get("audio_codec") is None:
        return None
    return unit | {"audio_warning": f"no sound: with it, {error.message}"}


def cut_unit(row: Row, params: Params, env: Env) -> list[Row]:
    """Write the clips of one unit; returns a row per span, with the failure of a span that failed.

    Raises:
        MediaError: no span can be cut.
    """
    path = access.unchanged_path(access.address(row), row["source_version"], env.sources)
    spans = sorted(row["spans"], key=lambda span: (span["start_s"], span["end_s"]))
    copies = []
    open_video = partial(container.open_video, path, env.limits, timing=timeline.timing_of_row(row))
    with closing(SoundFile(open_video)) as sounds:
        if params.mode == "copy" or params.copy_if_exact:
            copies = _copied_rows(path, sounds, spans, row, params, env)
        clip_ids = {copy.get("clip_id") or copy[FAILURE[0]] for copy in copies}
        remaining = [span for span in spans if span["clip_id"] not in clip_ids]
        return copies + (_transcoded_rows(path, sounds, remaining, row, params, env) if remaining else [])


def _transcoded_rows(
    path: AnyPath, sounds: SoundFile, spans: list[Row], row: Row, params: Params, env: Env
) -> list[Row]:
    accel = Place(params.hwaccel, env.task).accelerator()
    clips = _encoded_rows(path, sounds, spans, row, params, env, accel)
    failed_ids = {clip[FAILURE[0]] for clip in clips if FAILURE[0] in clip}
    if accel is None or not failed_ids:
        return clips
    # The GPU may have failed, or only FFmpeg's own decoder can decode the video.
    failed_spans = [span for span in spans if span["clip_id"] in failed_ids]
    kept = [clip for clip in clips if clip.get("clip_id")]
    return kept + _encoded_rows(path, sounds, failed_spans, row, params, env, None)


def _encoded_rows(
    path: AnyPath, sounds: SoundFile, spans: list[Row], row: Row, params: Params, env: Env, accel: HWAccel | None
) -> list[Row]:
    gpu = nvdec.gpu_index(env.task) if params.on_gpu else 0
    usable = mp4_writer.usable_params(params, gpu)
    bit_rate_k = row.get("bit_rate_k") if params.use_input_bit_rate else None
    timing = timeline.timing_of_row(row)
    with (
        container.open_video(path, env.limits, accel, timing) as video,
        media_store.unfinished_folder(env.media_root) as folder,
    ):
        video.shown_packets = [] if row.get("timing") == "header" else None
        encoders = [
            transcode.SpanEncoder(span, f"{folder}/{n}.mp4", usable, bit_rate_k, gpu) for n, span in enumerate(spans)
        ]
        return [
            _clip_row(encoder, sounds, video, row, params, env) for encoder in transcode.encode_spans(encoders, video)
        ]


def _clip_row(
    encoder: transcode.SpanEncoder, sounds: SoundFile, video: Video, row: Row, params: Params, env: Env
) -> Row:
    """Finish the file of a span and store it with its sound; its row, or its failure."""
    try:
        expected = _num_expected_frames(encoder.span, video)
        if expected == 0 and encoder.tally == Tally():
            raise MediaError("TOO_SHORT", "no frame is shown in this span")
        if encoder.error is None:
            encoder.tally.check(expected, env.limits)
        first_s = encoder.finish()
    except MediaError as e:
        encoder.abandon()
        return batching.failure(encoder.span["clip_id"], e)
    sound = _sound_source(sounds, video, first_s, encoder.span["end_s"], row, params)
    clip = _store_clip(encoder.span, row, mux.whole_picture(encoder.path, env.limits), sound, env)
    os.unlink(encoder.path)
    assert encoder.writer is not None
    return clip | {"encoder": encoder.params.encoder, "exact": True} | encoder.writer.picture_facts()


def _copied_rows(path: AnyPath, sounds: SoundFile, spans: list[Row], row: Row, params: Params, env: Env) -> list[Row]:
    """The rows of the spans that are cut without decoding; the others have to be transcoded.

    All clips share one open container: opening a video of hours takes longer than copying a clip of
    it.
    """
    clips = list[Row]()
    remaining = deque(spans)
    while remaining:  # after a span that failed, the position is undefined: the file is opened again
        with ExitStack() as stack:
            try:
                video = stack.enter_context(container.open_video(path, env.limits, timing=timeline.timing_of_row(row)))
            except MediaError as e:
                return clips + (
                    [] if params.copy_if_exact else [batching.failure(span["clip_id"], e) for span in remaining]
                )
            has_failed = False
            while remaining and not has_failed:
                clip, has_failed = _copied_row(video, sounds, remaining.popleft(), row, params, env)
                clips += [clip] if clip else []
    return clips


def _copied_row(
    video: Video, sounds: SoundFile, span: Row, row: Row, params: Params, env: Env
) -> tuple[Row | None, bool]:
    """The row of a span that is cut without decoding, and whether reading or writing failed.

    The row is None if the span has to be transcoded.
    """
    falls_back = params.copy_if_exact  # to transcoding
    start_s = span["start_s"] - (span.get("held_s") or 0.0)
    try:
        cut = stream_copy.find(video, start_s, span["end_s"], params.copy_reach_s)
        stream_copy.check(cut, _num_expected_frames(span, video), env.limits)
        sound = _sound_source(sounds, video, cut.start_s, cut.end_s, row, params)
    except MediaError as e:
        return (None if falls_back else batching.failure(span["clip_id"], e)), True
    if falls_back and not cut.exact:
        return None, False
    picture = stream_copy.picture(video, cut)
    try:
        clip = _store_clip(span, row, picture, sound, env) | {"encoder": "copy", "exact": cut.exact}
        clip |= {"is_hdr": row.get("is_hdr"), "picture_warning": None}
    except (av.error.FFmpegError, ValueError) as e:
        if isinstance(e, OSError | MemoryError):
            raise
        refusal = MediaError("UNSUPPORTED", f"mp4 cannot hold a copy: {e}")
        return (None if falls_back else batching.failure(span["clip_id"], refusal)), True
    if (row.get("rotation") or 0) % 180:
        clip |= {"width": clip["height"], "height": clip["width"]}
    return clip, False


def _store_clip(span: Row, row: Row, picture: mux.Picture, sound: mux.Sound | None, env: Env) -> Row:
    """Write an mp4 to the media store; returns the columns of `clips` that describe it."""
    uri = media_store.media_uri(env.media_root, "clips", span["clip_id"], env.fingerprint, ".mp4")
    with media_store.write_to(uri, env.sources) as path:
        warning = mux.write_mp4(path, picture, sound) or row.get("audio_warning")
        facts: dict[str, Any] = mux.mp4_facts(path) | {"audio_warning": warning}
        facts |= {"num_bytes": os.path.getsize(path), "sha256": media_store.sha256(path)}
    return {"clip_id": span["clip_id"], "video_id": row["video_id"], "uri": uri} | facts


def _sound_source(
    sounds: SoundFile, video: Video, start_s: float, end_s: float, row: Row, params: Params
) -> mux.Sound | None:
    if params.audio == "drop" or row.get("audio_warning"):
        return None
    return mux.Sound(sounds, SoundSpan(video.start_s + start_s, video.start_s + end_s, params.audio_language))


def _num_expected_frames(span: Row, video: Video) -> int:
    """The number of frames that a span ought to have, by the timeline or the decoded packets.

    Raises:
        MediaError: PARTIAL if the decoded packets end more than MAX_MISSING_S before the span.
    """
    if span.get("num_frames") is not None or video.shown_packets is None:
        return int(span.get("num_frames") or 0)
    base = float(video.stream.time_base or 1)
    packets = set(video.shown_packets)  # a seek may read some twice
    times_s = [(pts * base - video.start_s + BOUNDARY_TOLERANCE_S, duration * base) for pts, duration in packets]
    end_s = max((at_s + max(duration_s, 1 / float(video.framerate)) for at_s, duration_s in times_s), default=0.0)
    if span["start_s"] < end_s < span["end_s"] - MAX_MISSING_S:
        raise MediaError("PARTIAL", f"the file ends {span['end_s'] - end_s:.1f} s before the span does")
    return sum(span["start_s"] <= at_s < span["end_s"] for at_s, _ in times_s)
