"""dedup: embeddings -> centroids, duplicates"""

from __future__ import annotations

import argparse

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import cli, clusters, history
from jobs.history import Counts
from jobs.run import Run


def run(run: Run, options: argparse.Namespace) -> Counts:
    """Cluster the vectors that count and find who stands for whom; the same vectors again cost nothing."""
    started, embeddings = history.now(), run.current("embeddings").where(F.col("model") == run.settings.embed.model)
    total, inputs = _identity(embeddings)
    fitted = run.tables.read("centroids").where(F.col("fingerprint") == run.fingerprint("dedup"))
    if not fitted.where(F.col("inputs") == inputs).isEmpty() or (total == 0 and run.tables.read("duplicates").isEmpty()):
        return history.note_settings(run, "dedup")
    centroids, assigned = clusters.fit_predict(embeddings, run.settings.dedup)
    found = _duplicates(run, assigned).persist()
    try:
        run.tables.replace("duplicates", _stamped(run, found))
        # Last, and with the hash of what went in: a run killed before this line does it all again.
        run.tables.replace("centroids", _stamped(run, _centroids(run, centroids, inputs)))
        history.note(run, "dedup", started, num_in=total, num_out=found.count(), num_failed=0)
    finally:
        found.unpersist()
    return Counts(total, total)


def _identity(embeddings: DataFrame) -> tuple[int, str]:
    """How many vectors there are, and a hash of which: independent of their order."""
    row = embeddings.agg(F.count("*").alias("n"), F.bit_xor(F.xxhash64("clip_id", "fingerprint")).alias("x")).first()
    assert row is not None
    return row["n"], f"{row['n']}-{row['x'] or 0:x}"


if __name__ == "__main__":
    cli.script("dedup")
