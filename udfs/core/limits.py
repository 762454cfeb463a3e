"""What one input may cost, and what its decoding met -> whether it is still good."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated

from udfs.core.errors import MediaError


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class Limits:
    """[limits]: what one input may cost before it becomes a row of `failures`."""

    max_pixels: Annotated[int, Field(gt=0, description="width x height of a frame")] = 7680 * 4320
    max_duration_s: Annotated[float, Field(gt=0)] = 24 * 3600.0
    max_frames: Annotated[int, Field(gt=0)] = 10_000_000
    max_corrupt_share: Annotated[float, Field(ge=0, le=1, description="of a clip's frames")] = 0.05
    memory_mb: Annotated[int, Field(ge=256, description="data that the decoding process may hold")] = 4096
    cuda_memory_mb: Annotated[int, Field(ge=0, description="more of it where that process uses a GPU")] = 8192
    timeout_s: Annotated[float, Field(gt=0, description="seconds for one input without progress: no packet, frame or bytes")] = (
        120.0
    )
    timeout_total_s: Annotated[float, Field(gt=0, description="seconds for one input in all, whatever its progress")] = (
        24 * 3600.0
    )
    decode_threads: Annotated[int, Field(ge=1, le=64)] = 1

    def with_cuda(self) -> Limits:
        """For work on a GPU.

        What CUDA only reserves (no access), or shares with its driver, does not count as data. Its heaps, the stacks of its
        threads and whatever else it maps writable for itself do, touched or not, and a limit that stops it looks like no GPU.
        """
        return replace(self, memory_mb=self.memory_mb + self.cuda_memory_mb)


@dataclass
class Tally:
    """What a decode met: frames shown, frames flagged corrupt, packets refused."""

    frames: int = 0
    corrupt: int = 0
    errors: int = 0

    def check(self, expected: int, limits: Limits) -> None:
        """Raise what the counts amount to.

        Raises:
            MediaError: CORRUPT if no frame came or too many were damaged, PARTIAL if the end is missing.
        """
        if self.frames == 0:
            raise MediaError("CORRUPT", "no frame could be decoded")
        damaged = self.corrupt + self.errors
        if damaged > limits.max_corrupt_share * (self.frames + self.errors):
            raise MediaError("CORRUPT", f"{damaged} of {self.frames + self.errors} frames are damaged")
        if self.frames < (1 - limits.max_corrupt_share) * expected - 1:
            raise MediaError("PARTIAL", f"{self.frames} of {expected} frames could be decoded")
