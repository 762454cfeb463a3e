"""dedup: embeddings, clips -> centroids, duplicates"""

from __future__ import annotations

import argparse

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import cli, clusters, history
from jobs.history import Counts
from jobs.run import Run
from jobs.tables import struct_type
from schemas import TABLES
from udfs import ranking
from udfs.kmeans import Floats


def run(run: Run, options: argparse.Namespace) -> Counts:
    """Cluster the vectors that count and find who stands for whom; the same vectors again cost nothing."""
    started, fingerprint = history.now(), run.fingerprint("dedup")
    embeddings = run.current("embeddings").where(F.col("model") == run.settings.embed.model)
    total, inputs = _identity(embeddings)
    fitted = run.tables.read("centroids").where(F.col("fingerprint") == fingerprint)
    if not fitted.where(F.col("inputs") == inputs).isEmpty() or (total == 0 and run.tables.read("duplicates").isEmpty()):
        return history.note_settings(run, "dedup")
    centres, assigned = clusters.fit_predict(_ranked(run, embeddings).persist(), run.settings.dedup)
    assigned = assigned.persist()
    found = clusters.duplicates(assigned, run.settings.dedup)
    run.tables.replace("duplicates", found.withColumns({"fingerprint": F.lit(fingerprint), "run_id": F.lit(run.run_id)}))
    # Last, and with the hash of what went in: a run killed before this line does it all again.
    run.tables.replace("centroids", _centroids(run, centres, assigned, inputs))
    history.note(run, "dedup", {"started_at": started, "num_in": total, "num_out": total, "num_failed": 0})
    run.spark.catalog.clearCache()
    return Counts(total, total)


def _identity(embeddings: DataFrame) -> tuple[int, str]:
    """How many vectors there are, and a hash of which: independent of their order."""
    row = embeddings.agg(F.count("*").alias("n"), F.bit_xor(F.xxhash64("clip_id", "fingerprint")).alias("x")).first()
    assert row is not None
    return row["n"], f"{row['n']}-{row['x'] or 0:x}"


def _ranked(run: Run, embeddings: DataFrame) -> DataFrame:
    """The vectors with the columns that decide who is kept."""
    wanted = ranking.columns(run.settings.dedup.rank)
    return embeddings.select("clip_id", "vector").join(run.made("clips").select("clip_id", *wanted), on="clip_id", how="left")


def _centroids(run: Run, centres: Floats, assigned: DataFrame, inputs: str) -> DataFrame:
    """A row a cluster."""
    sizes = {row["cluster_id"]: row["count"] for row in assigned.groupBy("cluster_id").count().collect()}
    model = run.settings.embed.model
    stamp = (clusters.ENGINE, inputs, run.fingerprint("dedup"), run.run_id)
    rows = [(model, i, [float(x) for x in centre], sizes.get(i, 0), *stamp) for i, centre in enumerate(centres)]
    return run.spark.createDataFrame(rows, struct_type(TABLES["centroids"].schema))


if __name__ == "__main__":
    cli.script("dedup")
