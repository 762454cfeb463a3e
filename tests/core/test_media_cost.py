"""Costs of media follow from codec, size, frames and bytes, so that tasks of a mixed library are even."""

from __future__ import annotations

from typing import Any

import pytest

from udfs.core import media_cost
from udfs.core.scheduling import pack

HEVC_4K = {"video_codec": "hevc", "width": 3840, "height": 2160, "framerate": 30.0, "num_bytes": 150_000_000}
H264_360P = {"video_codec": "h264", "width": 640, "height": 360, "framerate": 30.0, "num_bytes": 7_500_000}


def minutes(video: dict[str, Any], number: float) -> dict[str, Any]:
    """A row of work with so many minutes of a video."""
    return video | {"duration_s": 60 * number, "num_bytes": video["num_bytes"] * number}


def transcoding(row: media_cost.Row) -> float:
    return media_cost.transcoding(row, "libx264")


@pytest.mark.parametrize("cost", [media_cost.decoding, media_cost.analyzing, transcoding])
def test_a_second_of_usual_video_costs_one(cost: Any) -> None:
    assert cost(media_cost.USUAL) == pytest.approx(1)


@pytest.mark.parametrize("cost", [media_cost.decoding, transcoding, media_cost.copying])
def test_twice_the_video_costs_twice(cost: Any) -> None:
    assert cost(minutes(HEVC_4K, 2)) == pytest.approx(2 * cost(minutes(HEVC_4K, 1)))


@pytest.mark.parametrize(("cost", "least"), [(media_cost.decoding, 20), (transcoding, 20), (media_cost.analyzing, 10)])
def test_a_minute_of_4k_hevc_costs_many_minutes_of_360p_h264(cost: Any, least: float) -> None:
    assert cost(minutes(HEVC_4K, 1)) > least * cost(minutes(H264_360P, 1))


def test_columns_that_are_not_there_are_those_of_usual_video() -> None:
    assert media_cost.decoding({"duration_s": 1.0}) == pytest.approx(1)
    unknown = {"duration_s": 1.0, "width": None, "video_codec": "bink"}
    assert media_cost.decoding(unknown) == pytest.approx(1)


def test_the_name_of_a_decoder_stands_for_its_codec() -> None:
    assert media_cost.decoding(H264_360P | {"video_codec": "libdav1d"}) == media_cost.decoding(
        H264_360P | {"video_codec": "av1"}
    )


def test_the_bytes_of_a_video_are_in_the_column_size() -> None:
    sized = {name: value for name, value in HEVC_4K.items() if name != "num_bytes"} | {"size": HEVC_4K["num_bytes"]}
    assert media_cost.decoding(sized) == media_cost.decoding(HEVC_4K)


def test_two_tasks_of_a_mixed_library_are_even_by_cost_and_not_by_seconds() -> None:
    library = [minutes(video, 5) for _ in range(10) for video in (HEVC_4K, H264_360P)]
    costs, seconds = [transcoding(row) for row in library], [row["duration_s"] for row in library]

    def unevenness(dealt: list[float]) -> float:
        """The cost of the dearer of two tasks over that of the other."""
        loads = sorted(sum(costs[i] for i in task) for task in pack(dealt, 2))
        return loads[1] / loads[0]

    assert unevenness(costs) < 1.1
    assert unevenness(seconds) > 20
