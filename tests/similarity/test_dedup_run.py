"""dedup run after run: new clips are compared with stored ones, and stored ones stay."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import dedup, filter
from jobs.config.settings import load
from jobs.lake import answers
from jobs.lake.declared import struct_type
from jobs.lake.fingerprints import fingerprint
from jobs.lake.history import Counts
from jobs.lake.run import Run
from jobs.similarity import dedup_run, linked, links
from schemas import TABLES
from tests.support.outputs import table, versions
from tests.support.two_settings import add
from tests.support.vectors import clip_ids, unit, write_embeddings
from udfs.similarity.kmeans import Floats

pytestmark = pytest.mark.spark
SET = ["dedup.rows_per_cluster=8", "dedup.rank=duration_s desc", "split.clip_len_s=2"]
GROUPS, OLD = 40, 400


def groups(num_rows: int, seed: int) -> Floats:
    """Rows far apart from each other, around directions that are still farther apart."""
    random = np.random.default_rng(seed)
    directions = np.random.default_rng(0).normal(size=(GROUPS, 24))
    return unit(directions[random.integers(0, GROUPS, num_rows)] + random.normal(size=(num_rows, 24)) * 0.7)


def run(spark: SparkSession, output: Path, *settings: str, refit: bool = False) -> Counts:
    made = Run(spark, str(output), load([], [*SET, *settings]))
    return dedup.run(made, dedup.Options(output="", refit=refit))


def duplicates(output: Path) -> pd.DataFrame:
    return pd.DataFrame(table(output, "duplicates")).sort_values("clip_id").set_index("clip_id")


def dropped(output: Path) -> dict[str, str]:
    found = duplicates(output)
    return dict(found[found["similarity"] >= 0.9]["duplicate_of"])


@pytest.fixture(scope="module")
def first(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One dedup run of 400 clips, in 50 clusters, of which the last 20 are copies of the first 20."""
    output = tmp_path_factory.mktemp("first") / "output"
    vectors = groups(OLD, 1)
    vectors[-20:] = vectors[:20]
    write_embeddings(output, clip_ids(OLD), vectors, SET, duration_s=[1000.0 - i for i in range(OLD)])
    assert run(spark, output) == Counts(OLD, OLD)
    return output


@pytest.fixture
def output(first: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(first, tmp_path / "output"))


def vectors_of(output: Path) -> dict[str, Floats]:
    return {row["clip_id"]: np.array(row["vector"]) for row in table(output, "embeddings")}


def test_a_first_run(spark: SparkSession, first: Path) -> None:
    ids = clip_ids(OLD)
    assert set(zip(ids[-20:], ids[:20], strict=True)) <= set(dropped(first).items())
    before = versions(first)
    assert not run(spark, first)
    assert {name: version for name, version in versions(first).items() if name != "runs"} == {
        name: version for name, version in before.items() if name != "runs"
    }


def test_a_second_run_finds_copies_of_the_first_and_rewrites_nothing(
    spark: SparkSession, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = duplicates(output)
    there = {name: DeltaTable(output / "tables" / name).file_uris() for name in ("assignments", "duplicates")}
    kept = [clip for clip in old.index if not old["similarity"][clip] >= 0.9]
    copied = kept[50:51] * 2
    vectors = vectors_of(output)
    fresh = clip_ids(len(copied), OLD)
    write_embeddings(output, fresh, np.stack([vectors[clip] for clip in copied]), SET, duration_s=9999.0)
    read = list[str]()
    compared = links.nearest_stored

    def watched(new: DataFrame, before: DataFrame, *rest: Any) -> Iterator[DataFrame]:
        for piece in compared(new, before, *rest):
            read.extend(piece.inputFiles())
            yield piece

    monkeypatch.setattr(links, "nearest_stored", watched)
    assert run(spark, output) == Counts(len(copied), len(copied))
    assert {clip: dropped(output)[clip] for clip in fresh} == dict(zip(fresh, copied, strict=True))
    assert duplicates(output).loc[old.index].equals(old)
    for name, files in there.items():
        assert set(files) <= set(DeltaTable(output / "tables" / name).file_uris())
    read_of_first = {Path(uri).name for uri in read} & {Path(uri).name for uri in there["assignments"]}
    assert 0 < len(read_of_first) < 0.1 * len(there["assignments"])
    grown = [Run(spark, str(output), load([], [*SET, f"dedup.refit_growth={times}"])) for times in (2.0, 1.001)]
    rows = dedup_run.rows_of_version(grown[0], "assignments", 1)
    sums = linked.Vectors(**linked.summed(rows, linked.sums_of_vectors(1)))
    assert [dedup._outgrown(each, sums) for each in grown] == [False, True]


@pytest.mark.nights
def test_several_runs_find_what_one_run_finds(spark: SparkSession, tmp_path: Path) -> None:
    vectors = groups(300, 2)
    vectors[200:220] = vectors[:20]
    vectors[250:260] = vectors[200:210]
    ids, length = clip_ids(300), [1000.0 - i for i in range(300)]
    probing = ("dedup.probe_clusters=64", "dedup.rows_per_cluster=40")
    for some in (slice(0, 200), slice(200, 300)):
        write_embeddings(tmp_path / "several", ids[some], vectors[some], SET, duration_s=length[some])
        run(spark, tmp_path / "several", *probing)
    write_embeddings(tmp_path / "once", ids, vectors, SET, duration_s=length)
    run(spark, tmp_path / "once", *probing)
    assert duplicates(tmp_path / "several")["dedup_run"].value_counts().to_dict() == {1: 200, 2: 100}
    assert len(dropped(tmp_path / "once")) >= 30
    assert dropped(tmp_path / "several") == dropped(tmp_path / "once")


@pytest.mark.nights
def test_what_was_linked_to_a_clip_that_fails_a_gate_is_placed_anew(spark: SparkSession, output: Path) -> None:
    ids = clip_ids(OLD)
    signals = pd.DataFrame(table(output, "signals"))
    signals["blackness"] = signals["clip_id"].isin(ids[:3]).astype(float)
    plain = DeltaTable(output / "tables" / "signals").to_pyarrow_table().schema
    write_deltalake(output / "tables" / "signals", pa.Table.from_pandas(signals, plain), mode="overwrite")
    before = dropped(output)
    assert before[ids[-20]] == ids[0]
    run(spark, output, "filter.black=true")
    after = dropped(output)
    assert not set(after) & set(ids[-20:-17])  # they stand now
    assert {clip: elder for clip, elder in after.items() if clip not in ids[-20:-17]} == {
        clip: elder for clip, elder in before.items() if elder not in ids[:3]
    }
    assert not set(ids[:3]) & set(duplicates(output).index)


@pytest.mark.nights
def test_new_centres_leave_the_clips_kept_before(spark: SparkSession, output: Path) -> None:
    before = dropped(output)
    known = vectors_of(output)
    vectors = np.concatenate([[known[clip] for clip in clip_ids(30)], groups(10, 3)])
    fresh = clip_ids(len(vectors), OLD)
    write_embeddings(output, fresh, vectors, SET, duration_s=9999.0)  # would all be kept first
    run(spark, output, refit=True)
    after = dropped(output)
    assert {clip: elder for clip, elder in after.items() if clip not in fresh} == before
    assert {clip: after[clip] for clip in fresh[:30]} == dict(zip(fresh[:30], clip_ids(30), strict=True))
    assert set(duplicates(output)["version"]) == {2}
    assert {row["version"] for row in table(output, "assignments")} == {2}
    assert {row["version"] for row in table(output, "centroids")} == {1, 2}


@pytest.mark.nights
def test_a_killed_run_is_taken_up(spark: SparkSession, output: Path) -> None:
    before = duplicates(output)
    for name in ("duplicates", "assignments"):  # which are written last
        shutil.rmtree(output / "tables" / name)
    assert run(spark, output) == Counts(OLD, OLD)
    assert duplicates(output).drop(columns="run_id").equals(before.drop(columns="run_id"))
    assert set(duplicates(output)["version"]) == {1}


@pytest.mark.nights
def test_a_killed_run_is_taken_up_without_clips_that_are_gone_since(spark: SparkSession, output: Path) -> None:
    ids, fresh = clip_ids(OLD), clip_ids(2, OLD)
    shutil.rmtree(output / "tables" / "duplicates")
    DeltaTable(output / "tables" / "signals").delete(f"clip_id = '{ids[0]}'")
    assert run(spark, output) == Counts(OLD - 1, OLD - 1)
    assert ids[0] not in duplicates(output).index
    assert ids[-20] not in dropped(output)
    write_embeddings(output, fresh, groups(1, 4)[[0, 0]], SET, duration_s=[2.0, 1.0])
    run(spark, output)
    assert dropped(output)[fresh[1]] == fresh[0]
    DeltaTable(output / "tables" / "duplicates").delete("dedup_run = 2")
    DeltaTable(output / "tables" / "signals").delete(f"clip_id = '{fresh[0]}'")
    assert run(spark, output) == Counts(1, 1)
    assert fresh[0] not in duplicates(output).index
    assert fresh[1] not in dropped(output)


@pytest.mark.nights
@pytest.mark.parametrize("kind", ["links dropped", "refit"])
def test_a_killed_run_leaves_no_clip_assigned_twice(spark: SparkSession, output: Path, kind: str) -> None:
    before, links, ids = duplicates(output), DeltaTable(output / "tables" / "duplicates"), clip_ids(OLD)
    if kind == "refit":
        run(spark, output, refit=True)
        DeltaTable(output / "tables" / "duplicates").restore(links.version())
    else:
        links.delete(f"clip_id IN {(*ids[-30:],)}")
    run(spark, output)
    assert sorted(row["clip_id"] for row in table(output, "assignments")) == sorted(ids)
    assert dropped(output) == dict(before[before["similarity"] >= 0.9]["duplicate_of"])


@pytest.mark.nights
def test_two_runs_at_once_store_each_center_and_each_vector_once(
    spark: SparkSession, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "is_only_writer", False)
    fresh = clip_ids(2, OLD)
    write_embeddings(output, fresh, groups(2, 5), SET)
    runs = [Run(spark, str(output), load([], SET)) for _ in range(2)]
    model = dedup_run.model(runs[0])
    with ExitStack() as stack:
        lands = [partial(made.store, stack) for made in runs]
        plans = [dedup_run.plan(made, model, land) for made, land in zip(runs, lands, strict=True)]
        stored = dedup_run.rows_of_version
        monkeypatch.setattr(dedup_run, "rows_of_version", lambda run, name, version: stored(run, name, 0))
        for made, plan, land in zip(runs, plans, lands, strict=True):
            dedup._assign(made, model, plan, land, every=False)  # neither sees what the other assigns
        assert [row["clip_id"] in fresh for row in table(output, "assignments")].count(True) == 2
        fitted = [dedup._fit(made, model, plan) for made, plan in zip(runs, plans, strict=True)]
    assert np.array_equal(fitted[0].centers, fitted[1].centers)
    assert [row["version"] for row in table(output, "centroids")].count(2) == len(fitted[0].centers)


@pytest.mark.nights
def test_a_clip_that_its_hashes_drop_is_no_vector_any_more(spark: SparkSession, output: Path) -> None:
    ids = clip_ids(OLD)
    made = Run(spark, str(output), load([], SET))
    stamp = (made.fingerprint("copies"), "x")
    rows = [(ids[0], ids[5], 3, 6.4, *stamp), *((clip, None, None, None, *stamp) for clip in ids[1:])]
    made.tables.append("copies", spark.createDataFrame(rows, struct_type(TABLES["copies"].schema)))
    assert run(spark, output).num_out == 2  # it, and its copy, which stands now
    found = duplicates(output)
    assert (found["method"][ids[0]], found["duplicate_of"][ids[0]]) == ("phash", ids[5])
    assert found["similarity"][ids[0]] == pytest.approx(0.9)
    assert ids[-20] not in dropped(output)


@pytest.mark.nights
def test_few_clips_and_none(spark: SparkSession, tmp_path: Path) -> None:
    assert not run(spark, tmp_path)
    assert not table(tmp_path, "duplicates")
    write_embeddings(tmp_path, clip_ids(2), np.zeros((2, 3)), SET)
    assert run(spark, tmp_path).num_out == 2
    assert not run(spark, tmp_path)
    write_embeddings(tmp_path, clip_ids(4, 2), np.array([[1.0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]]), SET)
    assert run(spark, tmp_path, "dedup.n_clusters=9").num_out == 6
    assert dropped(tmp_path) == {clip_ids(1, 4)[0]: clip_ids(1, 2)[0]}
    nowhere = duplicates(tmp_path)["cluster_id"].isna()
    assert nowhere[clip_ids(6)].tolist() == [True, True, False, False, False, True]


@pytest.mark.nights
def test_verdicts_name_who_stands_for_whom_at_any_eps(spark: SparkSession, output: Path) -> None:
    ids = clip_ids(6)
    links = [(1, 0, 0.95), (2, 1, 0.97), (3, 2, 0.995), (4, None, None), (5, 4, 0.8)]
    made = Run(spark, str(output), load([], SET))
    rows = [(ids[clip], None if of is None else ids[of], similarity) for clip, of, similarity in links]
    stamp = {"method": "semantic", "version": 1, "dedup_run": 1, "fingerprint": "x", "run_id": "x", "cluster_id": 0}
    found = spark.createDataFrame(rows, "clip_id string, duplicate_of string, similarity double")
    found = found.withColumns({name: F.lit(value) for name, value in stamp.items()}).withColumn(
        "distance_to_centroid", F.lit(0.0)
    )
    made.tables.replace("duplicates", found)
    for eps, wanted in ((0.1, {1: 0, 2: 0, 3: 0}), (0.04, {2: 1, 3: 1}), (0.01, {3: 2})):
        filter.run(Run(spark, str(output), load([], [*SET, f"filter.duplicate_eps={eps}"])), filter.Options(output=""))
        verdicts = {row["clip_id"]: row for row in table(output, "verdicts")}
        told = {clip: row["duplicate_of"] for clip, row in verdicts.items() if row["duplicate_of"]}
        assert {ids.index(clip): ids.index(elder) for clip, elder in told.items()} == wanted
        assert all(row["kept"] == (row["duplicate_of"] is None) for row in verdicts.values())


@pytest.mark.nights
def test_views_for_an_audit(spark: SparkSession, output: Path) -> None:
    made = Run(spark, str(output), load([], SET))
    videos = spark.createDataFrame([(clip, f"{clip}.mp4") for clip in clip_ids(OLD)], "video_id string, uri string")
    blank = [
        F.lit(None).cast(f.dataType).alias(f.name)
        for f in struct_type(TABLES["videos"].schema)
        if f.name not in videos.columns
    ]
    made.tables.replace("videos", videos.select("*", *blank).fillna("x").fillna(1))
    filter.run(made, filter.Options(output=""))
    answers.register(made)
    found = {row["clip_id"]: row for row in spark.table("duplicate_groups").collect()}
    members = {member["clip_id"]: clip for clip, row in found.items() for member in row["members"]}
    assert members == dropped(output)
    assert all(row["num_duplicates"] == row["num_videos"] == len(row["members"]) for row in found.values())
    assert spark.table("shared_footage").count() == len(members)
    counts = spark.table("similarity_histogram").selectExpr("sum(num_clips)", "sum(num_duplicates)").first()
    assert counts is not None
    assert counts[1] == len(members) <= counts[0] <= OLD


@pytest.mark.nights
def test_no_clip_that_a_gate_drops_stands_for_one_that_passes(spark: SparkSession, tmp_path: Path) -> None:
    """Clips a and b are alike, c is a copy of a by its hashes, e of d; a and d rank first."""

    def verdicts(*settings: str) -> dict[str, tuple[str, ...]]:
        run(spark, tmp_path, *settings)
        made = Run(spark, str(tmp_path), load([], [*SET, *settings]))
        filter.run(made, filter.Options(output=""))
        return {row["clip_id"]: tuple(row["reasons"]) for row in table(tmp_path, "verdicts")}

    rows = unit(np.array([[1.0, 0, 0, 0], [1, 0.01, 0, 0], [1, 0, 0.01, 0], [0, 0, 0, 1], [0, 0, 0.01, 1]]))
    write_embeddings(tmp_path, list("abcde"), rows, SET, duration_s=[9.0, 8.0, 7.0, 6.0, 5.0], width=[1, 2, 3, 4, 5])
    made = {"copies": {"fingerprint": fingerprint("copies", load([], SET))}}
    made["aesthetic"] = {"fingerprint": fingerprint("aesthetic", load([], SET))}
    copies = {"a": None, "b": None, "c": "a", "d": None, "e": "d"}
    add(
        tmp_path,
        "copies",
        [made["copies"] | {"clip_id": c, "copy_of": of, "distance": 1.0} for c, of in copies.items()],
    )
    scores = {"a": 1.0, "b": 9.0, "c": 9.0, "d": 1.0, "e": 9.0}
    add(tmp_path, "aesthetics", [made["aesthetic"] | {"clip_id": c, "score_min": score} for c, score in scores.items()])
    copy = ("duplicate",)
    assert verdicts() == {"a": (), "b": copy, "c": copy, "d": (), "e": copy}
    low = ("aesthetic_low",)
    assert verdicts("filter.aesthetic=true") == {"a": low, "b": (), "c": copy, "d": low, "e": ()}
    where = ("where",)
    found = verdicts("filter.where=c.width > 1")  # a copy that is to be compared again is a vector till then
    assert found == {"a": where, "b": (), "c": copy, "d": (), "e": copy}
    assert verdicts("filter.where=c.clip_id = 'a'") == {
        "a": (),
        **dict.fromkeys("bd", where),
        **dict.fromkeys("ce", where + copy),
    }
    assert [clip for clip, reasons in sorted(verdicts().items()) if not reasons] == ["a", "d"]


@pytest.mark.nights
@pytest.mark.parametrize("rank", ["hard", "easy"])
def test_new_centers_drop_no_clip_for_one_that_was_dropped(spark: SparkSession, tmp_path: Path, rank: str) -> None:
    random = np.random.default_rng(7)
    vectors = np.repeat(groups(60, 5), 2, axis=0)
    vectors = unit(vectors + unit(random.normal(size=vectors.shape)) * 0.15)
    write_embeddings(tmp_path, clip_ids(120), vectors, SET)
    settings = (f"dedup.rank={rank}", "dedup.probe_clusters=64")
    run(spark, tmp_path, *settings)
    before = set(dropped(tmp_path))
    write_embeddings(tmp_path, clip_ids(200, 120), groups(200, 6), SET)
    run(spark, tmp_path, *settings, refit=True)
    after = dropped(tmp_path)
    assert len(before) >= 40
    assert not {clip for clip, kept in after.items() if clip not in before and kept in before}
    assert before <= set(after)
