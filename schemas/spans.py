"""spans: one row per stretch of a video that becomes a clip."""

import pyarrow as pa

from schemas.table import CPU_S, FINGERPRINT, RUN_ID, column, in_order, table

TABLE = table(
    "spans",
    ("clip_id",),
    "One row per stretch of a video that becomes a clip.",
    column("clip_id", pa.string(), "uuid5 of video_id, start_frame and end_frame", nullable=False),
    column("video_id", pa.string(), "row of videos", nullable=False),
    column("start_s", pa.float64(), "seconds after the first shown frame, inclusive", nullable=False),
    column("end_s", pa.float64(), "seconds after the first shown frame, exclusive", nullable=False),
    column("start_frame", pa.int64(), "number of the first frame, from 0 at the video's first shown frame"),
    column("end_frame", pa.int64(), "number of the frame after the last one"),
    column("num_frames", pa.int64(), "frames shown in the span, by the packets; NULL where only the header was read"),
    column(
        "held_s",
        pa.float64(),
        "seconds for which the first frame is on screen before the span; 0 if it appears in the span",
    ),
    column("method", pa.string(), "fixed_stride, content or transnetv2"),
    CPU_S,
    FINGERPRINT,
    RUN_ID,
    checks={
        "seconds": "start_s >= 0 AND start_s < end_s",
        "frames": in_order("start_frame", "end_frame"),
    },
)
