"""Outputs that several tests of reports read, and their contents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.queries import ask
from jobs.queries.ask import Ask
from jobs.reports import contents
from jobs.reports.contents import Contents
from jobs.reports.selection import Selection
from tests.support import many_clips, small_output
from udfs.storage.settings import Params as Sources


def asking(output: Path) -> Ask:
    """What answers queries over an output."""
    return ask.by_duckdb(str(output), Sources())


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips with odd values."""
    return small_output.write(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some hundred clips with scores, by thresholds that drop a part of them."""
    return many_clips.write(tmp_path_factory.mktemp("library"), 700, num_previews=700)


@pytest.fixture(scope="session")
def contents_of() -> Callable[..., Contents]:
    """What a report says of an output."""

    def read(output: Path, run_id: str | None = None, query: str | None = None) -> Contents:
        return contents.read(asking(output), str(output), Selection(run_id, query))

    return read
