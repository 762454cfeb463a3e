"""What a served page is answered is what SQL and the page itself count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.config.errors import UsageError
from jobs.reports import labels, live
from jobs.reports.labels import Label
from jobs.reports.live import Library
from tests.reports.conftest import asking
from tests.support import small_output
from udfs.filter import Params
from udfs.storage.settings import Params as Sources


@pytest.fixture(scope="module")
def answers(library: Path) -> Library:
    """What answers for some hundred clips."""
    return Library(str(library), Sources(), Params())


def number(output: Path, where: str) -> int:
    """How many clips meet a condition."""
    [(count,)] = asking(output)(f"SELECT count(*) FROM verdicts WHERE {where}")
    return int(count)


def test_unmoved_thresholds_keep_what_the_run_kept(answers: Library, library: Path) -> None:
    counts = answers.counts({})
    kept = number(library, "kept")
    assert counts["kept"]["clips"] == counts["blur together"]["clips"] == kept
    assert counts["blur alone"]["clips"] == number(library, "blur >= 31.25")
    assert counts["freeze together"]["clips"] == number(library, "kept AND freeze <= 0.9")


def test_moved_thresholds_are_counted(answers: Library, library: Path) -> None:
    counts = answers.counts({"blur": {"threshold": 100, "on": True}, "blackness": {"threshold": 0.5, "on": False}})
    assert counts["blur alone"]["clips"] == number(library, "blur >= 100")
    others = "size(array_except(reasons, array('blurred', 'black'))) = 0"
    assert counts["kept"]["clips"] == number(library, f"{others} AND blur >= 100")


@pytest.mark.parametrize(
    ("request_", "where"),
    [
        ({}, "true"),
        ({"text": "Dogs near"}, "caption LIKE '%dogs near%'"),
        ({"text": "it's \\ %"}, "false"),
        ({"verdict": "kept"}, "kept"),
        ({"verdict": "dropped", "reason": "blurred"}, "array_contains(reasons, 'blurred')"),
        ({"score": "blur", "least": 50, "most": 100.5}, "blur BETWEEN 50 AND 100.5"),
        ({"verdict": "lost", "moves": {"blur": {"threshold": 100, "on": True}}}, "kept AND blur < 100"),
        ({"verdict": "gained", "moves": {"blur": {"threshold": 0, "on": False}}}, "reasons = array('blurred')"),
    ],
)
def test_clips_are_found_by_filters(answers: Library, library: Path, request_: dict[str, Any], where: str) -> None:
    found = answers.clips(request_)
    assert found["numClips"] == number(library, where)
    assert len(found["clips"]["id"]) == found["numClips"]
    [(seconds,)] = asking(library)(f"SELECT coalesce(sum(duration_s), 0) FROM verdicts WHERE {where}")
    assert found["seconds"] == pytest.approx(seconds)


def test_clips_are_sorted_and_cut(answers: Library, library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_SHOWN", 5)
    found = answers.clips({"sort": "blur", "descending": True})
    best = asking(library)("SELECT clip_id FROM verdicts ORDER BY blur DESC LIMIT 5")
    assert found["clips"]["id"] == [clip_id for (clip_id,) in best]
    assert found["numClips"] == 700
    longest = answers.clips({"sort": "length"})["clips"]["ms"]
    assert longest == sorted(longest)


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        ({"sort": "blur; DROP TABLE clips"}, "ui: no order blur; DROP TABLE clips"),
        ({"verdict": "good"}, "ui: no verdict good"),
        ({"text": 5}, "ui: text is no text"),
        ({"score": "blur", "least": "0 OR true"}, "ui: '0 OR true' is no number"),
        ({"moves": {"blur": {"threshold": "1", "on": True}}, "verdict": "lost"}, "ui: '1' is no number"),
    ],
)
def test_values_of_a_request_are_never_sql(answers: Library, request_: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError, match=line):
        answers.clips(request_)


def test_clips_like_another_come_nearest_first(small: Path) -> None:
    found = Library(str(small), Sources(), Params()).clips({"like": "c1"})
    assert (found["clips"]["id"], found["numClips"]) == (["c3"], 1)


def test_a_text_that_no_model_encodes_is_one_line(small: Path) -> None:
    with pytest.raises(UsageError, match="the vectors here are of tiny"):
        Library(str(small), Sources(), Params()).clips({"similar": "a dog"})


def test_labels_are_given_and_searched(tmp_path: Path) -> None:
    found = Library(str(small_output.write(tmp_path / "out")), Sources(), Params())
    assert found.label(Label("c1", "good", "ann"), remove=False) == [{"label": "good", "who": "ann"}]
    assert found.clips({"label": "good"})["clips"]["id"] == ["c1"]
    assert found.label(Label("c1", "good", "ann"), remove=True) == []
    with pytest.raises(UsageError, match="no clip none"):
        found.label(Label("none", "good", "ann"), remove=False)
    with pytest.raises(UsageError, match=f"1 to {labels.MAX_LENGTH} characters"):
        found.label(Label("c1", " ", "ann"), remove=False)
