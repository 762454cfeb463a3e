"""export: which rows are exported, and how each format writes them."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.exports import frames, huggingface, nemo, parquet, webdataset


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[export]"""

    what: Annotated[
        Literal["auto", "curated", "clips", "videos"],
        Field(description="clips kept, all clips, whole videos; auto: all clips for nemo, else those kept"),
    ] = "auto"
    where: Annotated[str, Field(min_length=1, description="SQL condition on these rows: width >= 1280")] = "true"
    paths: Annotated[
        Literal["relative", "absolute", "none"],
        Field(description="names of media files in columns and JSON: below output or videos' folder, in full, or none"),
    ] = "relative"
    frames: frames.Params = field(default_factory=frames.Params)
    nemo: nemo.Params = field(default_factory=nemo.Params)
    webdataset: webdataset.Params = field(default_factory=webdataset.Params)
    parquet: parquet.Params = field(default_factory=parquet.Params)
    huggingface: huggingface.Params = field(default_factory=huggingface.Params)
