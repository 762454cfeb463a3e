"""copies: clips, signals, spans, videos, labels, verdicts, copy_keys -> copies, copy_keys"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.config.arguments import StageOptions
from jobs.config.errors import SettingsError
from jobs.config.settings import Settings
from jobs.flow.steps import step
from jobs.lake import clock, history
from jobs.lake.history import Counts, Work
from jobs.lake.landing import Land, landed
from jobs.lake.run import Run
from jobs.similarity import copy_groups, copy_keys, phash_lsh
from jobs.spark import session
from schemas import TABLES
from udfs.core.words import counted
from udfs.filter import where_gate
from udfs.similarity import ranking

log = logging.getLogger("reelmill")

Options = StageOptions  # this job takes no others
MANY, MANY_LEVELS = 10_000, 3  # new clips; levels of stored keys


def check(options: Options, settings: Settings) -> None:
    """Refuse settings that require more frames to agree than there are."""
    min_agree, num_frames = settings.copies.min_agree, settings.phash.num_frames
    if settings.analyze.phash and min_agree > num_frames:
        raise SettingsError(f"copies.min_agree: {min_agree} frames cannot agree where phash.num_frames = {num_frames}")


def run(run: Run, options: Options, new: DataFrame | None = None, *, have_rows: bool = True) -> Counts:
    """Find the new clips that are copies of each other or of kept clips; kept clips stay.

    `new` are clips that pass the gates (clip_id, phash, the columns of `copies.rank` and, where
    `filter.where` is set, accepted), none of which has a row by these settings; by default all that
    have no valid row, for which every clip is looked at.
    """
    started = clock.now()
    rank = ranking.columns(run.settings.copies.rank)
    if where_gate(run.settings.filter):  # a clip that it drops stands for none that passes
        rank = {"accepted": False} | rank
    pending = copy_groups.pending(run) if new is None else new
    hashes = phash_lsh.numbers(F.col("phash")).alias("hashes")
    with ExitStack() as stack:
        stack.enter_context(step(run, "copies"))
        land = partial(run.store, stack)
        ranked = phash_lsh.rank_order(pending.select("clip_id", *rank, hashes), rank)
        is_like_another = F.col("place") != F.col("first")
        is_first = phash_lsh.is_first(run.settings.copies)
        sums = {"all": F.count("*"), "alike": F.count_if(is_like_another), "firsts": F.count_if(is_first)}
        clips, counts = landed(land, "ranked", ranked, **sums)
        num_clips = counts["all"]
        if not num_clips and run.tables.exists("copies"):
            return history.note_settings(run, "copies")
        log.info("copies: %s to compare", counted(num_clips, "clip"))
        copy_keys.fill(run, land)
        stored = copy_keys.size(run.tables)
        if num_clips > MANY or stored.num_levels > MANY_LEVELS:
            stack.enter_context(session.compiled(run.spark))
        rows, num_copies = _rows(run, clips, counts, stored, land)
        if have_rows:  # of other settings, or no longer valid
            total = run.tables.upsert("copies", rows, num_clips).total
        else:
            total = run.tables.insert("copies", rows, num_clips)
    log.info(
        "copies: %s compared in %.1f s, %s found",
        *(counted(total, "clip"), clock.seconds_since(started), counted(num_copies, "copy", "copies")),
    )
    history.note(run, "copies", Work(started_at=started, num_in=total, num_out=total))
    return Counts(total, total)


def _rows(run: Run, clips: DataFrame, num: dict[str, int], stored: copy_keys.Size, land: Land) -> tuple[DataFrame, int]:
    """Rows of `copies`, one per clip of `phash_lsh.rank_order`, and how many are copies.

    The keys of those that are kept are stored. Of the clips there are `all`, and some are `alike`:
    they have the very same hashes as an earlier one; `firsts` are compared.
    """
    params, num_frames = run.settings.copies, run.settings.phash.num_frames
    firsts = phash_lsh.firsts(clips, params)
    keys = phash_lsh.with_keys(firsts, params, num_frames)
    most_keys = num["firsts"] * phash_lsh.num_keys(params, num_frames)
    num_rows, with_key = most_keys, None
    if stored.num_files:
        with_key = copy_keys.matching(run, keys, stored, land)
        if not stored.is_small:
            with_key, of_stored = landed(land, "stored", with_key, rows=F.count("*"))
            num_rows += of_stored["rows"]
    agreeing = phash_lsh.agreeing(keys, with_key, num_rows, params, num_frames)
    sums = {"all": F.count("*"), "stored": F.count("copy_of"), "full": F.count("full")}
    found, num_found = landed(land, "pairs", agreeing, **sums)
    kept, links, num_links = firsts, run.spark.createDataFrame([], phash_lsh.LINK), 0
    if num_found["all"] > num_found["full"] or num["alike"]:
        pairs = found.where(F.col("full").isNull())
        if num_found["stored"]:  # also by another run that compares the same clips: none is a copy of itself
            new = clips.select(F.col("clip_id").alias("copy_of"))
            pairs = copy_keys.with_kept(run, pairs.join(new, on="copy_of", how="left_anti"))
        linked = phash_lsh.copy_links(clips, pairs, params, land)
        links, of_links = landed(land, "links", linked, rows=F.count("*"))
        kept, num_links = firsts.join(links.select("clip_id"), on="clip_id", how="left_anti"), of_links["rows"]
    kept_keys = phash_lsh.with_keys(kept, params, num_frames)
    if num_found["full"]:
        full = found.where(F.col("full").isNotNull()).select(F.col("later").alias("place"), F.col("full").alias("key"))
        kept_keys = kept_keys.join(full, on=["place", "key"], how="left_anti")
        _log_full(run, full)
    if with_key is not None and num_found["stored"]:  # perhaps by a run that was killed before it stored its rows
        kept_keys = kept_keys.join(with_key.select("key", "clip_id"), on=["key", "clip_id"], how="left_anti")
        kept_keys = land("keys", kept_keys)  # else what adds them reads the same table
    copy_keys.add(run, kept_keys, most_keys)
    stamp = {"fingerprint": F.lit(run.fingerprint("copies")), "run_id": F.lit(run.run_id)}
    rows = clips.select("clip_id").join(links, on="clip_id", how="left").withColumns(stamp)
    return rows.select(*TABLES["copies"].schema.names), num_links


def _log_full(run: Run, full: DataFrame) -> None:
    """Say what was not compared, since buckets were full."""
    row = full.agg(F.countDistinct("place").alias("clips"), F.countDistinct("key").alias("keys")).first()
    assert row is not None
    log.info(
        "copies: %d keys are shared by more than copies.max_bucket = %d clips: there, %d new clips were compared "
        "with the first %d alone, and copies that share no other key may be missed",
        row["keys"],
        run.settings.copies.max_bucket,
        row["clips"],
        run.settings.copies.max_bucket,
    )


if __name__ == "__main__":
    from jobs.cli import script

    script("copies")
