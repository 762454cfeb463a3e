"""captions: one description a window of a clip, model and prompt."""

import pyarrow as pa

from schemas.table import FINGERPRINT, RUN_ID, STRINGS, column, in_order, table, within

TABLE = table(
    "captions",
    ("clip_id", "start_frame", "model", "prompt"),
    "One description a window of a clip, model and prompt.",
    column("clip_id", pa.string(), "row of clips", nullable=False),
    column("start_frame", pa.int64(), "first frame of the window", nullable=False),
    column("end_frame", pa.int64(), "last frame of the window, inclusive"),
    column(
        "model",
        pa.string(),
        "what wrote it: repository@revision, folder@hash, or an endpoint's name for it",
        nullable=False,
    ),
    column("prompt", pa.string(), "prompt variant, or custom- and a hash of the prompt", nullable=False),
    column("caption", pa.string(), "the description"),
    column("stage2_caption", pa.string(), "the same, refined by the model; NULL if not asked"),
    column("tokens_in", pa.int32(), "tokens read, of both stages; NULL if an endpoint does not tell"),
    column("tokens_out", pa.int32(), "tokens written, likewise"),
    column("seconds", pa.float64(), "time the model took, its share of the batch"),
    column("finish_reason", pa.string(), "of the last stage: stop, or length at max_output_tokens"),
    column(
        "checks",
        STRINGS,
        "what looks wrong in either stage: repetition, truncated, refusal, language; empty if nothing",
    ),
    FINGERPRINT,
    RUN_ID,
    checks={
        "window": "start_frame >= 0",
        "frames": in_order("start_frame", "end_frame", "<="),
        "seconds": within("seconds", 0),
    },
)
