"""Presets: each is valid, says where each value is from, and is found by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.config import arguments
from jobs.config.errors import SettingsError
from jobs.config.sections import presets
from jobs.config.settings import Settings, load

PRESETS = sorted(Path("conf/presets").glob("*.toml"))


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_is_found_by_its_name(path: Path) -> None:
    assert load([f"preset:{path.stem}"], []) == load([str(path)], []) != Settings()


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_value_says_why(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    sources = {line[2:].partition(":")[0] for line in lines if line.startswith("# ") and ": " in line} | {
        "it comes with"
    }
    reasons = [line.partition("  # ")[2] for line in lines if " = " in line and not line.startswith("#")]
    assert len(reasons) > 5
    assert [reason for reason in reasons if not reason.startswith(tuple(sources))] == []


def test_the_help_names_every_preset() -> None:
    assert [*presets()] == [path.stem for path in PRESETS]
    assert all(f"preset:{name}" in arguments.CONF for name in presets())


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("world_model", None),
        ("world-modle", "--conf preset:world-modle: no such preset: did you mean world-model?"),
        ("../local", "--conf preset:../local: no such preset: known are fine-tuning, retrieval, world-model"),
    ],
)
def test_an_unknown_preset_is_one_line(name: str, line: str | None) -> None:
    if line is None:
        assert load([f"preset:{name}"], []) == load(["preset:world-model"], [])
        return
    with pytest.raises(SettingsError) as error:
        load([f"preset:{name}"], [])
    assert str(error.value) == line


def test_a_later_file_wins_over_a_preset(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("[split]\nmax_length_s = 30\n")
    settings = load(["preset:world-model", str(mine)], ["split.crop_s=0"])
    assert (settings.split.min_length_s, settings.split.max_length_s, settings.split.crop_s) == (5, 30, 0)
