"""copies: clips, signals -> copies"""

from __future__ import annotations

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
from udfs.similarity import ranking

Options = StageOptions  # this job takes no others


def check(options: Options, settings: Settings) -> None:
    """Refuse settings that require more frames to agree than there are."""
    asked, there = settings.copies.min_agree, settings.phash.num_frames
    if settings.analyze.phash and asked > there:
        raise SettingsError(f"copies.min_agree: {asked} frames cannot agree where phash.num_frames = {there}")


def run(run: Run, options: Options) -> Counts:
    """Find the new clips that are copies of each other or of clips kept before; those kept before stay."""
    started = history.now()
    if run.tables.exists("copies") and copy_groups.pending(run).isEmpty():
        return history.note_settings(run, "copies")
    rank = ranking.columns(run.settings.copies.rank)
    asked = copy_groups.compared(run).where(F.col("new") | F.col("copy_of").isNull())
    clips = asked.select("clip_id", *rank, "new", phash_lsh.numbers(F.col("phash")).alias("hashes"))
    with run.tables.landing(f"{run.run_id}-ranked") as land, run.tables.landing(f"{run.run_id}-copies") as land_rows:
        ranked = land(phash_lsh.ranked(clips, rank))
        total = run.tables.append(
            "copies", land_rows(_rows(run, ranked)), upsert=True
        )  # replaces rows that are not valid any more
    history.note(run, "copies", Work(started_at=started, num_in=total, num_out=total))
    return Counts(total, total)


def _rows(run: Run, ranked: DataFrame) -> DataFrame:
    """One row per new clip."""
    compared = (
        ranked.where("new")
        .select("clip_id")
        .join(phash_lsh.stand_ins(ranked, run.settings.copies), on="clip_id", how="left")
    )
    stamp = {"fingerprint": F.lit(run.fingerprint("copies")), "run_id": F.lit(run.run_id)}
    return compared.withColumns(stamp).select(*TABLES["copies"].schema.names)


if __name__ == "__main__":
    from jobs.cli import script

    script("copies")
