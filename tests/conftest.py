"""Fixtures of many tests: a Spark session, the output of one run, an S3 server and its proxy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import settings
from pyspark.sql import SparkSession

from jobs import cli
from jobs.spark.session import connect
from tests.support import s3
from tests.support.footage import write_numbered
from tests.support.outputs import CURATED
from udfs.core import jail
from udfs.core.host_files import lock

settings.register_profile("reelmill", deadline=None)  # a busy machine fails no property test
settings.load_profile("reelmill")
jail.give_up_real_time()  # tests encode AV1 themselves


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with one file that makes the shared output, then what needs Spark, and of that last what needs this output.

    Until it is made, the processes whose tests need it wait. The files of the other tests are short,
    so that all processes end together.
    """
    files = [item.path for item in items if _needs_output(item)]
    first, last = files[:1], {*files}
    items.sort(key=lambda item: (item.path not in first, not _needs_spark(item), item.path in last))


def _needs_spark(item: pytest.Item) -> bool:
    return item.get_closest_marker("spark") is not None


def _needs_output(item: pytest.Item) -> bool:
    return "curated" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session", autouse=True)
def _s3_keys() -> Iterator[None]:
    """Set the S3 server's keys before Spark starts: its workers inherit its environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3.KEYS.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """Reelmill's own Spark session on two local cores."""
    session = connect({"spark.master": "local[2]"}, verbose=False)
    yield session
    session.stop()


@pytest.fixture(scope="session")
def curated(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output with three kept clips of 60 frames: two of long.mp4, one of other.mkv.

    A test that changes it works on a copy, whose tables name the media of this one. Processes that
    share the tests share it.
    """
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "curated"
    made = shared / "made"
    shared.mkdir(exist_ok=True)
    with lock(shared / "lock"):
        if not made.exists():
            _curate(shared)
            made.touch()
    return shared / "output"


@pytest.fixture(scope="session")
def curated_apart(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, of this process alone, for tests that change its media for a while."""
    return _curate(tmp_path_factory.mktemp("curated"))


def _curate(folder: Path) -> Path:
    videos, output = folder / "videos", folder / "output"
    videos.mkdir()
    write_numbered(videos / "long.mp4", 120, cuts=(60,))
    write_numbered(videos / "other.mkv", 60, codec="mpeg4", first=500)
    overrides = [f"--set={option}" for option in CURATED]
    assert cli.main(["curate", "--manifest", str(videos), "--output", str(output), *overrides]) == 0
    return output


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.Server]:
    """A real S3 server on this machine."""
    with s3.running_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def s3_proxy(s3_server: s3.Server) -> Iterator[s3.Proxy]:
    """A shared proxy of the S3 server: a client for a new address takes half a second to make."""
    with s3.running_proxy(s3_server) as proxy:
        yield proxy


@pytest.fixture
def proxy(s3_proxy: s3.Proxy) -> s3.Proxy:
    """The proxy with its counters at zero and no faults planned."""
    s3_proxy.reset()
    s3_proxy.rate, s3_proxy.kinds, s3_proxy.planned = 0.0, get_args(s3.Fault), []
    return s3_proxy
