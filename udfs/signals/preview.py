"""preview: a small animated WebP of each window of a clip, for people to look at."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

from av.video.frame import VideoFrame
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.frames import windows
from udfs.frames.sampler import Sampler
from udfs.runtime.context import Env, Row
from udfs.storage import media_store
from udfs.video import rescale
from udfs.video.memory_writer import MemoryWriter
from udfs.video.rescale import Scaler

TIME_BASE = Fraction(1, 1000)  # WebP counts milliseconds
LOSSLESS = {"lossless": "1", "compression_level": "4"}  # libwebp's own default effort


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[preview]"""

    target_fps: Annotated[float, Field(gt=0, le=1000, description="frames per second")] = 1.0
    target_height: Annotated[int, Field(ge=16, le=4096, description="pixels; never scaled up")] = 240
    compression_level: Annotated[int, Field(ge=0, le=6, description="effort of compression; 0 is lossless")] = 4
    quality: Annotated[int, Field(ge=0, le=100, description="higher is better and larger")] = 50


class Observer:
    """Encodes the first frame of each interval of a window; `result` writes the files."""

    def __init__(self, params: Params, clip: Row, env: Env, cut: windows.Params | None = None) -> None:
        self.params, self.clip, self.env = params, clip, env
        self.windows_left = windows.windows(clip["num_frames"], cut or windows.Params())
        self.files: list[tuple[windows.Window, bytes]] = []
        self.frame_number = -1
        self.aspect = Fraction(clip.get("sample_aspect_ratio") or 1)
        self.scaler, self.format_scaler = Scaler(), Scaler()
        self.rendition: MemoryWriter | None = None
        self._start_window(0.0)

    def see(self, at_s: float, frame: VideoFrame) -> None:
        """Encode a sampled frame, upright.

        Raises:
            MediaError: UNSUPPORTED if a side is over 16,383 pixels, which WebP refuses.
        """
        self.frame_number += 1
        if self.windows_left and self.frame_number > self.windows_left[0].end_frame:
            self._finish_window(at_s)
        if self.windows_left and self.sampler.takes(at_s - self.start_s):
            size = self._size(frame)
            pixels = VideoFrame.from_ndarray(rescale.upright_pixels(frame, size, self.scaler), format="rgb24")
            pix_fmt = "bgra" if self.params.compression_level == 0 else "yuv420p"
            small = rescale.scaled_frame(pixels, size, pix_fmt, self.format_scaler, "BILINEAR")
            if self.rendition is None:
                self.rendition = MemoryWriter(("webp", "libwebp"), small, TIME_BASE, self._options())
            self.rendition.add(at_s - self.start_s, small)

    def result(self) -> Row:
        """Write the files; a window after the clip's last frame gets none."""
        self._finish_window(float(self.clip["duration_s"]))
        entries = []
        for window, content in self.files:
            suffix = f"-{window.start_frame}_{window.end_frame}.webp"
            uri = media_store.media_uri(
                self.env.media_root, "previews", self.clip["clip_id"], self.env.fingerprint, suffix
            )
            with media_store.write_to(uri, self.env.sources) as path, open(path, "wb") as f:
                f.write(content)
            entries.append({"start_frame": window.start_frame, "end_frame": window.end_frame, "uri": uri})
        return {"previews": entries, "warnings": self._warnings()}

    def _start_window(self, at_s: float) -> None:
        self.start_s = at_s
        self.sampler = Sampler(self.params.target_fps)
        self.rendition = None

    def _finish_window(self, at_s: float) -> None:
        if self.rendition is not None:
            self.files.append((self.windows_left.pop(0), self.rendition.close(at_s - self.start_s)))
        self._start_window(at_s)

    def _options(self) -> dict[str, str]:
        effort = {"lossless": "0", "compression_level": str(self.params.compression_level)}
        return (effort if self.params.compression_level else LOSSLESS) | {
            "quality": str(self.params.quality),
            "loop": "0",
        }

    def _size(self, frame: VideoFrame) -> tuple[int, int]:
        """Width and height of the upright preview."""
        width, height = rescale.upright_size(frame, self.scaler, self.aspect)
        scale = min(1.0, self.params.target_height / height)
        return max(1, round(width * scale)), max(1, round(height * scale))

    def _warnings(self) -> list[str]:
        p, clip = self.params, self.clip
        slow = f"preview: the clip has {clip['framerate']:g} fps, less than target_fps {p.target_fps:g}"
        low = f"preview: the clip is {clip['height']} px high, less than target_height {p.target_height}"
        return [slow] * (clip["framerate"] < p.target_fps) + [low] * (clip["height"] < p.target_height)
