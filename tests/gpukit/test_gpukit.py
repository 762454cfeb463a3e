"""make gpu-kit: what the kit holds runs without the checkout and without a GPU, up to the first CUDA call."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoModelForImageTextToText

from tests.gpukit import build, checks, models, rates, run
from tests.gpukit.sizes import DRY, FULL, Size
from tests.support.frame_reads import READS
from tests.support.goals import Row


def pack_installed(folder: Path, packages: tuple[str, ...]) -> None:
    """Wheels of the installed packages, which are for this Python and take no download."""
    folder.mkdir()
    for name in packages:
        with zipfile.ZipFile(folder / f"{name}-0.whl", "w", zipfile.ZIP_DEFLATED) as archive:
            for file in distribution(name).files or []:
                if ".." not in file.parts and "__pycache__" not in file.parts:
                    archive.write(str(file.locate()), str(file))


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kit") / "gpu-kit"
    packed = {"pydantic", "pydantic-core", "pluggy"}

    def pack(target: Path, names: tuple[str, ...]) -> None:
        pack_installed(target, tuple(name for name in names if name in packed))

    return build.build(folder, pack, ("h264",), frames=50)


@pytest.mark.nights
def test_a_dry_run_goes_up_to_the_first_cuda_call(kit: Path, tmp_path: Path) -> None:
    for absent in ("jobs", "pyspark", "delta"):  # which a machine with a GPU need not have
        (tmp_path / f"{absent}.py").write_text("raise ImportError(__name__)", encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    command = [sys.executable, str(kit / "run.py"), "--dry"]
    env = kept | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1].startswith("dry run: nothing was asked of a GPU")
    decoded = ("h264 720p", "clip: ", "analyze: ", *(f"{name}: frames read: on one core" for name in READS))
    for what in (*decoded, "cosines, float16", "embed, ", "caption, ", "pytest -m gpu: "):
        assert any(line.startswith(what) for line in lines), what


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_line_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checks.main(["--clips", str(tmp_path)]) == 2
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert "sees no GPU: run.py --dry" in out


@pytest.mark.parametrize(("size", "goal"), [(FULL, 0.9), (DRY, None)])
def test_only_a_gpu_has_goals(size: Size, goal: float | None) -> None:
    rate, *busy = rates._share("embed", 0.5, "1 clip/s", [95.0, 99.0], size)
    assert (rate.goal, rate.met) == (goal, None if goal is None else False)
    assert [(row.measured, row.met) for row in busy] == ([] if goal is None else [(97.0, True)])


def test_at_full_size_the_models_are_as_large_as_those_they_stand_for(tmp_path: Path) -> None:
    size = dataclasses.replace(FULL, device="meta")  # which holds no numbers
    folders = models.clip(tmp_path / "clip", size), models.captioner(tmp_path / "captioner", size)
    with models.random_weights(size):
        clip = AutoModel.from_pretrained(folders[0], dtype=torch.bfloat16)
        captioner = AutoModelForImageTextToText.from_pretrained(folders[1], dtype=torch.bfloat16)
    assert sum(weight.numel() for weight in clip.vision_model.parameters()) == 303_179_776  # ViT-L/14
    assert sum(weight.numel() for weight in captioner.parameters()) == 8_292_166_656  # Qwen2.5-VL-7B
    assert (clip.dtype, captioner.dtype) == (torch.bfloat16, torch.bfloat16)


def test_a_check_that_fails_is_a_missed_goal_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(clips: Path, work: Path, size: Size) -> Iterator[Row]:
        raise ValueError("no such thing")

    def fine(clips: Path, work: Path, size: Size) -> Iterator[Row]:
        yield Row("fine", 1, "x", 1, "at least")

    monkeypatch.setattr(checks, "CHECKS", (broken, fine))
    assert checks.main(["--clips", str(tmp_path), "--dry"]) == 1
    out = capsys.readouterr().out
    assert "missed: broken: failed" in out
    assert "fine" in out


def test_a_package_that_the_machine_has_is_not_taken_from_the_kit(tmp_path: Path) -> None:
    pack_installed(tmp_path / "wheels", ("iniconfig",))
    pack_installed(tmp_path / "spare", ("pluggy",))
    (tmp_path / "to").mkdir()
    assert [Path(path).name for path in run.unpacked(tmp_path, tmp_path / "to")] == ["iniconfig-0"]


def test_a_kit_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "MAX_MIB", 0)
    with pytest.raises(build.KitError, match="and may have 0"):
        build.build(tmp_path / "kit", lambda target, names: None, (), frames=10)
