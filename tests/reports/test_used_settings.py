"""The settings of a run: which differ from the defaults, and no secrets."""

from __future__ import annotations

import json
from pathlib import Path

from jobs.reports import used_settings
from jobs.reports.used_settings import Setting
from tests.reports.conftest import asking
from udfs.core.redaction import HIDDEN


def test_changed_settings_are_marked_and_secrets_hidden(library: Path) -> None:
    used = used_settings.read(asking(library), "20260509T123000-abcdef")
    by_name = {setting.name: setting for setting in used.settings}
    assert by_name["filter.blur_threshold"] == Setting("filter.blur_threshold", "31.25", True)
    assert by_name["split.method"] == Setting("split.method", '"content"', True)
    assert by_name["filter.freeze_threshold"] == Setting("filter.freeze_threshold", "0.9", False)
    assert by_name["spark.spark.my.token"].value == json.dumps(HIDDEN)
    assert used.versions == {"reelmill": "0.2.0", "av": "18.1.0"}


def test_a_run_without_settings_has_none(small: Path) -> None:
    assert used_settings.read(asking(small), "0") == ([], {})
