"""signals: one row of measurements per clip, from one decode."""

import pyarrow as pa

from schemas.table import CPU_S, FINGERPRINT, RUN_ID, STRINGS, at_least, column, table, within

PREVIEW = pa.struct(
    [
        pa.field("start_frame", pa.int64()),
        pa.field("end_frame", pa.int64()),
        pa.field("uri", pa.string()),
    ]
)

TABLE = table(
    "signals",
    ("clip_id",),
    "One row of measurements per clip, from one decode.",
    column("clip_id", pa.string(), "row of clips", nullable=False),
    column(
        "motion_score_global_mean",
        pa.float64(),
        "mean length of motion vectors per sampled frame, over width + height; NULL if unscored",
    ),
    column("motion_score_per_patch_min_256", pa.float64(), "least such mean of any 256-pixel patch; NULL if unscored"),
    column("motion_source", pa.string(), "vectors (coded motion vectors), frames (block matching), or why unscored"),
    column("blackness", pa.float64(), "share of sampled frames that are black, 0-1"),
    column("freeze", pa.float64(), "share of sampled frames equal to the one before, 0-1"),
    column("blur", pa.float64(), "median variance of the Laplacian of luma: low is blurred"),
    column("letterbox", pa.list_(pa.int32()), "x, y, width, height of the picture inside black bars, pixels"),
    column("phash", pa.list_(pa.string()), "64-bit DCT hashes of a few frames in time order, 16 hex digits each"),
    column("proxy_uri", pa.string(), "path or address of the small rendition that models read"),
    column("proxy_num_frames", pa.int64(), "frames in the proxy"),
    column("previews", pa.list_(PREVIEW), "animated WebP files by window; end_frame is inclusive"),
    column("warnings", STRINGS, "problems that did not cost the clip"),
    CPU_S,
    FINGERPRINT,
    RUN_ID,
    checks={
        "motion": at_least("motion_score_global_mean", 0),
        "patch_motion": at_least("motion_score_per_patch_min_256", 0),
        "blackness": within("blackness", 0, 1),
        "freeze": within("freeze", 0, 1),
        "blur": at_least("blur", 0),
        "letterbox": "letterbox IS NULL OR size(letterbox) = 4",
    },
)
