"""spans: one row a stretch of a video that becomes a clip."""

import pyarrow as pa

from schemas.table import FINGERPRINT, RUN_ID, column, in_order, table

TABLE = table(
    "spans",
    ("clip_id",),
    "One row a stretch of a video that becomes a clip.",
    column("clip_id", pa.string(), "uuid5 of video_id, start_frame and end_frame", nullable=False),
    column("video_id", pa.string(), "row of videos", nullable=False),
    column("start_s", pa.float64(), "seconds after the first shown frame, inclusive", nullable=False),
    column("end_s", pa.float64(), "seconds after the first shown frame, exclusive", nullable=False),
    column("start_frame", pa.int64(), "first frame, by the average frame rate"),
    column("end_frame", pa.int64(), "frame after the last, by the average frame rate"),
    column("method", pa.string(), "fixed_stride, content or transnetv2"),
    FINGERPRINT,
    RUN_ID,
    checks={
        "seconds": "start_s >= 0 AND start_s < end_s",
        "frames": in_order("start_frame", "end_frame"),
    },
)
