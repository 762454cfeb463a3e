"""clip: spans of a video -> mp4 files and their rows."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

import av.error
import pandas as pd
from av.codec.hwaccel import HWAccel
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from schemas.clips import TABLE
from udfs.audio.audio_writer import SoundSpan
from udfs.core.errors import Code, MediaError
from udfs.core.limits import Tally
from udfs.core.task_resources import EFFORT, Resources
from udfs.demux import timeline
from udfs.demux.demuxer import Video
from udfs.demux.timeline import BOUNDARY_TOLERANCE_S
from udfs.runtime import batching, sandbox
from udfs.runtime.context import FAILURE, Env, Row
from udfs.storage import access, media_store
from udfs.storage.remote_file import AnyPath
from udfs.video import container, encoder_options, mp4_writer, mux, nvdec, stream_copy, transcode
from udfs.video.nvdec import Hwaccel

LANGUAGE = r"^([A-Za-z]{2,3}([-_][A-Za-z0-9]+)*)?$"
FATAL: tuple[Code, ...] = ("CRASH", "TIMEOUT", "OOM")  # failures of the decoding process that sound may have caused
MISSING_S = 0.5  # by which a file may be shorter than its header states
COLUMNS = TABLE.stage_columns


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params(encoder_options.Params):
    """[clip]"""

    mode: Annotated[Literal["transcode", "copy"], Field(description="copy: no decoding, clips begin at key frames")] = "transcode"
    copy_if_exact: Annotated[bool, Field(description="transcode only what a copy cannot cut on the asked frames")] = False
    copy_reach_s: Annotated[float, Field(ge=0, le=600, description="seconds before its start that a copy may begin")] = 10.0
    use_input_bit_rate: Annotated[bool, Field(description="the source's bit rate in place of crf")] = False
    audio: Annotated[Literal["keep", "drop"], Field(description="keep: copied where mp4 may hold it, else AAC")] = "keep"
    audio_language: Annotated[str, Field(pattern=LANGUAGE, description="track to prefer: a code of ISO 639, such as eng")] = ""
    max_unit_s: Annotated[float, Field(gt=0, description="seconds of video cut in one decoding pass")] = 300.0
    hwaccel: Annotated[Hwaccel, Field(description="cuda: NVDEC decodes what it can, and may hide damage")] = "none"
    resources: Annotated[
        Resources,
        Field(json_schema_extra=EFFORT, description="gpus 0: a third of one where h264_nvenc or NVDEC works; else none is taken"),
    ] = Resources()

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU may encode or decode."""
        return self.mode == "transcode" and (self.encoder == encoder_options.NVENC or self.hwaccel == "cuda")


def rows(batches: Iterable[pd.DataFrame], params: Params, env: Env) -> Iterator[pd.DataFrame]:
    """Batches of units (a video and some of its spans) to batches of clips; failures are named by clip_id."""
    work = partial(cut, params=params, env=env)
    limits = env.limits.with_cuda() if params.on_gpu else env.limits
    rescue = without_sound if params.audio == "keep" else None
    yield from batching.each(batches, work, key="clip_id", columns=COLUMNS, limits=limits, parts=alone, rescue=rescue)
    if params.on_gpu:
        sandbox.stop()  # what CUDA holds there, the models of the next stage may need


def alone(unit: Row) -> list[Row]:
    """One unit for each span of a unit."""
    spans = [{"clip_id": s["clip_id"], "duration_s": s["end_s"] - s["start_s"], "spans": [s]} for s in unit["spans"]]
    return [unit | span for span in spans]


def without_sound(unit: Row, error: MediaError) -> Row | None:
    """The unit without its sound, if that may have ended the decoding process; else None."""
    if error.code not in FATAL or unit.get("audio_codec") is None:
        return None
    return unit | {"audio_warning": f"no sound: with it, {error.message}"}


def cut(row: Row, params: Params, env: Env) -> list[Row]:
    """Write the clips of one unit; the row of a span that failed holds its failure instead.

    Raises:
        MediaError: the video cannot be used at all.
    """
    path = access.unchanged_path(row["uri"], row["source_version"], env.sources)
    spans = sorted(row["spans"], key=lambda span: (span["start_s"], span["end_s"]))
    done = []
    if params.mode == "copy" or params.copy_if_exact:
        done = _copied_clips(path, spans, row, params, env)
    over = {done_row.get("clip_id") or done_row[FAILURE[0]] for done_row in done}
    left = [span for span in spans if span["clip_id"] not in over]
    return done + (_transcoded(path, left, row, params, env) if left else [])


def _transcoded(path: AnyPath, spans: list[Row], row: Row, params: Params, env: Env) -> list[Row]:
    accel = nvdec.decoder(nvdec.index(env.task)) if params.hwaccel == "cuda" else None
    made = _recoded(path, spans, row, params, env, accel)
    failed = {done[FAILURE[0]] for done in made if FAILURE[0] in done}
    if accel is None or not failed:
        return made
    # It may be the card that failed, or a video that only FFmpeg itself decodes.
    again = [span for span in spans if span["clip_id"] in failed]
    return [done for done in made if done.get("clip_id")] + _recoded(path, again, row, params, env, None)


def _recoded(path: AnyPath, spans: list[Row], row: Row, params: Params, env: Env, accel: HWAccel | None) -> list[Row]:
    gpu = nvdec.index(env.task) if params.on_gpu else 0
    encoder = mp4_writer.usable(params, gpu)
    bit_rate_k = row.get("bit_rate_k") if params.use_input_bit_rate else None
    timing = timeline.timing_of_row(row)
    with container.open_video(path, env.limits, accel, timing) as video, media_store.aside(env.media_root) as folder:
        video.shown_packets = [] if row.get("timing") == "header" else None
        takes = [transcode.Take(span, f"{folder}/{n}.mp4", encoder, bit_rate_k, gpu) for n, span in enumerate(spans)]
        return [_finished(take, path, video, row, params, env) for take in transcode.taken(takes, video)]


def _finished(take: transcode.Take, path: AnyPath, video: Video, row: Row, params: Params, env: Env) -> Row:
    try:
        expected = _expected(take.span, video)
        if expected == 0 and take.tally == Tally():
            raise MediaError("TOO_SHORT", "no frame is shown in this span")
        if take.error is None:
            take.tally.check(expected, env.limits)
        first_s = take.finish()
    except MediaError as e:
        take.abandon()
        return batching.failure(take.span["clip_id"], e)
    sound = _sound(path, video, first_s, take.span["end_s"], row, params)
    done = _placed(take.span, row, mux.whole(take.path, env.limits), sound, env)
    os.unlink(take.path)
    assert take.writer is not None
    return done | {"encoder": take.params.encoder, "exact": True} | take.writer.picture_facts()


def _copied_clips(path: AnyPath, spans: list[Row], row: Row, params: Params, env: Env) -> list[Row]:
    """The rows of the spans that are cut without decoding; those that have to be transcoded are left out.

    All clips share two open containers, one for the picture and one for the sound: to open a video of hours takes longer than
    to copy a clip of it.
    """
    clips = list[Row]()
    left = deque(spans)
    while left:  # a span that fails may leave a container anywhere: the next one opens the file anew
        try:
            with _open_inputs(path, row, params, env) as inputs:
                has_failed = False
                while left and not has_failed:
                    clip, has_failed = _copied_clip(inputs, path, left.popleft(), row, params, env)
                    clips += [clip] if clip else []
        except MediaError as e:
            return clips + ([] if params.copy_if_exact else [batching.failure(span["clip_id"], e) for span in left])
    return clips


@contextmanager
def _open_inputs(path: AnyPath, row: Row, params: Params, env: Env) -> Iterator[tuple[Video, Video | None]]:
    """The video, opened for its picture and, if its sound is kept, once more for that."""
    timing = timeline.timing_of_row(row)
    with ExitStack() as opened:
        video = opened.enter_context(container.open_video(path, env.limits, timing=timing))
        has_sound = params.audio == "keep" and len(video.container.streams.audio) > 0
        yield video, opened.enter_context(container.open_video(path, env.limits, timing=timing)) if has_sound else None


def _copied_clip(
    inputs: tuple[Video, Video | None], path: AnyPath, span: Row, row: Row, params: Params, env: Env
) -> tuple[Row | None, bool]:
    """The row of a span that is cut without decoding, None if it has to be transcoded, and whether anything failed."""
    falls_back = params.copy_if_exact  # to transcoding
    start_s = span["start_s"] - (span.get("held_s") or 0.0)
    video, sound_source = inputs
    try:
        found = stream_copy.find(video, start_s, span["end_s"], params.copy_reach_s)
        stream_copy.check(found, _expected(span, video), env.limits)
        sound = _sound(path, video, found.start_s, found.end_s, row, params)
    except MediaError as e:
        return (None if falls_back else batching.failure(span["clip_id"], e)), True
    if falls_back and not found.exact:
        return None, False
    picture = stream_copy.picture(video, found, start_s, params.copy_reach_s)
    sound = replace(sound, source=sound_source) if sound else None
    try:
        done = _placed(span, row, picture, sound, env) | {"encoder": "copy", "exact": found.exact}
        done |= {"is_hdr": row.get("is_hdr"), "picture_warning": None}
    except (av.error.FFmpegError, ValueError) as e:
        if isinstance(e, OSError | MemoryError):
            raise
        refused = MediaError("UNSUPPORTED", f"mp4 takes no copy: {e}")
        return (None if falls_back else batching.failure(span["clip_id"], refused)), True
    if (row.get("rotation") or 0) % 180:
        done |= {"width": done["height"], "height": done["width"]}
    return done, False


def _placed(span: Row, row: Row, picture: mux.Picture, sound: mux.Sound | None, env: Env) -> Row:
    """Write the mp4 to its place in the store, and tell what it holds."""
    uri = media_store.media_uri(env.media_root, "clips", span["clip_id"], env.fingerprint, ".mp4")
    with media_store.writing(uri, env.sources) as path:
        warning = mux.write(path, picture, sound, env.limits) or row.get("audio_warning")
        held: dict[str, Any] = mux.facts(path, env.limits) | {"audio_warning": warning}
        held |= {"num_bytes": os.path.getsize(path), "sha256": media_store.sha256(path)}
    return {"clip_id": span["clip_id"], "video_id": row["video_id"], "uri": uri} | held


def _sound(path: AnyPath, video: Video, start_s: float, end_s: float, row: Row, params: Params) -> mux.Sound | None:
    if params.audio == "drop" or row.get("audio_warning"):
        return None
    return mux.Sound(path, SoundSpan(video.start_s + start_s, video.start_s + end_s, params.audio_language), video.timing)


def _expected(span: Row, video: Video) -> int:
    """How many frames a span ought to have, by the packets of the whole video, else by those decoded for it.

    Raises:
        MediaError: PARTIAL if the packets end over MISSING_S before the span does.
    """
    if span.get("num_frames") is not None or video.shown_packets is None:
        return int(span.get("num_frames") or 0)
    base = float(video.stream.time_base or 1)
    packets = set(video.shown_packets)  # a seek may give some twice
    shown = [(pts * base - video.start_s + BOUNDARY_TOLERANCE_S, duration * base) for pts, duration in packets]
    end_s = max((at_s + max(duration_s, 1 / float(video.framerate)) for at_s, duration_s in shown), default=0.0)
    if span["start_s"] < end_s < span["end_s"] - MISSING_S:
        raise MediaError("PARTIAL", f"the file ends {span['end_s'] - end_s:.1f} s before the span does")
    return sum(span["start_s"] <= at_s < span["end_s"] for at_s, _ in shown)
