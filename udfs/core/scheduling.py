"""Divide videos into waves, and the inputs of a wave into tasks of even cost."""

from __future__ import annotations

import heapq
import math
import zlib
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[curate]"""

    aesthetic: Annotated[bool, Field(description="score clips with the model of [aesthetic]")] = False
    caption: Annotated[bool, Field(description="caption the kept clips with the model of [caption]")] = False
    align: Annotated[bool, Field(description="score how well captions match their clips with the model of [embed]")] = (
        False
    )
    enhance: Annotated[bool, Field(description="rewrite the captions with the model of [enhance]")] = False
    report: Annotated[bool, Field(description="end a run that changed something with the page OUT/report.html")] = True
    wave_videos: Annotated[int, Field(ge=1, description="videos that pass through the stages together")] = 1000
    wave_hours: Annotated[float, Field(gt=0, description="hours of video per wave, at most about")] = 500.0
    task_cost_s: Annotated[
        float, Field(gt=0, description="seconds of H.264 of 720 lines per task, about, or as much work")
    ] = 300.0


def num_waves(num_videos: int, duration_s: float, params: Params) -> int:
    """How many waves of about `wave_videos` videos and at most about `wave_hours` hours each; 0 for no videos."""
    return max(math.ceil(num_videos / params.wave_videos), math.ceil(duration_s / 3600 / params.wave_hours))


def waves(rows: Sequence[Any], column: str, duration: str | None, params: Params) -> list[list[Any]]:
    """Rows dealt to waves, those with the same value of a column to the same one.

    `duration` names the column with seconds of video.
    """
    keys = {str(row[column]) for row in rows}
    total = num_waves(len(keys), sum(row[duration] or 0.0 for row in rows) if duration else 0.0, params)
    dealt: list[list[Any]] = [[] for _ in range(total)]
    for row in rows:
        dealt[zlib.crc32(str(row[column]).encode()) % total].append(row)
    return [wave for wave in dealt if wave]


def num_tasks(costs: Sequence[float], slots: int, params: Params) -> int:
    """How many tasks keep every slot busy and each task short; never more than there are inputs."""
    even = max(4 * slots, math.ceil(sum(costs) / params.task_cost_s))
    return max(1, min(len(costs), even))


def pack(costs: Sequence[float], num_tasks: int) -> list[list[int]]:
    """The indices of the inputs of each task, in tasks of even cost, most expensive task first.

    Longest processing time first: the most expensive input left goes to the cheapest task so far.
    It takes at most 4/3 of the best possible time (Graham, 1969). No task is empty if there are at
    least as many inputs as tasks.
    """
    tasks: list[list[int]] = [[] for _ in range(num_tasks)]
    heap = [(0.0, 0, task) for task in range(num_tasks)]
    for index in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        load, count, task = heapq.heappop(heap)
        tasks[task].append(index)
        heapq.heappush(heap, (load + costs[index], count + 1, task))
    return sorted((t for t in tasks if t), key=lambda t: -sum(costs[i] for i in t))
