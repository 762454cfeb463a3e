"""cost: dollars of a stage's seconds, or None where a price or a number of seconds is not known."""

from __future__ import annotations

import pytest

from jobs.config.settings import load
from jobs.lake.history import resources_of
from udfs.core.cost import Params, usd

PRICED = Params(cpu_core_hour=0.04, gpu_hour=3.6)


@pytest.mark.parametrize(
    ("params", "cpu_s", "gpu_s", "gpus", "dollars"),
    [
        (PRICED, 7200.0, None, 0.0, 0.08),
        (PRICED, 0.0, 100.0, 1.0, 0.1),
        (PRICED, 3600.0, 100.0, 0.25, 0.04 + 0.025),  # four tasks share the GPU
        (PRICED, 3600.0, 100.0, 0.0, 0.04),  # the model ran on cores
        (PRICED, None, None, 0.0, None),
        (Params(cpu_core_hour=0.04), 3600.0, None, 1.0, None),  # the GPU's seconds are not known
        (Params(cpu_core_hour=0.04), 3600.0, 1.0, 1.0, None),
        (Params(gpu_hour=3.6), 3600.0, 1.0, 1.0, None),
        (Params(), 3600.0, None, 0.0, None),
        (Params(), 0.0, None, 0.0, 0.0),
    ],
)
def test_dollars(params: Params, cpu_s: float | None, gpu_s: float | None, gpus: float, dollars: float | None) -> None:
    assert usd(params, cpu_s, gpu_s, gpus) == (None if dollars is None else pytest.approx(dollars))


def test_the_share_of_a_gpu_is_that_of_the_stage() -> None:
    settings = load([], ["embed.resources.gpus=0.25", "caption.resources.gpus=1"])
    assert [resources_of(stage, settings).gpus for stage in ("embed", "align", "caption", "filter", "ingest")] == [
        0.25,
        0.25,
        1,
        0,
        0,
    ]
