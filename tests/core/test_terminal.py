"""Text for a terminal or a pipe: width, encodings, lines that fit, and readers that stop."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys

import pytest

from udfs.core import terminal

PRINT = "from udfs.core import terminal; terminal.escape_unknown(); terminal.write(['a b\\u00fc\\u2588.mp4'])"


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("wide", "columns"), [("40", 40), ("300", 100), ("5", 30)])
def test_lines_are_as_long_as_a_terminal_shows(wide: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", wide)
    assert terminal.columns(Terminal()) == columns
    assert terminal.columns(io.StringIO()) == 100  # a pipe is no terminal, whatever COLUMNS says


@pytest.mark.parametrize(("encoding", "shown"), [("utf-8", True), ("ascii", False), ("latin-1", False)])
def test_an_encoding_may_lack_characters(encoding: str, shown: bool) -> None:
    assert terminal.can_show("▁█", io.TextIOWrapper(io.BytesIO(), encoding)) == shown


def test_addresses_stay_whole_and_text_wraps() -> None:
    address = "/v/" + "x" * 40
    assert terminal.wrapped(f"of {address} and more", 20, "  a ", "    ") == [
        "  a of",
        f"    {address}",
        "    and more",
    ]
    assert terminal.wrapped("", 20, "  a ") == ["  a"]


def printed(encoding: str) -> str:
    """What a process prints where standard output has an encoding."""
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    return subprocess.run(
        [sys.executable, "-c", PRINT], env=environment, capture_output=True, check=True
    ).stdout.decode(encoding)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("utf-8", "a bü█.mp4\n"), ("latin-1", "a bü\\u2588.mp4\n"), ("ascii", "a b\\xfc\\u2588.mp4\n")],
)
def test_what_an_encoding_lacks_is_escaped(encoding: str, text: str) -> None:
    assert printed(encoding) == text


def test_a_reader_that_stops_is_no_error() -> None:
    code = "from udfs.core import terminal; terminal.write('x' * 80 for _ in range(10 ** 5))"
    done = subprocess.run(f'{sys.executable} -c "{code}" | head -1', shell=True, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"x" * 80 + b"\n", b"")


def test_a_terminal_gets_no_control_characters_and_a_pipe_what_there_is() -> None:
    code = "from udfs.core import terminal; terminal.write(['\\x1b]0;a\\x07\\x9b2J\\tb\\nc\\r'])"
    piped = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert piped.decode() == "\x1b]0;a\x07\x9b2J\tb\nc\r\n"
    leader, follower = pty.openpty()
    subprocess.run([sys.executable, "-c", code], stdout=follower, check=True)
    assert os.read(leader, 100).decode().splitlines() == [r"\x1b]0;a\x07\x9b2J" + "\tb", r"c\r"]
    os.close(leader)
    os.close(follower)


def test_a_real_terminal_gives_its_width() -> None:
    leader, follower = pty.openpty()
    code = "import fcntl, struct, sys, termios; fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 40, 0, 0)); "
    code += "from udfs.core import terminal; print(terminal.columns())"
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    subprocess.run([sys.executable, "-c", code], stdout=follower, env=environment, check=True)
    assert os.read(leader, 100).split() == [b"40"]
    os.close(leader)
    os.close(follower)
