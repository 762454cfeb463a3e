"""report: a page of an output, written without Spark, and by Spark where only it reads the tables."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

import reelmill
from jobs import cli
from tests.support import s3, small_output

WITHOUT_SPARK = """
import sys
from jobs import cli
status = cli.main(["report", "-o", sys.argv[1]])
assert not {"pyspark", "torch", "pandas"} & {*sys.modules}, "needs too much"
sys.exit(status)
"""


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output of four clips."""
    return small_output.write(tmp_path / "out")


def test_it_writes_a_page_and_says_where(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", "-o", str(output)]) == 0
    assert capsys.readouterr().out == f"{output}/report.html\n"
    text = (output / "report.html").read_text(encoding="utf-8")
    assert "<title>Reelmill report of" in text
    assert "CORRUPT</strong> in ingest: 1" in text


def test_it_needs_neither_java_nor_spark(output: Path) -> None:
    path = {"PATH": "/usr/bin:/bin", "JAVA_HOME": "/nowhere", "PYTHONPATH": ":".join(["", *sys.path])}
    done = subprocess.run([sys.executable, "-c", WITHOUT_SPARK, str(output)], env=path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_part_of_the_output_goes_elsewhere(output: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    query = "SELECT clip_id FROM verdicts WHERE kept"
    assert cli.main(["report", "-o", str(output), "--sql", query, "--to", str(page)]) == 0
    assert "No clip was dropped." in page.read_text(encoding="utf-8")
    assert not (output / "report.html").exists()
    assert cli.main(["report", "-o", str(output), "--run", "1", "--to", str(page)]) == 0
    assert "that this run cut" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--run", "7"), "--run 7: no such run; the last ones are 1, 0"),
        (("--sql", "SELECT 1 AS one"), "sql: no column clip_id"),
        (("--sql", "DROP TABLE clips"), "sql: "),
        (("--to", "/nowhere/page.html"), "--to /nowhere/page.html: No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    output: Path, arguments: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["report", "-o", str(output), *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"reelmill: {line}")
    assert said.count("\n") == 1


def test_a_folder_without_tables_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", "-o", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"reelmill: --output {tmp_path}: no tables here\n"


def test_it_is_a_function_too(output: Path) -> None:
    reelmill.report(str(output))
    assert (output / "report.html").exists()


def test_an_output_on_s3_gets_its_page_there(output: Path, s3_server: s3.Server) -> None:
    for path in output.rglob("*"):
        if path.is_file():
            s3_server.put(f"s3://reports/out/{path.relative_to(output)}", path)
    settings = ("--set", f"sources.s3_endpoint={s3_server.url}", "--set", "sources.s3_region=us-east-1")
    assert cli.main(["report", "-o", "s3://reports/out", *settings]) == 0
    assert "<h1>Reelmill report</h1>" in (s3_server.folder / "reports/out/report.html").read_text(encoding="utf-8")


@pytest.mark.nights
@pytest.mark.spark
def test_the_page_of_a_run_is_the_same_by_spark(
    spark: SparkSession, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Path(shutil.copytree(curated, tmp_path / "out"))
    assert cli.main(["report", "-o", str(output)]) == 0
    quickly = (output / "report.html").read_text(encoding="utf-8")
    monkeypatch.setattr("jobs.queries.ask.is_installed", lambda: False)
    assert cli.main(["report", "-o", str(output)]) == 0
    by_spark = (output / "report.html").read_text(encoding="utf-8")
    assert without_time(quickly) == without_time(by_spark)


def without_time(text: str) -> str:
    """A page without the time at which it was made."""
    return "".join(line for line in text.splitlines(keepends=True) if " · made " not in line)
