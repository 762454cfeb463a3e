"""Fingerprints do not change between versions: an output made before is a finished run after."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.config.settings import Settings, load
from jobs.lake.fingerprints import fingerprint
from jobs.lake.recipes import RECIPES

ALWAYS = {
    "ingest": "367c6c4bcec0d5fe",
    "split": "6d5c0b9000a8ae2b",
    "clip": "76fe54df5faf8a94",
    "analyze": "0ea6636d44635223",
    "copies": "b4a69fe12257dd06",
    "export": "52147b6d0dddfb51",
    "maintain": "039acbbb6542a2a2",
    "takedown": "5f083c85779b5c00",
}
DEFAULT = ALWAYS | {
    "aesthetic": "db2a9c69628f9de4",
    "embed": "3de6f2e14b177257",
    "dedup": "ed818a5023f53542",
    "filter": "afcae26288fb1abe",
    "caption": "ba45f751aa05fd92",
    "enhance": "c233b78cf48632d1",
    "align": "829b1c95145c5261",
}
TINY = ALWAYS | {
    "aesthetic": "8bc6247342ffa79a",
    "embed": "55e7c2ca2f4239e5",
    "dedup": "2fb580be4c122254",
    "filter": "d82443d1c036816a",
    "caption": "67f138cc13e519a7",
    "enhance": "ae1367d32ebe4f9a",
    "align": "5b70d01917b2f142",
}
GPU = ALWAYS | {
    "split": "c043d81736a2f9fe",
    "aesthetic": "db2a9c69628f9de4",
    "embed": "476f3bafc016b5da",
    "dedup": "e99733b4166d243b",
    "filter": "cfe8b169290f5c89",
    "caption": "ec4490e0acf71da9",
    "enhance": "046bdb03e6d2fc19",
    "align": "e99ed8494eb70a95",
}
ENDPOINT = DEFAULT | {"caption": "f1bf71ab5b9682c6", "enhance": "78cfcc10b33fcf35", "align": "111faf097de86bbb"}
ENDPOINT_SETTINGS = [
    *("caption.engine=openai", "caption.model_variant=m", "caption.sampling.seed=3"),
    *("caption.generate_stage2_caption=true", "enhance.engine=openai", "enhance.model_variant=m"),
]


def fingerprints(settings: Settings) -> dict[str, str]:
    """The fingerprint of every stage."""
    return {stage: fingerprint(stage, settings) for stage in RECIPES}


@pytest.mark.parametrize(
    ("files", "overrides", "expected"),
    [
        ([], [], DEFAULT),
        (["conf/tiny.toml"], [], TINY),
        (["conf/gpu.toml"], [], GPU),
        ([], ENDPOINT_SETTINGS, ENDPOINT),
    ],
    ids=["default", "tiny", "gpu", "endpoint"],
)
def test_every_stage_keeps_its_fingerprint(
    files: list[str], overrides: list[str], expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [str(Path(name).resolve()) for name in files]
    monkeypatch.chdir(tmp_path)  # a model's folder that is there counts by its contents: here is none
    assert fingerprints(load(paths, overrides)) == expected


@pytest.mark.parametrize(
    "override",
    [
        *("caption.prompt_text=Say more", "caption.fp8=true", "caption.sampling.seed=1"),
        *("caption.stage2_prompt_text=More", "caption.answer_schema='{}'"),
    ],
)
def test_a_setting_that_changes_captions_changes_their_fingerprint(override: str) -> None:
    changed = fingerprints(load([], [override]))
    assert {stage for stage, value in changed.items() if value != DEFAULT[stage]} == {"caption", "enhance", "align"}


@pytest.mark.parametrize(
    "override",
    ["caption.caption_batch_size=1", "caption.endpoint.concurrency=1", "enhance.resources.cpus=2"],
)
def test_a_setting_that_only_changes_the_cost_does_not(override: str) -> None:
    assert fingerprints(load([], [override])) == DEFAULT


def test_only_rows_of_texts_that_siglip2_gets_in_lower_case_now_are_made_again() -> None:
    model, texts = "embed.model=siglip2", 'embed.texts_to_verify=["a car"]'
    assert fingerprint("embed", load([], [model])) == "41614693a241c675"
    assert fingerprint("align", load([], [model])) != "d7f32cb406b9c7f1"
    assert fingerprint("embed", load([], [model, texts])) == "50e179d79254b9c9"
    assert fingerprint("embed", load([], [model, texts.replace("car", "Car")])) != "3cc2ba6523dde1ce"


def test_the_effort_of_previews_is_6_or_4_in_one_fingerprint() -> None:
    assert fingerprints(load([], ["preview.compression_level=6"])) == DEFAULT  # the default before 0.2.0
    for other in (0, 2):
        changed = fingerprint("analyze", load([], [f"preview.compression_level={other}"]))
        assert changed != DEFAULT["analyze"]


def test_the_settings_of_frames_count_as_they_did_in_the_section_export() -> None:
    settings = load([], ["export.frames.fps=[2]", "export.where=width > 3", "export.nemo.input_path=/x"])
    assert fingerprint("export", settings) == "a657e5dfbefcb424"


OWN_CODE = """
LIMIT = 0.5


def score(inputs, model=None):
    return [LIMIT for each in inputs]


def load(device, *, fast: bool = True):
    class Model:
        name = f"{device}: {fast}"

    return Model()
"""
OWN_CONF = """
[custom.of_frames]
function = "own_fingerprints:score"
load = "own_fingerprints:load"
columns = {value = "float"}
gate = "value >= 0.2"

[custom.of_file]
function = "own_fingerprints:score"
decode = "own_fingerprints:score"
input = "clip"
columns = {value = "float", note = "string"}

[custom.of_row]
function = "own_fingerprints:score"
input = "row"
columns = {value = "double"}
batch_size = 5
"""
OWN = {
    "of_frames": "bf18caf323c24156",
    "of_file": "34eff0d7c0ed1b60",
    "of_row": "193a86382a7b3743",
    "filter": "098dd58aeb13f07b",
}


def test_a_stage_of_ones_own_keeps_its_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_fingerprints.py").write_text(OWN_CODE, encoding="utf-8")
    (tmp_path / "own.toml").write_text(OWN_CONF, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = load([str(tmp_path / "own.toml")], [])
    assert {stage: fingerprint(stage, settings) for stage in OWN} == OWN
    (tmp_path / "own_fingerprints.py").write_text(OWN_CODE.replace("0.5", "0.4"), encoding="utf-8")
    assert all(fingerprint(stage, settings) != value for stage, value in OWN.items())


def test_how_an_export_names_files_makes_no_other_fingerprint() -> None:
    assert fingerprint("export", load([], ["export.paths=none"])) == DEFAULT["export"]
