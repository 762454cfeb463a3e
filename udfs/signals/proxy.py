"""proxy: a small mp4 of sampled frames of a clip, cheap to decode, which the models read."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

from av.video.frame import VideoFrame
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.frames.sampler import Sampler, bounded_size
from udfs.runtime.context import Env, Row
from udfs.storage import media_store
from udfs.video.memory_writer import MemoryWriter
from udfs.video.picture import Orientation, orientation, square_pixel_size
from udfs.video.rescale import Scaler, scaled_frame

TIME_BASE = Fraction(1, 90_000)  # divides the usual frame rates
# fastdecode turns off CABAC and the deblocking filter, zerolatency B-frames and look-ahead. Key
# frames come at fixed distances, because scene cuts are not detected.
X264 = {"preset": "veryfast", "tune": "fastdecode,zerolatency", "sc_threshold": "0"}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[proxy]"""

    use: Annotated[bool, Field(description="models read the proxy; false: the clip itself")] = True
    fps: Annotated[float, Field(gt=0, le=1000, description="frames per second")] = 4.0
    max_side_px: Annotated[int, Field(ge=16, le=8192, description="longer side; never scaled up")] = 512
    crf: Annotated[int, Field(ge=0, le=51, description="x264's rate factor: higher is smaller and worse")] = 20
    gop: Annotated[int, Field(ge=1, le=1000, description="distance of key frames, frames")] = 4


class Observer:
    """Encodes the first frame of each interval at its own time."""

    def __init__(self, params: Params, clip: Row, env: Env) -> None:
        self.params, self.sources = params, env.sources
        self.duration_s = float(clip["duration_s"])
        self.uri = media_store.media_uri(env.media_root, "proxies", clip["clip_id"], env.fingerprint, ".mp4")
        self.sampler = Sampler(params.fps)
        self.aspect = Fraction(clip.get("sample_aspect_ratio") or 1)
        self.scaler = Scaler()
        self.rendition: MemoryWriter | None = None

    def see(self, at_s: float, frame: VideoFrame) -> None:
        """Scale a sampled frame to square pixels and encode it; the proxy keeps the rotation flag.

        Raises:
            MediaError: UNSUPPORTED if x264 refuses the frame.
        """
        if not self.sampler.takes(at_s):
            return
        size = bounded_size(
            square_pixel_size((frame.width, frame.height), self.aspect), self.params.max_side_px, multiple=2
        )
        small = scaled_frame(frame, size, "yuv420p", self.scaler)
        if self.rendition is None:
            options = X264 | {"crf": str(self.params.crf), "g": str(self.params.gop)}
            self.rendition = MemoryWriter(("mp4", "libx264"), small, TIME_BASE, options)
            if (turn := orientation(frame)) != Orientation():
                # FFmpeg mirrors after it rotates.
                degrees = 90 * (-turn.turns if turn.is_mirrored else turn.turns)
                self.rendition.stream.set_display_rotation(degrees, hflip=turn.is_mirrored)
        self.rendition.add(at_s, small)

    def result(self) -> Row:
        """Finish the file and write it below the media root; NULLs for a clip without a frame."""
        if self.rendition is None:
            return {"proxy_uri": None, "proxy_num_frames": None}
        content = self.rendition.close(self.duration_s)
        with media_store.write_to(self.uri, self.sources) as path, open(path, "wb") as f:
            f.write(content)
        return {"proxy_uri": self.uri, "proxy_num_frames": self.rendition.num_frames}
