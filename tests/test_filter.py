"""filter: published thresholds, gates that are off by default, and SQL that names failed gates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from jobs import filter
from jobs.config.errors import SettingsError
from jobs.config.settings import load
from jobs.lake.run import Run
from tests.support.outputs import table
from tests.support.two_settings import add
from tests.support.vectors import write_embeddings
from udfs.core.errors import RunError
from udfs.filter import Gate, Params, duplicate_sql, gates, reasons_sql, signal_gates

SCORED = (
    "SELECT 640 AS width, 360 AS height, CAST({motion} AS double) AS motion_score_global_mean, "
    "0.5D AS motion_score_per_patch_min_256, 0.9D AS blackness, 0.0D AS freeze, 100.0D AS blur, "
    "array(0, 45, 640, 270) AS letterbox, CAST(NULL AS double) AS aesthetic_score, {of} AS duplicate_of"
)


def reasons(spark: SparkSession, params: Params, motion: str = "0.5", of: str = "NULL") -> list[str]:
    """The reasons that the SQL finds for one clip."""
    row = spark.sql(
        f"SELECT {reasons_sql(gates(params), params)} AS r FROM ({SCORED.format(motion=motion, of=of)})"
    ).first()
    assert row is not None
    return list(row["r"])


def test_only_duplicates_are_dropped_by_default() -> None:
    assert gates(Params()) == []
    assert Params().duplicates


def test_thresholds_are_the_published_ones() -> None:
    assert Params().motion_global_mean_threshold == 0.00098
    assert Params().motion_per_patch_min_256_threshold == 0.000001
    assert Params().aesthetic_threshold == 3.5


def test_dear_stages_do_not_wait_for_other_dear_stages() -> None:
    every = Params(motion=True, aesthetic=True, black=True, frozen=True, blurred=True, letterboxed=True)
    assert {g.reason for g in gates(every)} - {g.reason for g in signal_gates(every)} == {"aesthetic_low"}


def test_no_eps_is_over_the_levels_that_dedup_has_looked_at() -> None:
    for override in ("filter.duplicate_eps=0.2", "dedup.levels=[0.01]"):
        with pytest.raises(
            SettingsError, match=r"^filter\.duplicate_eps: 0\.[12] is over the last of dedup\.levels, 0\.0?1$"
        ):
            filter.check(filter.Options(output=""), load([], [override]))
    filter.check(filter.Options(output=""), load([], ["filter.duplicate_eps=0.2", "dedup.levels=[0.3]"]))


@pytest.mark.spark
@pytest.mark.parametrize(
    ("method", "similarity", "is_one"), [("semantic", 0.9, True), ("semantic", 0.89, False), ("phash", 0.5, True)]
)
def test_an_eps_says_which_are_duplicates(spark: SparkSession, method: str, similarity: float, is_one: bool) -> None:
    link = f"SELECT 'x' AS duplicate_of, '{method}' AS method, {similarity}D AS similarity"
    row = spark.sql(f"SELECT {duplicate_sql(Params())} AS is_one FROM ({link})").first()
    assert row is not None
    assert row["is_one"] == is_one


@pytest.mark.spark
def test_a_clip_keeps_every_reason_that_speaks_against_it(spark: SparkSession) -> None:
    assert reasons(spark, Params(motion=True, black=True), motion="0.0001", of="'x'") == [
        "motion_global_mean_low",
        "black",
        "duplicate",
    ]


@pytest.mark.spark
def test_nothing_speaks_against_a_clip_when_no_gate_is_on(spark: SparkSession) -> None:
    assert reasons(spark, Params(duplicates=False), motion="0", of="'x'") == []


@pytest.mark.spark
@pytest.mark.parametrize(("unscored", "expected"), [("keep", []), ("drop", ["motion_score_global_mean_missing"])])
def test_a_missing_score_is_no_bad_score(spark: SparkSession, unscored: str, expected: list[str]) -> None:
    assert reasons(spark, Params(motion=True, unscored=unscored), motion="NULL") == expected  # type: ignore[arg-type]


@pytest.mark.spark
@pytest.mark.parametrize(
    ("motion", "of", "method", "expected"),
    [
        ("0.5", "NULL", "NULL", ["aesthetic_score_missing", "level_missing"]),
        ("0.0001", "NULL", "NULL", ["motion_global_mean_low"]),
        ("NULL", "NULL", "NULL", ["motion_score_global_mean_missing"]),
        ("0.5", "'x'", "'phash'", ["duplicate"]),
        ("0.5", "'x'", "'semantic'", ["aesthetic_score_missing", "level_missing", "duplicate"]),
    ],
)
def test_a_score_is_not_missing_where_no_model_was_asked(
    spark: SparkSession, motion: str, of: str, method: str, expected: list[str]
) -> None:
    params = Params(motion=True, aesthetic=True, unscored="drop")
    every = [*gates(params), Gate("own", "level", "NOT (level > 1)")]
    scored = f"{SCORED.format(motion=motion, of=of)}, CAST(NULL AS double) AS level, {method} AS link_method"
    row = spark.sql(f"SELECT {reasons_sql(every, params)} AS r FROM ({scored})").first()
    assert row is not None
    assert row["r"] == expected


@pytest.mark.spark
@pytest.mark.parametrize(("threshold", "expected"), [(0.7, []), (0.8, ["letterboxed"])])
def test_bars_are_measured_by_the_share_of_the_picture(
    spark: SparkSession, threshold: float, expected: list[str]
) -> None:
    assert reasons(spark, Params(letterboxed=True, picture_share_threshold=threshold)) == expected


@pytest.mark.spark
def test_a_duplicate_that_passes_takes_the_place_of_a_clip_that_a_newer_threshold_drops(
    spark: SparkSession, tmp_path: Path
) -> None:
    write_embeddings(tmp_path, list("abcdefg"), np.ones((7, 2)), width=[1, 2, 3, 1, 2, 1, 2])
    links = {"b": ("a", 0.95), "c": ("a", 0.97), "d": ("a", 0.99), "e": ("b", 0.99), "g": ("f", 0.5)}
    link = {"method": "semantic", "version": 1, "dedup_run": 1}
    rows = [{"clip_id": clip, "duplicate_of": of, "similarity": similarity} for clip, (of, similarity) in links.items()]
    add(tmp_path, "duplicates", [link | row for row in rows])

    def judged(*settings: str) -> dict[str, tuple[list[str], str | None]]:
        filter.run(Run(spark, str(tmp_path), load([], list(settings))), filter.Options(output=""))
        return {row["clip_id"]: (row["reasons"], row["duplicate_of"]) for row in table(tmp_path, "verdicts")}

    kept: tuple[list[str], str | None] = ([], None)
    of_a, of_e = ((["duplicate"], clip) for clip in "ae")
    assert judged() == {"a": kept, **dict.fromkeys("bcde", of_a), "f": kept, "g": kept}
    assert judged("filter.where=c.width > 1") == {
        "a": (["where"], None),
        "b": of_e,
        "c": of_e,
        "d": (["where", "duplicate"], "e"),
        "e": kept,
        "f": (["where"], None),
        "g": kept,
    }
    assert judged("filter.where=c.width > 9")["b"] == (["where", "duplicate"], "a")
    assert judged()["e"] == of_a


@pytest.mark.spark
def test_links_that_lead_in_a_circle_end_the_run_in_one_line(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filter, "MAX_LINKS", 4)
    write_embeddings(tmp_path, list("abc"), np.ones((3, 2)))
    link = {"method": "semantic", "version": 1, "dedup_run": 1, "similarity": 0.99}
    add(tmp_path, "duplicates", [link | {"clip_id": a, "duplicate_of": b} for a, b in ("ab", "bc", "ca")])
    with pytest.raises(RunError, match=r"in a circle; .*reelmill dedup --output .* --refit links all clips again"):
        filter.run(Run(spark, str(tmp_path), load([], [])), filter.Options(output=""))
