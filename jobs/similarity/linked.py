"""Counts of the rows that dedup has stored: a chain notes them, so that the next run need not read all these rows."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.lake.run import Run

TABLES = ("centroids", "assignments", "duplicates")  # of dedup


class Links(NamedTuple):
    """How many links `duplicates` has by a version of the centers."""

    num_links: int
    num_vector_links: int  # of these, not by hashes
    number: int  # of the next dedup run


class Vectors(NamedTuple):
    """How many vectors `assignments` has by a version of the centers, and how far they are from them."""

    num_vectors: int
    num_fitted: int  # of these, those that the centers were fitted to
    num_placed: int  # of all, those with a center: a vector of zeros has none
    distance: float  # of these, the sum
    fitted_distance: float  # of those that the centers were fitted to, the mean

    @property
    def growth(self) -> float:
        """Vectors over those that the centers were fitted to."""
        return self.num_vectors / self.num_fitted if self.num_fitted else 1.0

    @property
    def drift(self) -> float:
        """The mean distance over that of the vectors that the centers were fitted to."""
        return self.distance / self.num_placed / max(self.fitted_distance, 1e-6) if self.num_placed else 1.0

    def with_new(self, new: Vectors) -> Vectors:
        """These and vectors that the centers were not fitted to."""
        sums = (self.num_placed + new.num_placed, self.distance + new.distance)
        return Vectors(self.num_vectors + new.num_vectors, self.num_fitted, *sums, self.fitted_distance)


class Linked(NamedTuple):
    """What a chain notes, by the settings and the version of the centers that it is true of."""

    fingerprint: str
    version: int
    links: Links
    vectors: Vectors


def sums_of_links(number: int) -> dict[str, Column]:
    """The fields of `Links` as sums over rows of `duplicates`; `number` is that of the first dedup run."""
    by_vector = F.col("method") != "phash"
    next_number = F.coalesce(F.max("dedup_run") + 1, F.lit(number))
    return dict(zip(Links._fields, (F.count("*"), F.count_if(by_vector), next_number), strict=True))


def sums_of_vectors(version: int) -> dict[str, Column]:
    """The fields of `Vectors` as sums over rows of `assignments`."""
    distance, old = F.col("distance_to_centroid"), F.col("dedup_run") <= version
    mean = F.coalesce(F.avg(F.when(old, distance)), F.lit(0.0))
    counts = (F.count("*"), F.count_if(old), F.count(distance), F.coalesce(F.sum(distance), F.lit(0.0)), mean)
    return dict(zip(Vectors._fields, counts, strict=True))


def summed(rows: DataFrame, sums: dict[str, Column]) -> dict[str, Any]:
    """Sums over rows, by one query."""
    [row] = rows.agg(*(value.alias(name) for name, value in sums.items())).collect()
    return row.asDict()


def noted(run: Run, version: int) -> Linked | None:
    """What the last chain noted of this version of the centers.

    None if it noted nothing, the tables may be others now, or others may write.
    """
    if run.last.linked is None or not (run.is_only_writer and run.last.are_untouched(run.tables, TABLES)):
        return None
    fingerprint, of_version, links, vectors = json.loads(run.last.linked)
    if (fingerprint, of_version) != (run.fingerprint("dedup"), version):
        return None
    return Linked(fingerprint, of_version, Links(*links), Vectors(*vectors))


def note(run: Run, version: int, links: Links, vectors: Vectors) -> None:
    """Let the end of the chain note these counts."""
    run.last.linked = json.dumps(Linked(run.fingerprint("dedup"), version, links, vectors))
