"""The prompt of `reelmill sql`, at a terminal of its own: queries, errors, Ctrl-C, completion, and its history."""

from __future__ import annotations

import os
import pty
import re
import select
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobs.queries import prompt
from tests.support import small_output

COLUMNS = {"clips": ["clip_id", "uri"], "curated": ["clip_id", "uri", "captions"]}
ENDLESS = "select count(*) from range(3000000) a, range(3000000) b where md5(concat(a.id, b.id)) = 'x';"
WAIT_S = 60.0


class Terminal:
    """A process that reads from a terminal and writes to it."""

    def __init__(self, handle: int, process: subprocess.Popen[bytes]) -> None:
        self.handle = handle
        self.process = process
        self.shown = ""

    def type(self, text: str) -> None:
        """Type keys."""
        os.write(self.handle, text.encode())

    def wait_for(self, text: str) -> str:
        """What is shown until a text is; that is then read."""
        deadline = time.monotonic() + WAIT_S
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if select.select([self.handle], [], [], 0.2)[0]:
                self.shown += os.read(self.handle, 65536).decode()
        before, _, self.shown = self.shown.partition(text)
        return before

    def ended(self) -> int:
        """The exit status, with all that was still shown read."""
        try:
            while data := os.read(self.handle, 65536):
                self.shown += data.decode()
        except OSError:  # the other side is closed
            pass
        return self.process.wait(timeout=WAIT_S)


@contextmanager
def opened(output: Path, state: Path, *arguments: str) -> Iterator[Terminal]:
    """The prompt over an output, with its history below `state`."""
    handle, other = pty.openpty()
    environment = {"PATH": "/usr/bin:/bin", "JAVA_HOME": "/nowhere", "TERM": "dumb", "XDG_STATE_HOME": str(state)}
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs", "sql", "-o", str(output), *arguments],
        stdin=other,
        stdout=other,
        stderr=other,
        env=environment | {"PYTHONPATH": ":".join(sys.path)},
        start_new_session=True,
        preexec_fn=lambda: os.close(os.open(os.ttyname(other), os.O_RDWR)),  # so that Ctrl-C of the terminal reaches it
    )
    os.close(other)
    try:
        yield Terminal(handle, process)
    finally:
        process.kill()
        process.wait()
        os.close(handle)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output of literal rows."""
    return small_output.write(tmp_path_factory.mktemp("output"))


def test_queries_are_answered_until_the_end(output: Path, tmp_path: Path) -> None:
    with opened(output, tmp_path) as terminal:
        terminal.wait_for("sql> ")
        terminal.type("select count(*) as n from clips;\n")
        assert terminal.wait_for("sql> ").splitlines()[-2:] == ["n", "5"]
        terminal.type("select clip_id\n")
        terminal.wait_for("...> ")
        terminal.type("from current_clips\n")
        terminal.wait_for("...> ")
        terminal.type("\n")  # an empty line ends a query too
        assert set(terminal.wait_for("sql> ").split()) >= {"c1", "c2", "c3", "c4"}
        terminal.type("\\q\n")
        assert terminal.ended() == 0


def test_a_mistake_is_one_line_and_the_prompt_goes_on(output: Path, tmp_path: Path) -> None:
    with opened(output, tmp_path, "--engine", "duckdb") as terminal:
        terminal.wait_for("sql> ")
        terminal.type("select uris from clips;\n")
        terminal.wait_for("reelmill: sql: no column uris; did you mean uri?")
        terminal.type("drop table clips;\n")
        terminal.wait_for("reelmill: sql: only queries are answered")
        terminal.type("select typeof(1);\n")
        terminal.wait_for("reelmill: --engine duckdb cannot answer this: the function typeof")
        terminal.wait_for("sql> ")
        terminal.type("\x04")  # Ctrl-D
        assert terminal.ended() == 0


def test_ctrl_c_cancels_a_line_and_a_query(output: Path, tmp_path: Path) -> None:
    with opened(output, tmp_path) as terminal:
        terminal.wait_for("sql> ")
        terminal.type("select nothing")
        terminal.wait_for("select nothing")
        time.sleep(1)  # readline hears signals while it waits for a key
        terminal.type("\x03")
        terminal.wait_for("sql> ")
        terminal.type(f"{ENDLESS}\n")
        terminal.wait_for("'x';")
        time.sleep(2)
        terminal.type("\x03")
        terminal.wait_for("stopped")
        terminal.type("select 40 + 2 as n;\n")
        terminal.wait_for("42")
        terminal.type("exit\n")
        assert terminal.ended() == 0


def test_the_history_is_the_users_own_and_comes_back(output: Path, tmp_path: Path) -> None:
    history = tmp_path / "reelmill" / "sql_history"
    history.parent.mkdir()
    history.touch(mode=0o644)
    with opened(output, tmp_path) as terminal:
        terminal.wait_for("sql> ")
        terminal.type("select 'a secret';\n")
        terminal.wait_for("sql> ")
        terminal.type("\x04")
        assert terminal.ended() == 0
    assert "select 'a secret';" in history.read_text()
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    with opened(output, tmp_path) as terminal:
        terminal.wait_for("sql> ")
        terminal.type("\x1b[A")  # the key up
        terminal.wait_for("select 'a secret';")


def test_tab_completes_names(output: Path, tmp_path: Path) -> None:
    with opened(output, tmp_path) as terminal:
        terminal.wait_for("sql> ")
        terminal.type("select similarity_his\t")
        terminal.wait_for("similarity_histogram")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cl", ["clip_id", "clips"]),
        ("CUR", ["curated"]),
        ("curated.c", ["curated.captions", "curated.clip_id"]),
        ("c.u", []),
        ("xyz", []),
    ],
)
def test_names_that_a_text_may_become(text: str, names: list[str]) -> None:
    assert prompt.matches(text, COLUMNS) == names


def test_the_greeting_fits_into_a_line() -> None:
    assert len(prompt.HELLO) <= 120
    assert not re.search(r"\n", prompt.HELLO)
