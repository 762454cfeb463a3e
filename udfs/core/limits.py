"""Limits on what one input may cost, and the check of how much of it could be decoded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated

from udfs.core.errors import MediaError


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class Limits:
    """[limits]: an input that exceeds one of these becomes a row of `failures`."""

    max_pixels: Annotated[int, Field(gt=0, description="pixels of a frame: width x height")] = 7680 * 4320
    max_duration_s: Annotated[float, Field(gt=0, description="seconds of one video")] = (
        25 * 3600.0  # the recording of a day may end a little later than the day
    )
    max_frames: Annotated[int, Field(gt=0, description="frames of one video")] = 10_000_000
    max_corrupt_share: Annotated[float, Field(ge=0, le=1, description="of a clip's frames, damaged or missing")] = 0.05
    memory_mb: Annotated[int, Field(ge=256, description="MiB of data that the decoding process may hold")] = 4096
    cuda_memory_mb: Annotated[int, Field(ge=0, description="MiB more where that process uses a GPU")] = 8192
    timeout_s: Annotated[
        float, Field(gt=0, description="seconds for one input without progress: no packet, frame or bytes")
    ] = 120.0
    timeout_total_s: Annotated[float, Field(gt=0, description="seconds for one input in all, even with progress")] = (
        24 * 3600.0
    )
    disk_mb: Annotated[int, Field(gt=0, description="MiB of unfinished files that the decoding process may hold")] = (
        65_536
    )
    decode_threads: Annotated[int, Field(ge=1, le=64, description="threads that decode one video")] = 1
    jail: Annotated[
        Literal["auto", "require", "off"],
        Field(description="of the decoding process; auto: as the kernel can; require: fully or not at all"),
    ] = "auto"

    def with_cuda(self) -> Limits:
        """The limits for work on a GPU.

        Address space that CUDA only reserves (no access) or shares with its driver does not count
        as data. Its heaps, the stacks of its threads and its other private writable mappings do
        count, touched or not. If the limit stops CUDA, it reports that there is no GPU.
        """
        return replace(self, memory_mb=self.memory_mb + self.cuda_memory_mb)


@dataclass
class Tally:
    """Counts of one decode: frames that came out, frames flagged corrupt, packets that the decoder refused."""

    frames: int = 0
    corrupt: int = 0
    errors: int = 0

    def check(self, expected: int, limits: Limits) -> None:
        """Refuse an input of which too little could be decoded.

        Raises:
            MediaError: CORRUPT if no frame came out or too many are damaged, PARTIAL if the end is
                missing.
        """
        if self.frames == 0:
            raise MediaError("CORRUPT", "no frame could be decoded")
        damaged = self.corrupt + self.errors
        if damaged > limits.max_corrupt_share * (self.frames + self.errors):
            raise MediaError("CORRUPT", f"{damaged} of {self.frames + self.errors} frames are damaged")
        if self.frames < (1 - limits.max_corrupt_share) * expected - 1:
            raise MediaError("PARTIAL", f"{self.frames} of {expected} frames could be decoded")
