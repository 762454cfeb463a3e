"""Names, paths and contents that lead elsewhere are recognized, and never followed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import av
import pytest

from tests.support import broken_files
from tests.support.footage import write_numbered
from tests.support.sandbox_probe import SMALL, code_of, probed_row
from udfs.core.errors import MediaError
from udfs.runtime import sandbox
from udfs.storage import access, manifest
from udfs.storage.remote_file import AnyPath
from udfs.storage.settings import Params as Sources
from udfs.storage.uris import local_path

NAMES = [
    "mojibake Ã©.mp4".encode(),
    "emoji 😀.mp4".encode(),
    b"new\nline.mp4",
    b"50%23.mp4",
    b"a#b?c d.mp4",
    b"quote\"'\\.mp4",
    b"scheme: colon.mp4",
    b"x" * 251 + b".mp4",
    b"latin1 \xe9.mp4",
    b"\xff\xfe.mp4",
]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of video."""
    return write_numbered(tmp_path_factory.mktemp("good") / "good.mp4", 30, 30, SMALL)


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_name_of_any_bytes_is_read_back(good: Path, tmp_path: Path, name: bytes) -> None:
    Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).symlink_to(good)
    listing = manifest.examine(str(tmp_path), Sources()).listing
    assert listing is not None
    (uri,) = listing.uris
    assert uri.encode().decode() == uri  # it can travel as UTF-8
    assert os.fsencode(local_path(uri)) == bytes(tmp_path) + b"/" + name
    assert probed_row(uri)["uri"] == uri


def test_one_path_in_two_rows_has_one_id_and_a_copy_another(good: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(good.read_bytes())
    first, again, other = probed_row(good), probed_row(good), probed_row(copy)
    assert first["video_id"] == again["video_id"] != other["video_id"]
    assert first["content_tag"] == other["content_tag"]


def test_a_file_changed_since_is_refused(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(good.read_bytes())
    seen = probed_row(path)["source_version"]
    assert access.unchanged_path(str(path), seen, Sources()) == str(path)
    os.utime(path, ns=(0, 0))
    with pytest.raises(MediaError, match=r"CHANGED: was \d+-\d+ when ingested, is \d+-0"):
        access.unchanged_path(str(path), seen, Sources())


@pytest.mark.parametrize("kind", ["missing", "dangling", "loop", "folder", "fifo", "device", "nul", "too long"])
def test_a_file_that_is_not_regular_is_not_found(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "v.mp4"
    if kind in ("dangling", "loop"):
        path.symlink_to(tmp_path / "gone.mp4" if kind == "dangling" else path)
    if kind == "folder":
        path.mkdir()
    if kind == "fifo":
        os.mkfifo(path)
    named = {"device": "/dev/zero", "nul": "/tmp/a\0b.mp4", "too long": "/" + "x" * 300 + ".mp4"}
    assert code_of(named.get(kind, path)) == "NOT_FOUND"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_a_file_without_permission_is_not_found(good: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder) / "v.mp4"
        path.write_bytes(good.read_bytes())
        path.chmod(0)
        with pytest.raises(MediaError, match="NOT_FOUND"):
            sandbox.call(checked_by_nobody, str(path), timeout_s=20, memory_mb=512, jail="off")
    sandbox.stop()


@pytest.mark.parametrize(
    "uri", ["{root}/../secret.mp4", "{secret}", "file://{secret}", "{root}/link.mp4", "\\\\host\\share\\v.mp4"]
)
def test_a_path_outside_the_roots_is_denied(good: Path, tmp_path: Path, uri: str) -> None:
    root, secret = tmp_path / "root", tmp_path / "secret.mp4"
    root.mkdir()
    secret.write_bytes(good.read_bytes())
    (root / "link.mp4").symlink_to(secret)
    with pytest.raises(MediaError, match="DENIED"):
        access.checked_path(uri.format(root=root, secret=secret), Sources(roots=(str(root),)))


def test_a_root_is_no_prefix_of_a_name(good: Path, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root2").mkdir()
    (tmp_path / "root2" / "v.mp4").write_bytes(good.read_bytes())
    with pytest.raises(MediaError, match="DENIED"):
        access.checked_path(str(tmp_path / "root2" / "v.mp4"), Sources(roots=(str(tmp_path / "root"),)))


@pytest.mark.parametrize(
    "uri",
    [
        "concat:/a.mp4|/b.mp4",
        "subfile,,start,0,end,9,,:/a.mp4",
        "data:video/mp4;base64,AAAA",
        "pipe:0",
        "tcp://127.0.0.1:1",
        "rtmp://127.0.0.1/live",
        "CONCAT:/a.mp4",
        "async:file:/a.mp4",
    ],
)
def test_protocols_that_only_ffmpeg_knows_are_denied(uri: str) -> None:
    assert code_of(uri) == "DENIED"


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".ts"])
@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile '{good}'\n",
        "#EXTM3U\n#EXTINF:1,\n{good}\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 {good}\n",
    ],
)
def test_playlists_under_a_videos_name_are_denied(good: Path, tmp_path: Path, text: str, suffix: str) -> None:
    path = tmp_path / f"v{suffix}"
    path.write_text(text.format(good=good))
    assert code_of(path) == "DENIED"


def test_a_reference_to_another_files_data_is_not_followed(good: Path, tmp_path: Path) -> None:
    path = broken_files.point_elsewhere(good, tmp_path / "v.mp4", good)
    with av.open(str(path), container_options={"enable_drefs": "1", "use_absolute_path": "1"}) as followed:
        assert len(list(followed.decode(video=0))) == 30
    assert code_of(path) == "CORRUPT"


def checked_by_nobody(path: str) -> AnyPath:
    """`checked_path` for a process that is not root."""
    os.setuid(65534)
    return access.checked_path(path, Sources())
