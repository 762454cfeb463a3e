"""enhanced: one row per caption that a language model rewrote."""

import pyarrow as pa

from schemas.table import FINGERPRINT, RUN_ID, STRINGS, at_least, column, in_order, table

TABLE = table(
    "enhanced",
    ("clip_id", "start_frame", "model", "prompt"),
    "One row per caption that a language model rewrote.",
    column("clip_id", pa.string(), "row of clips", nullable=False),
    column("start_frame", pa.int64(), "first frame of the window", nullable=False),
    column("end_frame", pa.int64(), "last frame of the window, inclusive"),
    column(
        "model",
        pa.string(),
        "model that wrote it: repository@revision, folder@hash, or the endpoint's name for it",
        nullable=False,
    ),
    column("prompt", pa.string(), "prompt variant, or custom- and a hash of the prompt", nullable=False),
    column("enhanced_caption", pa.string(), "the description"),
    column("tokens_in", pa.int32(), "tokens read; NULL if the endpoint does not report them"),
    column("tokens_out", pa.int32(), "tokens written; NULL if the endpoint does not report them"),
    column("seconds", pa.float64(), "this caption's share of the time that the model took for its batch"),
    column(
        "finish_reason",
        pa.string(),
        "stop, length at max_output_tokens, or what else an endpoint says, as content_filter",
    ),
    column(
        "checks", STRINGS, "what looks wrong with the text: repetition, truncated, refusal, language; empty if nothing"
    ),
    FINGERPRINT,
    RUN_ID,
    checks={
        "window": "start_frame >= 0",
        "frames": in_order("start_frame", "end_frame", "<="),
        "seconds": at_least("seconds", 0),
    },
)
