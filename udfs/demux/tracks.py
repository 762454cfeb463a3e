"""Choose the main video track of a container, and not a cover, a thumbnail or a preview."""

from __future__ import annotations

from contextlib import suppress

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from udfs.core.errors import MediaError

# Tracks beside the main one, by FFmpeg's dispositions, and codecs of single pictures, which are
# cover art.
AUXILIARY = Disposition.timed_thumbnails | Disposition.still_image | Disposition.dependent | Disposition.metadata
STILL_CODECS = {"mjpeg", "png", "apng", "bmp", "gif", "webp", "tiff", "ppm", "jpegls", "jpeg2000", "targa"}
MIN_LENGTH_SHARE = 0.5  # of the longest track's length
# A track of at most this frame rate is a preview if another track has this many times its rate.
MAX_PREVIEW_FPS, PREVIEW_RATIO = 2.0, 5.0


def video_stream(container: InputContainer) -> VideoStream:
    """The main video track: the default one of the candidates, else the first of those with the most pixels.

    Not candidates are attached pictures, tracks flagged as thumbnails, stills or auxiliary, codecs
    of single pictures, depth and alpha maps, tracks much shorter than the longest, and previews of
    about one frame per second. A rule that would leave no track is not applied.

    Raises:
        MediaError: NO_VIDEO; UNSUPPORTED if no track can be decoded.
    """
    tracks = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    decodable = [s for s in tracks if s.codec_context is not None and s.width and s.height]
    if not tracks:
        raise MediaError("NO_VIDEO", "no video stream")
    if not decodable:
        raise MediaError("UNSUPPORTED", "no decoder for the video stream, or no frame size")
    candidates = _without_previews(_without_short(_without_auxiliary(decodable)))
    largest = max(candidates, key=lambda s: s.width * s.height)
    return next((s for s in candidates if s.disposition & Disposition.default), largest)


def _without_auxiliary(streams: list[VideoStream]) -> list[VideoStream]:
    """The tracks that are not auxiliary; a rule that would leave none is not applied."""
    for is_auxiliary in (_is_flagged, _is_still, _is_map):
        streams = [s for s in streams if not is_auxiliary(s)] or streams
    return streams


def _is_flagged(stream: VideoStream) -> bool:
    return bool(stream.disposition & AUXILIARY)


def _is_still(stream: VideoStream) -> bool:
    return stream.codec_context.codec.canonical_name in STILL_CODECS or stream.frames == 1


def _is_map(stream: VideoStream) -> bool:
    return (stream.codec_context.pix_fmt or "").startswith("gray")


def _without_short(streams: list[VideoStream]) -> list[VideoStream]:
    longest_s = max(_length_s(s) or 0.0 for s in streams)
    return [s for s in streams if (length_s := _length_s(s)) is None or length_s >= MIN_LENGTH_SHARE * longest_s]


def _without_previews(streams: list[VideoStream]) -> list[VideoStream]:
    fastest = max(_fps(s) for s in streams)
    return [s for s in streams if _fps(s) > MAX_PREVIEW_FPS or _fps(s) * PREVIEW_RATIO > fastest] or streams


def _length_s(stream: VideoStream) -> float | None:
    """The length in s that the header states.

    It is None if it states none. Matroska stores it as text, if at all.
    """
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    stated = next((text for key, text in stream.metadata.items() if key.upper().startswith("DURATION")), "")
    with suppress(ValueError):
        hours, minutes, seconds = (float(part) for part in stated.split(":"))
        return 3600 * hours + 60 * minutes + seconds
    return None


def _fps(stream: VideoStream) -> float:
    length_s = _length_s(stream)
    if stream.frames and length_s:
        return stream.frames / length_s
    return float(stream.average_rate or 0) or float(av.time_base)  # a track of unknown rate is not a preview
