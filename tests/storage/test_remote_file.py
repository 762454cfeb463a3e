"""Remote files read like local ones, fetch few bytes in vain and cache few of them."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.footage import numbers, read_number, write_numbered
from udfs.core.errors import MediaError
from udfs.core.limits import Limits
from udfs.storage import access, remote_file
from udfs.storage.remote_file import BLOCK, CACHE_BLOCKS, NOWHERE, MediaFile, RemoteFile, RemotePath, Stat
from udfs.video import container, decode

DATA = os.urandom(1 << 16) * 40  # 10 blocks


class RangeStore:
    """A store of one file that records the requested ranges and can change or fail."""

    def __init__(self, data: bytes, fails_at: int | None = None) -> None:
        self.data, self.fails_at, self.asked = data, fails_at, list[tuple[int, int]]()
        self.path = RemotePath("test://store/file.mp4", Stat(len(data), str(id(self))), self.fetch)

    def fetch(self, uri: str, start: int, end: int, version: str) -> bytes:
        self.asked.append((start, end))
        if self.fails_at is not None and end > self.fails_at:
            raise MediaError("CHANGED", "another one lies there now")
        return self.data[start:end]

    @property
    def fetched(self) -> int:
        return sum(end - start for start, end in self.asked)


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    remote_file._blocks.clear()
    yield
    remote_file._blocks.clear()


@given(st.lists(st.tuples(st.integers(0, len(DATA) + 10), st.integers(0, 3 * BLOCK)), max_size=8))
def test_any_sequence_of_reads_gives_the_bytes_of_the_file(reads: list[tuple[int, int]]) -> None:
    remote_file._blocks.clear()
    ours, true = io.BufferedReader(RemoteFile(RangeStore(DATA).path)), io.BytesIO(DATA)
    for at, length in reads:
        assert ours.seek(at) == true.seek(at)
        assert ours.read(length) == true.read(length)


@pytest.mark.parametrize(("whence", "offset"), [(0, -1), (1, -9), (2, -1 - len(DATA)), (0, 1 << 63)])
def test_a_seek_to_a_place_that_cannot_be_answers_as_ffmpeg_does_and_moves_nothing(
    whence: int, offset: int, tmp_path: Path
) -> None:
    (tmp_path / "data").write_bytes(DATA)
    files: list[MediaFile | RemoteFile] = [MediaFile(io.FileIO(tmp_path / "data"))]
    files += [RemoteFile(RangeStore(DATA).path)] if offset < 0 else []  # which is as long as its store lets it be
    for file in files:
        file.seek(3)
        assert (file.seek(offset, whence), file.tell()) == (NOWHERE, 3)
        assert file.read(4) == DATA[3:7]


@pytest.mark.parametrize(("whence", "offset", "at"), [(0, 5, 5), (1, -2, 1), (2, -1, len(DATA) - 1)])
def test_seek_counts_from_its_whence(whence: int, offset: int, at: int) -> None:
    file = RemoteFile(RangeStore(DATA).path)
    file.seek(3)
    assert file.seek(offset, whence) == file.tell() == at


def test_nothing_is_fetched_before_it_is_read() -> None:
    store = RangeStore(DATA)
    RemoteFile(store.path).seek(0, os.SEEK_END)
    assert store.asked == []


def test_one_byte_costs_a_block_and_the_next_opening_nothing() -> None:
    store = RangeStore(DATA)
    for _ in range(2):
        assert RemoteFile(store.path).read(1) == DATA[:1]
    assert store.asked == [(0, BLOCK)]


def test_the_last_block_is_as_long_as_the_file() -> None:
    store = RangeStore(DATA[: BLOCK + 7])
    assert io.BufferedReader(RemoteFile(store.path)).read() == DATA[: BLOCK + 7]
    assert store.fetched == BLOCK + 7


def test_a_long_read_fetches_more_at_a_time_and_never_an_eighth_too_much() -> None:
    store = RangeStore(bytes(200 * BLOCK))
    file, read = RemoteFile(store.path), 0
    while part := file.read(BLOCK // 3):
        read += len(part)
        assert store.fetched <= max(read * 9 / 8 + BLOCK, BLOCK)
    assert store.fetched == read == 200 * BLOCK
    assert len(store.asked) < 60


def test_two_sequences_read_in_turns_are_each_read_ahead() -> None:
    store = RangeStore(bytes(100 * BLOCK))
    file = RemoteFile(store.path)
    for number in range(40):
        for begin in (0, 50):
            file.seek((begin + number) * BLOCK)
            file.read(1)
    assert len(store.asked) < 60
    assert store.fetched < 1.2 * 80 * BLOCK


def test_the_cache_is_bounded_and_drops_the_oldest_block() -> None:
    store = RangeStore(bytes((CACHE_BLOCKS + 50) * BLOCK))
    file = RemoteFile(store.path)
    while file.read(BLOCK):
        assert len(remote_file._blocks) <= CACHE_BLOCKS
    asked = len(store.asked)
    file.seek(0)
    file.read(1)
    assert len(store.asked) == asked + 1


def test_another_version_is_another_file() -> None:
    old, new = RangeStore(b"old"), RangeStore(b"new")
    assert old.path.uri == new.path.uri
    assert (RemoteFile(old.path).read(3), RemoteFile(new.path).read(3)) == (b"old", b"new")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
def test_a_video_decodes_as_it_does_from_a_path(tmp_path: Path, suffix: str) -> None:
    path = write_numbered(tmp_path / f"v{suffix}", 90)
    with container.open_video(RangeStore(path.read_bytes()).path, Limits()) as video:
        assert [read_number(frame) for _, frame in decode.frames(video)] == numbers(path)
        assert [read_number(frame) for _, frame in decode.frames(video, 1.0, 2.0)] == numbers(path)[30:60]


def test_the_facts_are_those_of_the_path(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "v.mp4", 90, audio="aac")
    store = RangeStore(path.read_bytes())
    assert container.probe(store.path, Limits()) == container.probe(str(path), Limits())
    assert access.content_tag(store.path) == access.content_tag(str(path))


def test_an_error_of_the_store_while_decoding_is_raised(tmp_path: Path) -> None:
    path = write_numbered(
        tmp_path / "v.mp4", 90, options={"x264-params": "nal-hrd=cbr:bitrate=9000:vbv-maxrate=9000:vbv-bufsize=9000"}
    )
    store = RangeStore(path.read_bytes())
    with container.open_video(store.path, Limits()) as video:
        shown = decode.frames(video)
        next(shown)
        store.fails_at = len(store.data) // 2
        with pytest.raises(MediaError, match="CHANGED"):
            list(shown)


def test_a_store_that_fails_at_once_is_no_corrupt_video() -> None:
    with pytest.raises(MediaError, match="CHANGED"), container.open_video(RangeStore(DATA, fails_at=0).path, Limits()):
        pass


def test_a_file_that_is_no_video_costs_only_its_first_bytes() -> None:
    with (
        pytest.raises(MediaError, match="DENIED"),
        container.open_video(RangeStore(b"ffconcat version 1.0\n").path, Limits()),
    ):
        pass
