"""runs: one row a stage of a run."""

import pyarrow as pa

from schemas.table import FINGERPRINT, RUN_ID, column, table, within

TABLE = table(
    "runs",
    ("run_id", "stage"),
    "One row a stage of a run.",
    column("stage", pa.string(), "the job", nullable=False),
    column("started_at", pa.timestamp("us", tz="UTC"), "when"),
    column("ended_at", pa.timestamp("us", tz="UTC"), "when"),
    column("num_in", pa.int64(), "inputs that were pending"),
    column("num_out", pa.int64(), "rows written"),
    column("num_failed", pa.int64(), "rows written to failures"),
    column(
        "cpu_s",
        pa.float64(),
        "CPU seconds in the decoding processes; of copies, dedup and filter the seconds for which Spark's tasks held a core",
    ),
    column("gpu_s", pa.float64(), "seconds in which models were at work, NULL without one"),
    column("media_s", pa.float64(), "seconds of media that went in, NULL where it is not known before"),
    column("bytes_in", pa.int64(), "bytes of media that went in"),
    column("bytes_out", pa.int64(), "bytes of media written"),
    column(
        "cost_usd",
        pa.float64(),
        "$ of cpu_s and gpu_s by [cost], idle machines not counted; NULL where a price is unknown",
    ),
    column("versions", pa.map_(pa.string(), pa.string()), "of this code and the libraries that shape its results"),
    column("conf", pa.string(), "the settings, as JSON"),
    FINGERPRINT,
    RUN_ID,
    checks={
        "inputs": within("num_in", 0),
        "outputs": within("num_out", 0),
        "failed": within("num_failed", 0),
    },
)
