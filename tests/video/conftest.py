"""The environment of stages that the tests of video files run by."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import clips
from udfs.runtime.context import Env


@pytest.fixture
def env(tmp_path: Path) -> Env:
    return clips.env(tmp_path)
