"""Text of strangers is stored as it is, and nothing runs, obeys or breaks by it: sql, why, failures, scores, report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs import cli
from tests.support import small_output, two_settings

TEXTS = [
    "'; DROP TABLE captions; --",
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "\x1b[2J\x1b]0;owned\x07\x9b31m",
    "nul\x00inside\r\nand lines\u2028\u2029",
    "{{ 7 * 7 }} ${jndi:ldap://x} %s %(x)s {0}",
    "\u202etxt.exe \ufeff \U0001f3ac e\u0301",
]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output whose captions, messages and attributes are such texts."""
    output = small_output.write(tmp_path_factory.mktemp("output"))
    for number, text in enumerate(TEXTS):
        caption = {"clip_id": "c3", "start_frame": 100 + number, "end_frame": 200, "model": "m", "prompt": "p"}
        two_settings.add(output, "captions", [caption | {"caption": text}])
        failure = {"key": f"/v/{text}.mp4", "stage": "ingest", "code": "CORRUPT", "message": text}
        two_settings.add(output, "failures", [failure])
    return output


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints; it must end well."""
    assert cli.main([*arguments]) == 0
    return capsys.readouterr().out


def has_controls(text: str) -> bool:
    """Whether a terminal would obey something in a text."""
    return any((ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 for c in text)


def test_56_what_is_stored_comes_back_to_the_letter(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = "select caption from captions where start_frame >= 100 order by start_frame"
    rows = json.loads(said(capsys, "sql", "-o", str(output), "--format", "json", query))
    assert [row["caption"] for row in rows] == TEXTS
    query = 'select message, key from failures where message <> "it\'s bad"'
    rows = json.loads(said(capsys, "sql", "-o", str(output), "--format", "json", query))
    assert {(row["message"], row["key"]) for row in rows} == {(text, f"/v/{text}.mp4") for text in TEXTS}


@pytest.mark.parametrize(
    "words",
    [
        ("sql", "select * from captions"),
        ("sql", "--format", "markdown", "select * from failures"),
        ("sql", "--format", "json", "select * from captions"),
        ("why", "c3"),
        ("failures",),
        ("failures", "CORRUPT"),
        ("status",),
        ("scores",),
    ],
)
def test_56_no_command_prints_what_a_terminal_obeys(
    words: tuple[str, ...], output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not has_controls(said(capsys, words[0], "-o", str(output), *words[1:]))


def test_56_a_page_shows_markup_as_text(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "report", "-o", str(output), "--to", str(output.parent / "page.html"))
    page = (output.parent / "page.html").read_text(encoding="utf-8")
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "<img src=x" not in page
