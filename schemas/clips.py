"""clips: one row per mp4 file cut from a video."""

import pyarrow as pa

from schemas.table import CPU_S, FINGERPRINT, RUN_ID, at_least, column, table, within

TABLE = table(
    "clips",
    ("clip_id",),
    "One row per mp4 file cut from a video.",
    column("clip_id", pa.string(), "row of spans", nullable=False),
    column("video_id", pa.string(), "row of videos", nullable=False),
    column("uri", pa.string(), "path or address of the mp4", nullable=False),
    column("num_bytes", pa.int64(), "size of the mp4"),
    column("sha256", pa.string(), "hash of the mp4"),
    column("width", pa.int32(), "pixels, upright"),
    column("height", pa.int32(), "pixels, upright"),
    column("sample_aspect_ratio", pa.float64(), "width of a pixel over its height: 1 if square"),
    column(
        "is_hdr",
        pa.bool_(),
        "whether the transfer characteristic is PQ or HLG, as in a stream copy or with clip.hdr = keep",
    ),
    column(
        "picture_warning",
        pa.string(),
        "how the picture was degraded: its size changed midway, or HDR was kept at 8 bits; NULL if it was not",
    ),
    column("framerate", pa.float64(), "average frames per second"),
    column("num_frames", pa.int64(), "frames written"),
    column("duration_s", pa.float64(), "length in seconds"),
    column("video_codec", pa.string(), "codec of the mp4"),
    column("encoder", pa.string(), "encoder that wrote it; copy for a stream copy"),
    column("audio_codec", pa.string(), "codec of the mp4; NULL without sound"),
    column(
        "audio_warning", pa.string(), "how many seconds of the source's sound the clip lacks, and why; NULL if none"
    ),
    column(
        "exact",
        pa.bool_(),
        "whether it begins at the span's first frame; false where a stream copy began at an earlier key frame",
    ),
    CPU_S,
    FINGERPRINT,
    RUN_ID,
    checks={
        "width": within("width", 1),
        "height": within("height", 1),
        "frames": within("num_frames", 1),
        "duration": at_least("duration_s", 0),
    },
)
