"""Fixtures of the benchmarks: the report of a module, and footage that is made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import material
from tests.support import goals
from tests.support.goals import Report


@pytest.fixture(scope="module")
def report(request: pytest.FixtureRequest) -> Iterator[Report]:
    """The report of a module: written and printed once its benchmarks have run."""
    made = Report(request.module.__name__.rpartition(".")[2].removeprefix("bench_"))
    yield made
    if made.rows:
        print(f"\n{goals.text(made.rows)}\nkept in {made.write()}")


@pytest.fixture(autouse=True)
def _keep_rows(request: pytest.FixtureRequest) -> Iterator[None]:
    """Write the report after each benchmark, so that a stop loses no row."""
    yield
    if "report" in request.fixturenames and request.getfixturevalue("report").rows:
        request.getfixturevalue("report").write()


@pytest.fixture(scope="session")
def minutes() -> list[Path]:
    """Videos of about a minute: the demo's, or those of $REELMILL_FOOTAGE repeated to a minute."""
    return material.minutes()
