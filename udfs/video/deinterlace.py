"""Deinterlace the interlaced frames of a video by FFmpeg's filter bwdif; the number of frames stays."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Generic, TypeVar

import av.error
from av.filter.graph import Graph
from av.video.frame import VideoFrame

from udfs.core.errors import MediaError

Note = TypeVar("Note")  # what a caller attaches to a frame, such as its time

BASE = Fraction(1, 1000)
BWDIF = "mode=send_frame:deint=interlaced:parity=auto"  # progressive frames pass as they are


class Deinterlacer(Generic[Note]):
    """Takes frames with notes and gives them back in order; an interlaced frame waits for the next, which bwdif reads too.

    Until the first frame that is flagged as interlaced, every frame passes unchanged and at once.
    """

    def __init__(self, *, on: bool) -> None:
        self.on = on
        self.graph: Graph | None = None
        self.shape: tuple[int, int, str] | None = None
        self.num_pushed = 0
        self.waiting: deque[Note] = deque()

    def push(self, note: Note, frame: VideoFrame) -> Iterator[tuple[Note, VideoFrame]]:
        """Take a frame; gives the frames that are ready now.

        Raises:
            MediaError: UNSUPPORTED for a pixel format that cannot be filtered.
        """
        shape = frame.width, frame.height, frame.format.name
        if self.graph is not None and shape != self.shape:
            yield from self.flush()
        if self.on and self.graph is None and frame.interlaced_frame:
            self.graph, self.shape, self.num_pushed = _bwdif(frame), shape, 0
        if self.graph is None:
            yield note, frame
            return
        self.waiting.append(note)
        frame.pts, frame.time_base = self.num_pushed, BASE
        self.num_pushed += 1
        yield from self._filter(frame)

    def flush(self) -> Iterator[tuple[Note, VideoFrame]]:
        """The frames that still wait, at the end of the video."""
        if self.graph is not None:
            yield from self._filter(None)
            assert not self.waiting, f"bwdif kept {len(self.waiting)} frames"
        self.graph = None

    def _filter(self, frame: VideoFrame | None) -> Iterator[tuple[Note, VideoFrame]]:
        assert self.graph is not None
        try:
            self.graph.vpush(frame)
            while True:
                ready = self.graph.vpull()
                yield self.waiting.popleft(), ready
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        except av.error.MemoryError:  # the sandbox reports it
            raise
        except av.error.FFmpegError as e:
            raise MediaError("UNSUPPORTED", f"no deinterlacing: {e.strerror}") from e


def _bwdif(like: VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(width=like.width, height=like.height, format=like.format, time_base=BASE)
    try:
        graph.link_nodes(source, graph.add("bwdif", BWDIF), graph.add("buffersink")).configure()
    except (av.error.FFmpegError, ValueError) as e:
        raise MediaError("UNSUPPORTED", f"no deinterlacing of {like.format.name}: {e}") from e
    return graph
