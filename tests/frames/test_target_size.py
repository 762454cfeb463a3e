"""Target sizes computed by hand, and compared with the libraries whose models read the pictures."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.functional import _compute_resized_output_size  # type: ignore[import-untyped]
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

from udfs.frames import target_size

SIDES = st.integers(16, 8192)


def test_an_exact_size_does_not_depend_on_the_source() -> None:
    assert target_size.exact_size(64, 48)(1920, 1080) == (64, 48)


@pytest.mark.parametrize(
    ("source", "fitted"),
    [((1920, 1080), (398, 224)), ((1080, 1920), (224, 398)), ((100, 100), (224, 224)), ((160, 120), (298, 224))],
)
def test_the_short_side_is_exact_and_the_aspect_ratio_is_kept(source: tuple[int, int], fitted: tuple[int, int]) -> None:
    assert target_size.short_side(224)(*source) == fitted


@given(SIDES, SIDES, st.integers(16, 512))
def test_torchvision_would_not_resize_a_picture_with_that_short_side(width: int, height: int, px: int) -> None:
    assert list(target_size.short_side(px)(width, height))[::-1] == _compute_resized_output_size((height, width), [px])


@pytest.mark.parametrize(
    ("source", "fitted"),
    [((640, 480), (644, 476)), ((1920, 1080), (1008, 560)), ((64, 36), (168, 84)), ((8192, 16), (8204, 28))],
)
def test_pixels_are_bounded_and_sides_are_multiples(source: tuple[int, int], fitted: tuple[int, int]) -> None:
    assert target_size.pixel_budget(128 * 28 * 28 // 8, 768 * 28 * 28, 28)(*source) == fitted


@given(SIDES, SIDES, st.sampled_from([28, 32]), st.integers(1, 256), st.integers(256, 1024))
def test_the_pixel_budget_gives_the_size_of_qwen_s_processor(
    width: int, height: int, multiple: int, low: int, high: int
) -> None:
    bounds = low * multiple**2, high * multiple**2
    fitted = target_size.pixel_budget(*bounds, multiple)(width, height)
    assert all(side > 0 and side % multiple == 0 for side in fitted)
    if max(width, height) <= 200 * min(width, height):  # smart_resize refuses others
        assert fitted[::-1] == smart_resize(height, width, multiple, *bounds)


def test_target_res_is_a_square_or_the_source_s_own_size() -> None:
    assert target_size.target_res(224)(1920, 1080) == (224, 224)
    assert target_size.target_res(-1)(1920, 1080) == (1920, 1080)


@pytest.mark.parametrize(
    "fit",
    [
        target_size.exact_size(8, 8),
        target_size.short_side(8),
        target_size.pixel_budget(1, 9999, 2),
        target_size.target_res(-1),
    ],
)
def test_a_fit_can_be_pickled(fit: target_size.Fit) -> None:
    assert pickle.loads(pickle.dumps(fit))(40, 20) == fit(40, 20)
