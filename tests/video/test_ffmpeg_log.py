"""FFmpeg's log messages: captured, and the last one in one line."""

from __future__ import annotations

from pathlib import Path

import av
import av.error
import pytest

from udfs.video.ffmpeg_log import captured_errors, last_message


def test_the_last_message_says_why_a_file_does_not_open(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "v.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(100))
    with captured_errors() as logs, pytest.raises(av.error.FFmpegError) as raised:
        av.open(str(tmp_path / "v.mp4"))
    assert "moov atom not found" in last_message(logs, raised.value)
    assert capfd.readouterr().err == ""


def test_without_a_message_the_error_speaks_in_one_line() -> None:
    with captured_errors() as logs:
        level = av.logging.get_level()
    assert level == av.logging.ERROR
    assert av.logging.get_level() != av.logging.ERROR
    assert last_message(logs, ValueError("no\n  luck")) == "no luck"
