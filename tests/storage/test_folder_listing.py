"""Videos below a folder: each file once, under a fixed path, and counts of what is left out."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from udfs.runtime import sandbox
from udfs.storage.folder_listing import videos


def test_a_folder_names_its_videos_at_every_depth(folder: Path) -> None:
    paths, left_out = videos(str(folder))
    assert paths == [str(folder / name) for name in ("a/b/d.webm", "a/c.MKV", "b.mp4")]
    assert left_out == {"suffix": 2}


def test_a_folder_of_nothing_is_empty_and_one_that_is_none_is_an_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty/deep").mkdir(parents=True)
    assert videos(str(tmp_path / "empty")) == ([], {})
    with pytest.raises(FileNotFoundError):
        videos(str(tmp_path / "gone"))
    with pytest.raises(NotADirectoryError):
        videos(str(folder / "b.mp4"))


def test_a_folder_with_the_name_of_a_video_is_a_folder(folder: Path) -> None:
    (folder / "dvd.vob").mkdir()
    (folder / "dvd.vob/1.vob").write_bytes(b"x")
    assert str(folder / "dvd.vob/1.vob") in videos(str(folder))[0]
    assert str(folder / "dvd.vob") not in videos(str(folder))[0]


def test_clips_of_an_output_below_the_folder_are_left_out_and_those_of_a_folder_called_media_are_not(
    folder: Path,
) -> None:
    (folder / "out/tables/clips/_delta_log").mkdir(parents=True)
    for name in ("out/media/clips", "other/media", "other/tables/none"):
        (folder / name).mkdir(parents=True)
        (folder / name / "1.mp4").write_bytes(b"x")
    (folder / "out/beside.mp4").write_bytes(b"x")
    paths, left_out = videos(str(folder))
    assert {Path(path).relative_to(folder).as_posix() for path in paths} == {
        *("a/b/d.webm", "a/c.MKV", "b.mp4"),
        *("other/media/1.mp4", "other/tables/none/1.mp4", "out/beside.mp4"),
    }
    assert left_out == {"suffix": 2, "output": 1}
    assert videos(str(folder / "out/media"))[0] == [str(folder / "out/media/clips/1.mp4")]  # asked for by name


def test_two_hard_links_are_two_files(folder: Path) -> None:
    os.link(folder / "b.mp4", folder / "c.mp4")
    assert {str(folder / "b.mp4"), str(folder / "c.mp4")} <= set(videos(str(folder))[0])


def test_what_a_folder_holds_beside_videos_is_counted(folder: Path) -> None:
    names = [
        "._b.mp4",
        ".git/x.mp4",
        ".Trash-1000/files/x.mp4",
        "$RECYCLE.BIN/x.mp4",
        "a/@eaDir/b.mp4/thumb.mp4",
        "a/readme.md",
    ]
    for name in [*names, "__MACOSX/._b.mp4", "System Volume Information/x.mp4", "lost+found/x.mp4"]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    paths, left_out = videos(str(folder))
    assert paths == [str(folder / name) for name in ("a/b/d.webm", "a/c.MKV", "b.mp4")]
    assert left_out == {"suffix": 3, "hidden": 2, "trash": 6}


def test_a_hidden_folder_that_is_asked_for_is_read(tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache/v.mp4").write_bytes(b"x")
    assert videos(str(tmp_path / ".cache")) == ([str(tmp_path / ".cache/v.mp4")], {})


def test_linked_folders_are_entered_once_and_by_their_own_name_first(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    (tmp_path / "elsewhere/deep/x.mp4").write_bytes(b"x")
    (folder / "0").symlink_to(tmp_path / "elsewhere")
    (folder / "1").symlink_to(tmp_path / "elsewhere/deep")
    (folder / "2").symlink_to(folder / "a")
    (folder / "a/up").symlink_to(folder)
    (tmp_path / "elsewhere/deep/loop").symlink_to(tmp_path / "elsewhere")
    (folder / "broken").symlink_to(tmp_path / "gone")
    paths, left_out = videos(str(folder))
    assert paths == [str(folder / name) for name in ("0/deep/x.mp4", "a/b/d.webm", "a/c.MKV", "b.mp4")]
    assert left_out == {"suffix": 3, "link": 4}


def test_a_link_to_a_file_that_is_listed_is_the_same_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"x")
    for name, target in {"0.mp4": folder / "b.mp4", "y.mp4": tmp_path / "blob", "a/z.mp4": tmp_path / "blob"}.items():
        (folder / name).symlink_to(target)
    (folder / "gone.mp4").symlink_to(tmp_path / "gone")
    paths, left_out = videos(str(folder))
    assert paths == [str(folder / name) for name in ("a/b/d.webm", "a/c.MKV", "a/z.mp4", "b.mp4", "gone.mp4")]
    assert left_out["link"] == 2


def test_a_folder_that_cannot_be_read_costs_only_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the call itself: root may read everything, and no file system here fails on demand."""
    scan = os.scandir

    def failing(path: str) -> Any:
        if path.endswith("/a"):
            raise OSError(errno.ESTALE, "Stale file handle", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", failing)
    paths, left_out = videos(str(folder))
    assert (paths, left_out) == ([str(folder / "b.mp4")], {"suffix": 1, "unreadable": 1})
    with pytest.raises(OSError, match="Stale file handle"):
        videos(str(folder / "a"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_a_folder_without_permission_is_counted() -> None:
    with tempfile.TemporaryDirectory() as top:  # those of pytest are closed to others
        os.chmod(top, 0o755)
        Path(top, "closed").mkdir(mode=0)
        Path(top, "v.mp4").write_bytes(b"x")
        assert sandbox.call(left_out_for_anyone, top, timeout_s=20, memory_mb=512, jail="off") == {"unreadable": 1}
    sandbox.stop()


def left_out_for_anyone(path: str) -> dict[str, int]:
    """What a listing leaves out for a process that is not root."""
    os.setuid(65534)
    return dict(videos(path)[1])


@pytest.mark.parametrize(
    "suffix", [".vob", ".asf", ".3g2", ".f4v", ".mxf", ".m2v", ".dv", ".MOD", ".insv", ".rmvb", ".h264"]
)
def test_suffixes_of_cameras_and_broadcast_are_videos(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"v{suffix}").write_bytes(b"x")
    assert videos(str(tmp_path)) == ([str(tmp_path / f"v{suffix}")], {})


def test_a_very_deep_folder_ends_no_listing(tmp_path: Path) -> None:
    """Paths of more than PATH_MAX bytes cannot be asked for by their name."""
    here = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(20):
            os.mkdir("x" * 250)
            os.chdir("x" * 250)
    finally:
        os.chdir(here)
    (tmp_path / "v.mp4").write_bytes(b"x")
    paths, left_out = videos(str(tmp_path))
    assert (paths, left_out) == ([str(tmp_path / "v.mp4")], {"unreadable": 1})
