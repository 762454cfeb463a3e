"""Each target takes the inputs that a fuzzer begins with, among them those that once broke something."""

from __future__ import annotations

import pytest

from tests.fuzz.targets import SEEDS, TARGETS


@pytest.mark.parametrize(("name", "seed"), [(name, seed) for name, seeds in SEEDS.items() for seed in seeds])
def test_an_input_breaks_nothing(name: str, seed: bytes) -> None:
    TARGETS[name](seed)


def test_every_target_has_inputs_to_begin_with() -> None:
    assert SEEDS.keys() == TARGETS.keys()
