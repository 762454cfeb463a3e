"""runs: one row per stage of a run."""

import pyarrow as pa

from schemas.table import FINGERPRINT, RUN_ID, column, table, within

TABLE = table(
    "runs",
    ("run_id", "stage"),
    "One row per stage of a run.",
    column("stage", pa.string(), "name of the stage", nullable=False),
    column("started_at", pa.timestamp("us", tz="UTC"), "when the stage began"),
    column("ended_at", pa.timestamp("us", tz="UTC"), "when the stage ended"),
    column("num_in", pa.int64(), "inputs that were pending"),
    column("num_out", pa.int64(), "rows written"),
    column("num_failed", pa.int64(), "rows written to failures"),
    column(
        "cpu_s",
        pa.float64(),
        "CPU seconds of the decoding processes; for copies, dedup and filter, seconds that Spark's tasks ran",
    ),
    column("gpu_s", pa.float64(), "seconds that models ran; NULL without a model"),
    column("media_s", pa.float64(), "seconds of media in the inputs; NULL where they are not known beforehand"),
    column("bytes_in", pa.int64(), "bytes of media in the inputs"),
    column("bytes_out", pa.int64(), "bytes of media written"),
    column(
        "cost_usd",
        pa.float64(),
        "$ of cpu_s and gpu_s by [cost], idle machines not counted; NULL where a price is unknown",
    ),
    column(
        "versions",
        pa.map_(pa.string(), pa.string()),
        "versions of this code and of the libraries that its results depend on",
    ),
    column("conf", pa.string(), "the settings, as JSON"),
    column(
        "tables",
        pa.map_(pa.string(), pa.int64()),
        "of curate and filter, the versions of the tables at its end; NULL if something was left to do",
    ),
    column(
        "scored_by",
        pa.string(),
        "hash of the settings that made the scores in verdicts, if they are those of these versions of the tables",
    ),
    column("summary", pa.string(), "the counts that a whole run of curate printed at its end, as JSON"),
    column(
        "waiting_run_id",
        pa.string(),
        "of curate, the run whose failures are tried again and are all that was left to do; NULL if nothing was",
    ),
    column(
        "linked",
        pa.string(),
        "of curate, counts of the rows of dedup in these versions of the tables, by which the next run goes, as JSON",
    ),
    column("exported_to", pa.string(), "of export, the folder that it wrote to"),
    FINGERPRINT,
    RUN_ID,
    checks={
        "inputs": within("num_in", 0),
        "outputs": within("num_out", 0),
        "failed": within("num_failed", 0),
    },
)
