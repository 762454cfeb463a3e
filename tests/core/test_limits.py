"""Limits: counts of decoded, damaged and missing frames amount to a verdict on a file."""

from __future__ import annotations

import pytest

from udfs.core.errors import MediaError
from udfs.core.limits import Limits, Tally


@pytest.mark.parametrize(
    ("tally", "verdict"),
    [
        (Tally(frames=100), None),
        (Tally(frames=100, corrupt=5), None),
        (Tally(frames=100, corrupt=6), "CORRUPT: 6 of 100 frames are damaged"),
        (Tally(frames=95, errors=6), "CORRUPT: 6 of 101 frames are damaged"),
        (Tally(frames=94), None),
        (Tally(frames=93), "PARTIAL: 93 of 100 frames could be decoded"),
        (Tally(), "CORRUPT: no frame could be decoded"),
    ],
)
def test_counts_amount_to_a_verdict(tally: Tally, verdict: str | None) -> None:
    found = None
    try:
        tally.check(100, Limits(max_corrupt_share=0.05))
    except MediaError as e:
        found = str(e)
    assert found == verdict
