"""What each failure code means: one remedy per code, and the same words in the documentation."""

from __future__ import annotations

from pathlib import Path

from tests.support.pages import table
from udfs.core.errors import CODES
from udfs.core.remedies import REMEDIES, remedy


def test_every_code_has_a_remedy() -> None:
    assert tuple(REMEDIES) == CODES


def test_operations_says_the_same() -> None:
    shown = table(Path("docs/operations.md"), "## Failure codes")
    plain = [[cell.replace("`", "").replace("[Security](security.md)", "Security") for cell in row] for row in shown]
    assert plain == [[code, found.cause, found.advice] for code, found in REMEDIES.items()]


def test_a_code_of_another_release_is_said_to_be_unknown() -> None:
    assert remedy("MELTED").cause == "a code that this release does not know"
