"""frames: an export of one folder of pictures per clip or video, with a list of their times."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import pandas as pd
from av.codec.hwaccel import HWAccel
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.core.task_resources import EFFORT, Resources
from udfs.frames import extract
from udfs.frames.extract import Pictures
from udfs.frames.image_files import ArrayFile, ImageFiles
from udfs.runtime import batching, sandbox
from udfs.runtime.context import Env, Outputs, Row
from udfs.runtime.sandbox import Needs
from udfs.storage import access, media_store
from udfs.storage.remote_file import AnyPath, open_path
from udfs.storage.settings import Params as Sources
from udfs.video.nvdec import Hwaccel, Place

Rate = Annotated[float, Field(gt=0, le=1000)]
COLUMNS = ["num_frames", "num_bytes"]
LIST = "frames.json"  # beside the pictures, written last: their source, settings and times


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[export.frames]"""

    NOT_HASHED_AT_DEFAULT: ClassVar[tuple[str, ...]] = ("hwaccel",)  # it came later: so older rows stay valid

    policy: Annotated[
        Literal["sequence", "first", "middle", "last"], Field(description="frames at even times, or one frame of each")
    ] = "sequence"
    fps: Annotated[
        tuple[Rate, ...], Field(min_length=1, description="frames per second of a sequence; a folder per rate")
    ] = (1.0,)
    target_res: Annotated[
        int, Field(ge=-1, description="side of a square, pixels, the aspect lost; -1: as the clip")
    ] = -1
    encoding: Annotated[
        Literal["jpeg", "png", "npz"], Field(description="a file per frame, or one file of all (npz)")
    ] = "jpeg"
    quality: Annotated[int, Field(ge=1, le=100, description="of a JPEG: higher is better and larger")] = 92
    hwaccel: Annotated[Hwaccel, Field(description="cuda: NVDEC decodes what it can, and may hide damage")] = "none"
    resources: Annotated[
        Resources, Field(json_schema_extra=EFFORT, description="gpus 0: a third of a GPU with hwaccel cuda, else none")
    ] = Resources()

    def __post_init__(self) -> None:
        if self.target_res == 0:
            raise ValueError("target_res 0: give pixels, or -1 for the clip's own size")
        if len(set(self.folders)) < len(self.folders):
            raise ValueError(f"fps {self.fps}: the same rate twice")

    @property
    def folders(self) -> list[str]:
        """The name of each rate's folder, or of the policy's."""
        return [f"{fps:g}fps" for fps in self.fps] if self.policy == "sequence" else [self.policy]


def rows(batches: Iterable[pd.DataFrame], params: Params, env: Env, to: str, aside: str) -> Iterator[pd.DataFrame]:
    """Batches of clips or videos to batches with a row for each that was written: those that are complete give none.

    `shown_uri` is the name of the file in the list of its frames; `is_source` tells a source video
    from a clip.
    """
    env = replace(env, outputs=Outputs(to, aside))
    work, on_gpu = partial(write, params=params, env=env, to=to, aside=aside), params.hwaccel == "cuda"
    limits = env.limits.with_cuda() if on_gpu else env.limits
    yield from batching.each(batches, work, key="key", columns=COLUMNS, limits=limits, needs=Needs(gpu=on_gpu))
    if on_gpu:
        sandbox.stop()  # frees the GPU's memory


def write(row: Row, params: Params, env: Env, to: str, aside: str) -> list[Row]:
    """Write the missing folders of `<to>/<key>/<rate or policy>/`, each complete or not at all.

    Raises:
        MediaError: the file is missing, changed, damaged or incomplete.
    """
    made_of = _made_of(row, params)
    missing = [name for name in params.folders if not _is_complete(f"{to}/{row['key']}/{name}", made_of)]
    if not missing:
        return []
    path = _path(row, env)

    def write_missing(accel: HWAccel | None) -> list[Row]:
        return _write(
            _pictures(path, missing, params, env, accel),
            missing,
            f"{to}/{row['key']}",
            made_of,
            params,
            aside,
            env.sources,
        )

    return Place(params.hwaccel, env.task).decode(write_missing)


def _write(
    pictures: Iterator[tuple[int, float, Pictures]],
    names: list[str],
    to: str,
    made_of: dict[str, Any],
    params: Params,
    aside: str,
    sources: Sources,
) -> list[Row]:
    """Write the pictures to folders of these names, which come to their place when all are whole."""
    with media_store.unfinished_folder(aside) as folder:
        writers = [_writer(os.path.join(folder, name), params) for name in names]
        for which, at_s, picture in pictures:
            writers[which].add(at_s, picture)
        num_bytes = 0
        for name, writer in zip(names, writers, strict=True):
            num_bytes += writer.close()
            _list(os.path.join(folder, name), made_of | {"times_s": [round(at_s, 6) for at_s in writer.times_s]})
            media_store.place(os.path.join(folder, name), f"{to}/{name}", to, sources)
    return [{"num_frames": sum(len(writer.times_s) for writer in writers), "num_bytes": num_bytes}]


def _pictures(
    path: AnyPath, folders: list[str], params: Params, env: Env, accel: HWAccel | None
) -> Iterator[tuple[int, float, Pictures]]:
    """Each picture with the index of its folder and its time."""
    fit = extract.target_res(params.target_res)
    if params.policy == "sequence":
        rates = [fps for fps, name in zip(params.fps, params.folders, strict=True) if name in folders]
        return extract.stream_samples(path, rates, fit, env.limits, accel)
    times, pictures = extract.single_frame(path, params.policy, fit, env.limits, accel)
    return iter([(0, float(times[0]), pictures[0])])


def _path(row: Row, env: Env) -> AnyPath:
    if row["is_source"]:
        return access.unchanged_path(access.address(row), row["version"], env.sources)
    return access.own_path(row["uri"], env.sources)


def _made_of(row: Row, params: Params) -> dict[str, Any]:
    """The facts that determine the pictures, except the rate or policy."""
    how: dict[str, Any] = {"target_res": params.target_res, "encoding": params.encoding}
    if params.encoding == "jpeg":
        how["quality"] = params.quality
    if params.hwaccel != "none":
        how["hwaccel"] = params.hwaccel
    return {"uri": row["shown_uri"], "version": row["version"], **how}


def _is_complete(folder: str, made_of: dict[str, Any]) -> bool:
    try:
        with open_path(os.path.join(folder, LIST)) as f:
            listed = json.load(f)
    except FileNotFoundError:
        return False
    names = ("times_s", "uri")  # another name of the same file makes no other pictures
    kept = [{name: value for name, value in facts.items() if name not in names} for facts in (listed, made_of)]
    return kept[0] == kept[1]


def _writer(folder: str, params: Params) -> ImageFiles | ArrayFile:
    os.mkdir(folder)
    if params.encoding == "npz":
        return ArrayFile(folder)
    return ImageFiles(folder, params.encoding, params.quality)


def _list(folder: str, facts: dict[str, Any]) -> None:
    with open(os.path.join(folder, LIST), "w", encoding="utf-8") as f:
        json.dump(facts, f)
