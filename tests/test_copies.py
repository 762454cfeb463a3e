"""copies: clips that are near-copies by their hashes are linked to those that are kept, and skipped by models."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from pyspark.sql import SparkSession

from jobs import cli, copies
from jobs.config.settings import load
from jobs.lake.declared import struct_type
from jobs.lake.fingerprints import fingerprint
from jobs.lake.run import Run
from schemas import TABLES
from tests.support import clips, reels
from tests.support.footage import write_numbered
from tests.support.outputs import CURATED, table
from tests.support.two_settings import add
from udfs.copies import Pair, Params, copy_links, rows
from udfs.signals import phash

Hashes = tuple[int | None, ...]  # of a clip; None says nothing
Found = dict[int, tuple[int, int, float]]  # the place of a clip -> that of its stand-in, frames that agree, bits


def compared(a: Hashes, b: Hashes, params: Params) -> tuple[int, float] | None:
    """Frames that agree and their mean distance in bits, if enough do."""
    both = [(x ^ y).bit_count() for x, y in zip(a, b, strict=False) if x is not None and y is not None]
    near = [bits for bits in both if bits <= params.max_distance]
    return (len(near), sum(near) / len(near)) if len(near) >= params.min_agree else None


def expected(ranked: Sequence[Hashes], num_old: int, params: Params) -> Found:
    """The rule itself: every clip is compared with every earlier one that is kept.

    Clips of equal hashes go where the first of them goes.
    """
    kept, found = list(range(num_old)), Found()
    for place in range(num_old, len(ranked)):
        first = ranked.index(ranked[place])
        candidates = [first] if first < place and first in kept else [earlier for earlier in kept if earlier <= first]
        seen = [
            (*agree, earlier) for earlier in candidates if (agree := compared(ranked[place], ranked[earlier], params))
        ]
        if seen:
            num_agree, bits, earlier = min(seen, key=lambda s: (-s[0], s[1], s[2]))
            found[place] = earlier, num_agree, bits
        else:
            kept.append(place)
    return found


def pairs(ranked: Sequence[Hashes], params: Params) -> list[Pair]:
    """All that agree, in the order that `copy_links` takes."""
    found = [
        Pair(later, earlier, *agree)
        for later in range(len(ranked))
        for earlier in range(later)
        if (agree := compared(ranked[later], ranked[earlier], params))
    ]
    return sorted(found, key=lambda p: (p.later, -p.num_agree, p.distance, p.earlier))


NEAR = st.lists(st.tuples(*[st.integers(0, 31)] * 3), max_size=14, unique=True)  # few bits: many of them agree


@given(NEAR, st.integers(0, 3), st.integers(1, 3))
def test_the_greedy_choice_is_the_rule(ranked: list[Hashes], max_distance: int, min_agree: int) -> None:
    params = Params(max_distance=max_distance, min_agree=min_agree)
    found = {p.later: (p.earlier, p.num_agree, p.distance) for p in copy_links(pairs(ranked, params), set())}
    assert found == expected(ranked, 0, params)
    assert not {earlier for earlier, _, _ in found.values()} & found.keys()  # a clip with copies is kept


def test_no_pairs_drop_nothing() -> None:
    assert list(copy_links([], set())) == []
    assert list(rows([])) == []


def test_the_last_of_a_chain_is_kept_when_it_is_like_none_that_is_kept() -> None:
    assert list(copy_links([Pair(1, 0, 4, 2.0), Pair(2, 1, 4, 2.0)], set())) == [Pair(1, 0, 4, 2.0)]


def test_a_clip_is_a_copy_of_the_kept_clip_that_agrees_best() -> None:
    of_three = [Pair(1, 0, 3, 1.0), Pair(3, 1, 4, 0.0), Pair(3, 2, 3, 1.0), Pair(3, 0, 3, 2.0)]
    assert list(copy_links(of_three, set())) == [of_three[0], of_three[2]]  # 1 is nearer, but dropped itself


def test_batches_break_anywhere() -> None:
    every = pd.DataFrame([Pair(1, 0, 4, 2.0), Pair(2, 1, 4, 2.0), Pair(3, 2, 4, 1.0), Pair(3, 1, 4, 2.0)])
    whole = [row for batch in rows([every]) for row in batch.itertuples(index=False, name=None)]
    assert whole == [
        row for batch in rows([every[:1], every[1:3], every[3:]]) for row in batch.itertuples(index=False, name=None)
    ]
    assert [row[:2] for row in whole] == [(1, 0), (3, 2)]


@pytest.mark.parametrize("rank", ["hard", "random", "easy"])
def test_a_ranking_by_vectors_is_refused_in_a_line(rank: str) -> None:
    with pytest.raises(ValidationError, match="name columns of clips, such as 'height desc, num_bytes desc'"):
        Params(rank=rank)


def test_more_frames_than_there_are_cannot_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_numbered(tmp_path / "a.mp4", 5)
    for job in (["copies"], ["curate", "--manifest", str(tmp_path / "a.mp4")]):
        assert cli.main([*job, "--output", str(tmp_path / "output"), "--set", "phash.num_frames=2"]) == 2
        assert "copies.min_agree: 4 frames cannot agree where phash.num_frames = 2" in capsys.readouterr().err
    assert not (tmp_path / "output").exists()


def test_real_footage_made_smaller_is_a_copy_and_other_footage_is_not(tmp_path: Path) -> None:
    shots = [reels.shot(number)[:50] for number in (0, 1, 2, 3)]
    large = [hashed(clips.write(tmp_path / f"{i}.mp4", shot, fps=25)) for i, shot in enumerate(shots)]
    small = [hashed(write_smaller(tmp_path / f"{i}-small.mp4", shot)) for i, shot in enumerate(shots)]
    for i, a in enumerate(large):
        assert [compared(a, b, Params()) is not None for b in small] == [i == j for j in range(len(shots))]
        assert [compared(a, b, Params()) is not None for b in large] == [i == j for j in range(len(shots))]


def hashed(path: Path) -> Hashes:
    found = clips.observe(path, phash.Observer(phash.Params(), clips.row(path), clips.env(path.parent)))
    return tuple(int(digits, 16) for digits in found["phash"])


def write_smaller(path: Path, pictures: Iterable[clips.Picture]) -> Path:
    """Encoded at 0.6 times the size, and worse."""
    small = [np.asarray(Image.fromarray(picture).resize((192, 108))) for picture in pictures]
    return clips.write(path, small, fps=25, options={"crf": "30"})


ONE, TWO = ("0123456789abcdef", "fedcba9876543210", "00ff00ff00ff00ff", "f0f0f0f00f0f0f0f"), ("5555aaaa3333cccc",) * 4
NEAR_ONE, BLACK = (*ONE[:3], "0f0f0f0ff0f0f0f0"), ("8000000000000000",) * 4
FAR_FROM_TWO = (*TWO[:2], "aaaa5555cccc3333", "aaaa5555cccc3333")  # shares a key with it, and does not agree


def arrive(run: Run, **clips: tuple[int, Sequence[str], float]) -> None:
    """New clips, by name: height, hashes, share of black frames."""
    for name, stage in (("spans", "split"), ("clips", "clip"), ("signals", "analyze")):
        schema = struct_type(TABLES[name].schema)
        rows = []
        for clip_id, (height, hashes, blackness) in clips.items():
            told = {
                "clip_id": clip_id,
                "video_id": "v",
                "height": height,
                "phash": list(hashes),
                "blackness": blackness,
            }
            told |= {"end_s": 1.0, "fingerprint": run.fingerprint(stage), "run_id": run.run_id}
            rows.append(
                tuple(told.get(f.name, None if f.nullable else ZERO[f.dataType.simpleString()]) for f in schema)
            )
        run.tables.add(name, run.spark.createDataFrame(rows, schema))


ZERO = {"string": "", "double": 0.0, "bigint": 0, "int": 0, "boolean": False}


def stood_for(run: Run) -> dict[str, str | None]:
    """The clips that have a row, and who stands for them, after the job has run; each has one row."""
    copies.run(run, copies.Options(output=""))
    found = table(Path(run.output), "copies")
    assert len({row["clip_id"] for row in found}) == len(found)
    return {row["clip_id"]: row["copy_of"] for row in found}


@pytest.mark.nights
@pytest.mark.spark
def test_clips_kept_by_earlier_runs_stay_as_long_as_they_count(spark: SparkSession, tmp_path: Path) -> None:
    made = Run(spark, str(tmp_path), load([], ["copies.min_agree=3"]))
    arrive(made, a=(480, ONE, 0.9), b=(360, NEAR_ONE, 0.0), c=(480, BLACK, 1.0), d=(720, BLACK, 1.0), e=(480, [], 0.0))
    first = {"a": None, "b": "a", "c": None, "d": None, "e": None}
    assert stood_for(made) == first
    arrive(made, f=(1080, NEAR_ONE, 0.0), g=(480, TWO, 0.0), h=(720, TWO, 0.0))
    assert stood_for(made) == first | {"f": "a", "g": "h", "h": None}
    row = next(row for row in table(tmp_path, "copies") if row["clip_id"] == "f")
    assert (row["num_agree"], row["distance"]) == (3, 0.0)
    # The clips a, c and d are dropped, so that a represents none.
    light = Run(spark, str(tmp_path), load([], ["copies.min_agree=3", "filter.black=true"]))
    assert stood_for(light) == first | {"b": "f", "f": None, "g": "h", "h": None}


@pytest.mark.spark
@pytest.mark.nights
def test_a_copy_is_not_embedded(curated: Path, tmp_path: Path) -> None:
    output = Path(shutil.copytree(curated, tmp_path / "output"))
    settings = [
        *CURATED,
        "copies.max_distance=31",
        "copies.min_agree=1",
        "copies.bands=16",
        "filter.duplicates=true",
        "embed.num_frames=4",
    ]
    for job in ("copies", "embed"):
        assert cli.main([job, "--output", str(output), *(f"--set={option}" for option in settings)]) == 0
    found = {row["clip_id"]: row["copy_of"] for row in table(output, "copies")}
    kept = {clip_id for clip_id, copy_of in found.items() if copy_of is None}
    assert 0 < len(kept) < len(found) == 3
    asked = fingerprint("embed", load([], settings))
    assert {row["clip_id"] for row in table(output, "embeddings") if row["fingerprint"] == asked} == kept


@pytest.mark.nights
@pytest.mark.spark
def test_a_library_of_an_older_release_gets_its_keys_once(spark: SparkSession, tmp_path: Path) -> None:
    made = Run(spark, str(tmp_path), load([], ["copies.min_agree=3"]))
    arrive(made, a=(480, ONE, 0.0), b=(360, NEAR_ONE, 0.0), c=(480, BLACK, 0.0))
    before = stood_for(made)
    shutil.rmtree(tmp_path / "tables" / "copy_keys")
    older = Run(spark, str(tmp_path), load([], ["copies.min_agree=3"]))
    arrive(older, d=(1080, NEAR_ONE, 0.0), e=(1080, TWO, 0.0))
    assert stood_for(older) == before | {"d": "a", "e": None}
    later = Run(spark, str(tmp_path), load([], ["copies.min_agree=3"]))
    arrive(later, f=(1080, TWO, 0.0))
    assert stood_for(later) == before | {"d": "a", "e": None, "f": "e"}
    assert {row["clip_id"] for row in table(tmp_path, "copy_keys")} == {"a", "e"}  # not of copies, nor twice


@pytest.mark.nights
@pytest.mark.spark
def test_a_run_that_was_killed_before_its_rows_were_written_is_taken_up(spark: SparkSession, tmp_path: Path) -> None:
    made = Run(spark, str(tmp_path), load([], ["copies.min_agree=3"]))
    arrive(made, a=(480, ONE, 0.0), b=(360, NEAR_ONE, 0.0), c=(480, TWO, 0.0))
    before = stood_for(made)
    keys = table(tmp_path, "copy_keys")
    shutil.rmtree(tmp_path / "tables" / "copies")  # written last
    assert stood_for(Run(spark, str(tmp_path), load([], ["copies.min_agree=3"]))) == before
    assert len(table(tmp_path, "copy_keys")) == len(keys)


@pytest.mark.nights
@pytest.mark.spark
def test_a_clip_that_another_run_has_compared_meanwhile_is_no_copy_of_itself(
    spark: SparkSession, tmp_path: Path
) -> None:
    made = Run(spark, str(tmp_path), load([], ["copies.min_agree=3"]))
    arrive(made, a=(480, ONE, 0.0), b=(480, TWO, 0.0))
    before = stood_for(made)
    new = spark.createDataFrame(
        [("a", 480, 1, list(ONE)), ("c", 360, 1, list(NEAR_ONE)), ("d", 360, 1, list(TWO))],
        "clip_id string, height int, num_bytes bigint, phash array<string>",
    )
    copies.run(Run(spark, str(tmp_path), made.settings), copies.Options(output=""), new)
    found = {row["clip_id"]: row["copy_of"] for row in table(tmp_path, "copies")}
    assert found == before | {"c": "a", "d": "b"}


@pytest.mark.spark
@pytest.mark.nights
def test_new_clips_may_be_handed_in(spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = load([], ["copies.min_agree=3", "copies.max_bucket=1"])
    first, second = (Run(spark, str(tmp_path), settings) for _ in range(2))
    arrive(first, a=(480, ONE, 0.0), b=(480, TWO, 0.0))
    before = stood_for(first)
    later = {"c": (360, NEAR_ONE, 0.0), "d": (720, TWO, 0.0), "e": (720, FAR_FROM_TWO, 0.0), "f": (1, ONE, 0.0)}
    arrive(second, **later)
    rows = [(clip_id, height, 1, list(hashes)) for clip_id, (height, hashes, _) in later.items() if clip_id != "f"]
    new = spark.createDataFrame(rows, "clip_id string, height int, num_bytes bigint, phash array<string>")
    with caplog.at_level("INFO", "reelmill"):
        assert copies.run(second, copies.Options(output=""), new).num_out == 3
    found = {row["clip_id"]: row["copy_of"] for row in table(tmp_path, "copies")}
    assert found == before | {"c": "a", "d": "b", "e": None}  # f was not handed in
    assert "shared by more than copies.max_bucket = 1 clips: there, 3 new clips were compared" in caplog.text


@pytest.mark.spark
@pytest.mark.nights
def test_a_clip_that_the_condition_drops_stands_for_none_that_it_does_not(spark: SparkSession, tmp_path: Path) -> None:
    def made(*settings: str) -> Run:
        return Run(spark, str(tmp_path), load([], ["copies.min_agree=3", *settings]))

    small = "filter.where=c.height < 1000"
    arrive(made(), a=(1080, ONE, 0.0), b=(480, NEAR_ONE, 0.0))
    assert stood_for(made()) == {"a": None, "b": "a"}
    dropped = {"a": None, "b": None}
    assert stood_for(made(small)) == dropped
    arrive(made(), c=(1080, ONE, 0.0), d=(720, ONE, 0.0), e=(1080, TWO, 0.0), f=(480, TWO, 0.0))
    later = {"c": "b", "d": "b", "e": "f", "f": None}
    assert stood_for(made(small)) == dropped | later
    assert stood_for(made()) == dropped | later  # what was kept stays


@pytest.mark.spark
@pytest.mark.nights
def test_a_clip_that_its_score_drops_stands_for_none_that_is_new(spark: SparkSession, tmp_path: Path) -> None:
    first = Run(spark, str(tmp_path), load([], ["copies.min_agree=3", "filter.aesthetic=true"]))
    arrive(first, a=(480, ONE, 0.0), b=(480, TWO, 0.0))
    before = stood_for(first)
    verdict = {"kept": True, "reasons": []}
    scores = (("a", 1.0), ("b", 9.0))
    add(tmp_path, "verdicts", [verdict | {"clip_id": name, "aesthetic_score_min": score} for name, score in scores])
    second = Run(spark, str(tmp_path), first.settings)
    arrive(second, c=(480, ONE, 0.0), d=(480, TWO, 0.0))
    assert stood_for(second) == before | {"c": None, "d": "b"}
