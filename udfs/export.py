"""export: what of the tables is taken out, and how each format is written; frames goes by the settings that are no section."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.exports import huggingface, nemo, parquet, webdataset

Rate = Annotated[float, Field(gt=0, le=1000)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[export]"""

    what: Annotated[
        Literal["auto", "curated", "clips", "videos"],
        Field(description="clips kept, all clips, whole videos; auto: all clips for nemo, else those kept"),
    ] = "auto"
    where: Annotated[str, Field(min_length=1, description="SQL condition on these rows: width >= 1280")] = "true"
    policy: Annotated[
        Literal["sequence", "first", "middle", "last"], Field(description="frames at even times, or one frame of each")
    ] = "sequence"
    fps: Annotated[
        tuple[Rate, ...], Field(min_length=1, description="frames a second of a sequence; a folder a rate")
    ] = (1.0,)
    target_res: Annotated[
        int, Field(ge=-1, description="side of a square, pixels, the aspect lost; -1: as the clip")
    ] = -1
    encoding: Annotated[
        Literal["jpeg", "png", "npz"], Field(description="a file a frame, or one file of all (npz)")
    ] = "jpeg"
    quality: Annotated[int, Field(ge=1, le=100, description="of a JPEG: higher is better and larger")] = 92
    nemo: nemo.Params = field(default_factory=nemo.Params)
    webdataset: webdataset.Params = field(default_factory=webdataset.Params)
    parquet: parquet.Params = field(default_factory=parquet.Params)
    huggingface: huggingface.Params = field(default_factory=huggingface.Params)

    def __post_init__(self) -> None:
        if self.target_res == 0:
            raise ValueError("target_res 0: give pixels, or -1 for the clip's own size")
        if len(set(self.folders)) < len(self.folders):
            raise ValueError(f"fps {self.fps}: the same rate twice")

    @property
    def folders(self) -> list[str]:
        """The name of each rate's folder, or of the policy's."""
        return [f"{fps:g}fps" for fps in self.fps] if self.policy == "sequence" else [self.policy]
