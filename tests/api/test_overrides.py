"""Settings of a program are what --set makes of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.api.overrides import overrides
from jobs.config.errors import SettingsError
from jobs.config.settings import load


def test_settings_go_by_their_names_or_by_section() -> None:
    by_name = load([], [*overrides({"filter.motion": True, "embed.resources.gpus": 0.5})])
    assert by_name == load([], [*overrides({"filter": {"motion": True}, "embed": {"resources": {"gpus": 0.5}}})])
    assert by_name.filter.motion
    assert by_name.embed.resources.gpus == 0.5


@pytest.mark.parametrize("value", ["NOT v.is_hdr AND c.width = 3", "say \"x\" = 'y'\\", "ü\n\t\x7f\x01", "true", "😀"])
def test_a_text_arrives_as_it_is(value: str) -> None:
    assert load([], [*overrides({"filter.where": value})]).filter.where == value


def test_values_of_numpy_are_numbers_and_lists() -> None:
    given: dict[str, Any] = {
        "filter.motion": np.bool_(True),
        "filter.blur_threshold": np.float64(12.5),
        "split.limit_clips": np.int64(3),
        "dedup.levels": np.array([0.05, 0.25]),
    }
    settings = load([], [*overrides(given)])
    assert (settings.filter.motion, settings.filter.blur_threshold, settings.split.limit_clips) == (True, 12.5, 3)
    assert settings.dedup.levels == (0.05, 0.25)


def test_lists_paths_and_sparks_own_keys_arrive() -> None:
    given: dict[str, Any] = {"dedup.levels": (0.05, 0.2), "models.dir": Path("/m"), "spark.spark.driver.memory": "4g"}
    settings = load([], [*overrides(given)])
    assert settings.dedup.levels == (0.05, 0.2)
    assert settings.models.dir == "/m"
    assert settings.spark == {"spark.driver.memory": "4g"}


def test_what_toml_cannot_say_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match=re.escape("split.clip_stride_s: None is no text")):
        overrides({"split.clip_stride_s": None})
