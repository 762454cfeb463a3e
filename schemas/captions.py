"""captions: one description per window of a clip, model and prompt."""

import pyarrow as pa

from schemas.table import FINGERPRINT, RUN_ID, STRINGS, at_least, column, in_order, table

TABLE = table(
    "captions",
    ("clip_id", "start_frame", "model", "prompt"),
    "One description per window of a clip, model and prompt.",
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
    column("caption", pa.string(), "the description"),
    column(
        "stage2_caption", pa.string(), "the description as the model refined it; NULL without that stage, or no_second"
    ),
    column("tokens_in", pa.int32(), "tokens read in both stages; NULL if the endpoint does not report them"),
    column("tokens_out", pa.int32(), "tokens written in both stages; NULL if the endpoint does not report them"),
    column("seconds", pa.float64(), "this window's share of the time that the model took for its batch"),
    column(
        "finish_reason",
        pa.string(),
        "of the last stage: stop, length at max_output_tokens, or what else an endpoint says, as content_filter",
    ),
    column(
        "checks",
        STRINGS,
        "what looks wrong in either stage: repetition, truncated, refusal, language, no_second; empty if nothing",
    ),
    FINGERPRINT,
    RUN_ID,
    checks={
        "window": "start_frame >= 0",
        "frames": in_order("start_frame", "end_frame", "<="),
        "seconds": at_least("seconds", 0),
    },
)
