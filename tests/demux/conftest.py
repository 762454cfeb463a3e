"""The video that the tests of demuxing copy, cut and damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.footage import write_numbered
from tests.support.odd_times import SMALL


@pytest.fixture(scope="package")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of H.264 with B-frames and sound."""
    folder = tmp_path_factory.mktemp("good")
    return write_numbered(folder / "good.mp4", 120, 30, SMALL, audio="aac", gop=30, options={"bf": "2"})
