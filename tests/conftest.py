"""The one Spark session that all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from jobs.session import connect


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """Reelmill's own session on two local cores."""
    session = connect({"spark.master": "local[2]"}, verbose=False)
    yield session
    session.stop()
