"""How much the checks of a GPU kit work through: at full size on a GPU, or a little of it on a CPU."""

from __future__ import annotations

from dataclasses import dataclass

from udfs.core.task_resources import Resources


@dataclass(frozen=True)
class Size:
    """How much is done, on which device."""

    device: str
    resources: Resources
    repeats: int  # of each video that is decoded
    vectors: int  # that are compared, of `dim` numbers, with `queries`
    dim: int
    queries: int
    clips: int  # that are embedded, in batches of `clip_batch`
    clip_batch: int
    windows: int  # that are captioned with `words` tokens each, in batches of `window_batch`
    window_batch: int
    words: int

    @property
    def on_gpu(self) -> bool:
        """Whether goals are to be met."""
        return self.device != "cpu"

    def goal(self, value: float) -> float | None:
        """A goal that holds on a GPU only."""
        return value if self.on_gpu else None


FULL = Size("cuda:0", Resources(cpus=12, gpus=1.0), 6, 200_000, 768, 4_000, 512, 32, 48, 16, 128)
DRY = Size("cpu", Resources(cpus=1), 1, 2_000, 64, 50, 4, 2, 2, 1, 4)
