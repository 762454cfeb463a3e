"""Goals of benchmarks: met or not, kept as JSON, rendered into a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import goals
from tests.support.goals import Report, Row

FAST = Row("transcode, CPU of NeMo Curator over ours", 1.41, "x", 1.3, "at least", "9 CPU s over 6.4")
SLOW = Row("nothing new", 17.0, "CPU s", 15.0)
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
ONLY = Row("PNG rows", 4.2, "x")


def report(*rows: Row) -> Report:
    """A report of another machine."""
    return Report("peers", list(rows), {"av": "18.1.0"}, "2 cores", "2026-11-28")


def test_a_goal_is_a_least_or_a_greatest_value() -> None:
    assert [row.met for row in (FAST, SLOW, ONLY)] == [True, False, None]
    assert Row("a", 15.0, "s", 15.0).met
    assert Row("a", 1.3, "x", 1.3, "at least").met


def test_the_table_says_measured_goal_result_and_whether_it_is_met() -> None:
    head, *lines = goals.text([FAST, SLOW, ONLY]).splitlines()
    assert head.split() == ["measured", "goal", "result", "met"]
    assert lines[0].split("  ")[0] == "transcode, CPU of NeMo Curator over ours (9 CPU s over 6.4)"
    assert [line.split()[-1] for line in lines[:2]] == ["met", "met"]
    assert lines[1].endswith("at most 15 CPU s  17 CPU s  not met")


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    report(FAST, ONLY).write(tmp_path)
    assert goals.reports(tmp_path) == [report(FAST, ONLY)]
    assert goals.value("PNG rows", tmp_path) == 4.2
    assert goals.value("nothing of that name", tmp_path) is None


def test_a_second_run_keeps_the_rows_that_it_did_not_measure(tmp_path: Path) -> None:
    report(FAST, ONLY).write(tmp_path)
    report(SLOW, Row("PNG rows", 5.0, "x")).write(tmp_path)
    assert {row.what: row.measured for row in goals.reports(tmp_path)[0].rows} == {
        FAST.what: 1.41,
        "nothing new": 17.0,
        "PNG rows": 5.0,
    }


def test_the_page_gets_the_tables_between_its_marks() -> None:
    page = goals.with_part(f"# A\n\n{BEGIN}\nold\n{END}\n\nB\n", "measured", goals.markdown([report(FAST, ONLY)]))
    assert "`peers`, 2026-11-28, 2 cores; av 18.1.0." in page
    assert "| PNG rows |  | 4.2 x |  |" in page
    assert "old" not in page
    assert page.endswith(f"{END}\n\nB\n")


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="measured: begin"):
        goals.with_part("# A\n", "measured", "tables")


@pytest.mark.parametrize("name", ["measured", "scale"])
def test_the_page_of_benchmarks_has_the_marks(name: str) -> None:
    assert "\n\nthe part\n\n" in goals.with_part(goals.PAGE.read_text(encoding="utf-8"), name, "the part")
