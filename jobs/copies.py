"""copies: clips, signals -> copies"""

from __future__ import annotations

import logging

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.arguments import StageOptions
from jobs.config.errors import SettingsError
from jobs.config.settings import Settings
from jobs.lake import history
from jobs.lake.history import Counts, Work
from jobs.lake.run import Run
from jobs.similarity import copy_groups, phash_lsh
from schemas import TABLES
from udfs.core.words import counted
from udfs.similarity import ranking

log = logging.getLogger("reelmill")

Options = StageOptions  # this job takes no others


def check(options: Options, settings: Settings) -> None:
    """Refuse settings that require more frames to agree than there are."""
    min_agree, num_frames = settings.copies.min_agree, settings.phash.num_frames
    if settings.analyze.phash and min_agree > num_frames:
        raise SettingsError(f"copies.min_agree: {min_agree} frames cannot agree where phash.num_frames = {num_frames}")


def run(run: Run, options: Options) -> Counts:
    """Find the new clips that are copies of each other or of kept clips; kept clips stay."""
    started = history.now()
    if run.tables.exists("copies") and copy_groups.pending(run).isEmpty():
        return history.note_settings(run, "copies")
    rank = ranking.columns(run.settings.copies.rank)
    new_or_kept = copy_groups.with_copies(run).where(F.col("new") | F.col("copy_of").isNull())
    clips = new_or_kept.select("clip_id", *rank, "new", phash_lsh.numbers(F.col("phash")).alias("hashes"))
    with run.tables.landing(f"{run.run_id}-ranked") as land, run.tables.landing(f"{run.run_id}-copies") as land_rows:
        ranked = land(phash_lsh.rank_order(clips, rank))
        log.info("copies: %s to compare", counted(ranked.where("new").count(), "clip"))
        rows = land_rows(_rows(run, ranked))
        num_copies = rows.where(F.col("copy_of").isNotNull()).count()
        total = run.tables.upsert("copies", rows).total  # replaces rows that are no longer valid
    log.info(
        "copies: %s compared in %.1f s, %s found",
        *(counted(total, "clip"), history.seconds_since(started), counted(num_copies, "copy", "copies")),
    )
    history.note(run, "copies", Work(started_at=started, num_in=total, num_out=total))
    return Counts(total, total)


def _rows(run: Run, clips: DataFrame) -> DataFrame:
    """Rows of `copies`, one per new clip of `phash_lsh.rank_order`."""
    links = phash_lsh.copy_links(clips, run.settings.copies)
    rows = clips.where("new").select("clip_id").join(links, on="clip_id", how="left")
    stamp = {"fingerprint": F.lit(run.fingerprint("copies")), "run_id": F.lit(run.run_id)}
    return rows.withColumns(stamp).select(*TABLES["copies"].schema.names)


if __name__ == "__main__":
    from jobs.cli import script

    script("copies")
