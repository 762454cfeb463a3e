"""Where pages lie, how they name media files, and what they hold themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import boto3
import pytest

from jobs.reports import files
from jobs.reports.contents import Contents
from tests.support import s3
from udfs.storage.settings import Params as Sources


@pytest.mark.parametrize(
    ("page", "output", "address"),
    [
        ("/o/report.html", "/o", "media/"),
        ("/pages/a.html", "/o p", "../o%20p/media/"),
        ("s3://b/out/report.html", "s3://b/out", "media/"),
        ("s3://b/pages/a.html", "s3://b/out", "../out/media/"),
        ("s3://b/a.html", "s3://b", "media/"),
        ("s3://other/a.html", "s3://b/out", None),
        ("/a.html", "s3://b/out", None),
    ],
)
def test_a_page_names_media_by_the_way_to_them(page: str, output: str, address: str | None) -> None:
    assert files.media_address(page, output) == address


def test_the_first_previews_are_embedded(contents_of: Callable[..., Contents], library: Path) -> None:
    found = files.embedded(contents_of(library), 100, lambda uri: Path(uri).read_bytes())
    assert len(found) == 100
    assert all(path.startswith("previews/") for path in found)
    assert all(value.startswith("data:image/webp;base64,UklGR") for value in found.values())


def test_what_is_no_preview_is_not_embedded(contents_of: Callable[..., Contents], library: Path) -> None:
    assert files.embedded(contents_of(library), 5, lambda uri: b"key") == {}


def test_a_page_appears_whole(tmp_path: Path) -> None:
    files.write(str(tmp_path / "a.html"), "<p>é", Sources())
    files.write(str(tmp_path / "a.html"), "<p>again", Sources())
    assert [(path.name, path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()] == [("a.html", "<p>again")]
    with pytest.raises(FileNotFoundError):
        files.write(str(tmp_path / "none/a.html"), "", Sources())


def test_a_page_on_s3_is_html(s3_server: s3.Server) -> None:
    sources = Sources(s3_endpoint=s3_server.url, s3_region="us-east-1")
    s3_server.bucket("library")
    files.write("s3://library/out/report.html", "<p>", sources)
    store = boto3.client("s3", endpoint_url=s3_server.url, region_name="us-east-1")
    found = store.get_object(Bucket="library", Key="out/report.html")
    assert (found["ContentType"], found["Body"].read()) == ("text/html", b"<p>")
