"""The environment of stages that the tests of video files run by, and one in which no GPU has been tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import clips, gpu_codecs
from udfs.runtime.context import Env


@pytest.fixture
def env(tmp_path: Path) -> Env:
    return clips.env(tmp_path)


@pytest.fixture
def untried() -> None:
    """Nothing is remembered of an earlier test's tries of a GPU, here or in the decoding process."""
    gpu_codecs.forget()
