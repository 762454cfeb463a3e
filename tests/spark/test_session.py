"""What a session on one machine gives to its Python workers."""

from __future__ import annotations

import pytest

from jobs.spark.session import _standalone

pytestmark = pytest.mark.spark


@pytest.mark.parametrize(
    ("master", "own"), [("local[4]", True), ("local-cluster[2,2,1024]", False), ("spark://host:7077", False)]
)
def test_only_workers_of_this_machine_are_forked_from_code_that_is_only_here(master: str, own: bool) -> None:
    assert ("spark.python.daemon.module" in _standalone({"spark.master": master})) is own
