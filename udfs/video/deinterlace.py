"""Deinterlace the interlaced frames of a video by FFmpeg's filter bwdif."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Generic, TypeVar

import av.error
from av.filter.graph import Graph
from av.video.frame import VideoFrame

from udfs.core import filter_graph
from udfs.core.errors import MediaError

Note = TypeVar("Note")  # what a caller attaches to a frame, such as its time

BASE = Fraction(1, 1000)
BWDIF = "mode=send_frame:deint=interlaced:parity=auto"  # progressive frames pass as they are


class Deinterlacer(Generic[Note]):
    """Deinterlaces frames, each with a note, and returns them in order; their number stays.

    An interlaced frame is returned after the next one, which bwdif reads too. Until the first frame
    that is flagged as interlaced, every frame passes unchanged and at once.
    """

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled
        self.graph: Graph | None = None
        self.picture_format: tuple[int, int, str] | None = None
        self.num_pushed = 0
        self.notes: deque[Note] = deque()

    def push(self, note: Note, frame: VideoFrame) -> Iterator[tuple[Note, VideoFrame]]:
        """Add a frame; yields the frames that are ready now.

        Raises:
            MediaError: UNSUPPORTED for a pixel format that cannot be filtered.
        """
        picture_format = frame.width, frame.height, frame.format.name
        if self.graph is not None and picture_format != self.picture_format:
            yield from self.flush()
        if self.enabled and self.graph is None and frame.interlaced_frame:
            self.graph, self.picture_format, self.num_pushed = _bwdif(frame), picture_format, 0
        if self.graph is None:
            yield note, frame
            return
        self.notes.append(note)
        frame.pts, frame.time_base = self.num_pushed, BASE
        self.num_pushed += 1
        yield from self._filter(frame)

    def flush(self) -> Iterator[tuple[Note, VideoFrame]]:
        """The remaining frames, at the end of the video."""
        if self.graph is not None:
            yield from self._filter(None)
            assert not self.notes, f"bwdif kept {len(self.notes)} frames"
        self.graph = None

    def _filter(self, frame: VideoFrame | None) -> Iterator[tuple[Note, VideoFrame]]:
        assert self.graph is not None
        try:
            self.graph.vpush(frame)
            while True:
                progressive = self.graph.vpull()
                yield self.notes.popleft(), progressive
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        except av.error.MemoryError:  # the sandbox reports it
            raise
        except av.error.FFmpegError as e:
            raise MediaError("UNSUPPORTED", f"no deinterlacing: {e.strerror}") from e


def _bwdif(like: VideoFrame) -> Graph:
    graph = filter_graph.new()
    source = graph.add_buffer(width=like.width, height=like.height, format=like.format, time_base=BASE)
    try:
        graph.link_nodes(source, graph.add("bwdif", BWDIF), graph.add("buffersink")).configure()
    except (av.error.FFmpegError, ValueError) as e:
        raise MediaError("UNSUPPORTED", f"no deinterlacing of {like.format.name}: {e}") from e
    return graph
