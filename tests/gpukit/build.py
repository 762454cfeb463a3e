"""Build a folder with which a machine that has a GPU and no network checks Reelmill: `make gpu-kit`.

Usage: python -m tests.gpukit.build FOLDER. The folder holds the code, wheels for Python 3.12, a few clips,
and `run.py`, which prints a table of what was measured beside its goals. The machine must have torch,
transformers, pandas, pyarrow, numpy and OpenCV; Spark it needs not, as the stages run without.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.gpukit import run
from tests.support import clips, reels
from udfs.core.limits import Limits
from udfs.video import container, decode

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("udfs", "schemas", "tests/gpukit", "tests/support")
FILES = ("tests/__init__.py", "tests/video/conftest.py", *run.TESTS)
TORCHVISION = "torchvision==0.26.*"  # that of torch 2.11
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
MAX_MIB = 60
# The codecs of the videos that NVDEC decodes beside a CPU, and their options.
CODECS = {
    "h264": ("libx264", {"preset": "veryfast", "crf": "23"}),
    "hevc": ("libx265", {"preset": "ultrafast", "crf": "28", "x265-params": "log-level=none"}),
    "av1": ("libsvtav1", {"preset": "10", "crf": "40"}),
}
NUM_REELS, REEL_FRAMES = 4, 250

Download = Callable[[Path, tuple[str, ...]], None]  # puts wheels of these packages into a folder


class KitError(Exception):
    """A kit that cannot be used."""


def build(folder: Path, download: Download, codecs: tuple[str, ...] = tuple(CODECS), frames: int = REEL_FRAMES) -> Path:
    """Build the kit in a folder, whose old content goes.

    Raises:
        KitError: it is larger than a device machine takes.
    """
    shutil.rmtree(folder, ignore_errors=True)
    copy_code(folder / "code")
    shutil.copyfile(run.__file__, folder / "run.py")
    download(folder / "wheels", tuple(run.WHEELS))
    download(folder / "spare", tuple(run.SPARE))
    write_clips(folder / "clips", codecs, frames)
    size_mib = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
    if size_mib >= MAX_MIB:
        raise KitError(f"{folder} has {size_mib:.0f} MiB, and may have {MAX_MIB}")
    return folder


def copy_code(target: Path) -> None:
    """Copy what the checks import."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target / name)


def download_wheels(folder: Path, packages: tuple[str, ...]) -> None:
    """Download the wheels of packages in the versions of constraints.txt, for Python 3.12."""
    pinned = [name for name in packages if name != "torchvision"]
    _pip_download(folder, ["--constraint", str(ROOT / "constraints.txt"), *pinned])
    if "torchvision" in packages:
        _pip_download(folder, [TORCHVISION])


def _pip_download(folder: Path, arguments: list[str]) -> None:
    platforms = [f"--platform={name}" for name in PLATFORMS]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *platforms]
    subprocess.run([*command, "--python-version", "3.12", "--dest", str(folder), *arguments], check=True)


def write_clips(folder: Path, codecs: tuple[str, ...], frames: int) -> None:
    """Write a real video in each codec, and reels of the size of proxies."""
    folder.mkdir()
    source = reels.real_clip("bigbuckbunny")
    with container.open_video(str(source), Limits()) as video:
        shown = [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for _, frame in decode.frames(video)][:frames]
    for name in codecs:
        codec, options = CODECS[name]
        clips.write(folder / f"{name}.mp4", shown, fps=reels.FPS, codec=codec, options=options)
    for seed in range(NUM_REELS):
        pictures, _ = reels.join_shots(reels.random_shots(4, seed, 80))
        reels.write(folder / f"reel-{seed}.mp4", (pictures * NUM_REELS)[:frames])


if __name__ == "__main__":
    print(f"{build(Path(sys.argv[1]), download_wheels)}: copy it to the machine, and run python run.py there")
