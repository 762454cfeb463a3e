"""The log as JSON: one object per line, events add their values, errors are lines too; text again after it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.config import log_format

log = logging.getLogger("reelmill")


@pytest.fixture
def handler() -> Iterator[logging.Handler]:
    """A handler of the whole log."""
    handler = logging.StreamHandler()
    handler.setFormatter(log_format.Text(log_format.LINE, log_format.CLOCK))
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


def line(handler: logging.Handler, **more: object) -> str:
    """A record as a handler writes it."""
    record = log.makeRecord("reelmill", logging.INFO, "", 1, "%s done", ("clip é\n",), None, extra={**more} or None)
    return handler.format(record)


def test_a_record_is_an_object(handler: logging.Handler) -> None:
    log_format.apply("json")
    found = json.loads(line(handler, event={"stage": "clip", "done": 3}))
    assert found.pop("time").endswith("+00:00")
    assert found == {"level": "info", "message": "clip é\n done", "stage": "clip", "done": 3}
    assert "\n" not in line(handler)


def test_text_comes_back(handler: logging.Handler) -> None:
    log_format.apply("json")
    log_format.apply("text")
    assert line(handler)[8:] == " clip é\n done"


def test_a_terminal_obeys_no_name_in_the_log(handler: logging.Handler) -> None:
    record = log.makeRecord("reelmill", logging.INFO, "", 1, "of %s", ("\x1b[2J\x9b1m\rclip.mp4\x00",), None)
    assert handler.format(record)[8:] == r" of \x1b[2J\x9b1m\rclip.mp4\x00"


def test_what_ends_a_command_is_without_control_characters() -> None:
    arguments = ["curate", "--manifest", "\x1b2J\x07nowhere.mp4", "--output", "out"]
    done = subprocess.run([sys.executable, "-m", "jobs", *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "reelmill: --manifest \\x1b2J\\x07nowhere.mp4: no such file or folder\n",
    )


def test_what_ends_a_command_is_an_object_with_its_status(tmp_path: Path) -> None:
    arguments = ["split", "--output", str(tmp_path), "--set", "split.clip_len=3", "--log-format", "json"]
    done = subprocess.run([sys.executable, "-m", "jobs", *arguments], capture_output=True, text=True, check=False)
    found = json.loads(done.stderr)
    assert (done.returncode, found["status"], found["level"]) == (2, 2, "error")
    assert found["message"].endswith("no setting split.clip_len; did you mean split.clip_len_s?")
