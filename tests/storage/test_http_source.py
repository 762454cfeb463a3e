"""Files of web servers: read by ranges or downloaded once; errors do not show the address."""

from __future__ import annotations

import random
import socket
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.support.downloads import HERE, ONCE, cached_sizes
from tests.support.footage import write_numbered
from tests.support.web_server import Page, serving
from udfs import ingest
from udfs.core.errors import MediaError
from udfs.runtime.context import Env
from udfs.storage import access, http_source
from udfs.storage.remote_file import Stat
from udfs.storage.settings import Params

pytestmark = pytest.mark.usefixtures("disk")
DATA = random.Random(0).randbytes(300_000)


def refusal(uri: str, params: Params = ONCE) -> MediaError:
    """What `stat` says of an address that it cannot use."""
    with pytest.raises(MediaError) as e:
        http_source.stat(uri, params)
    return e.value


def test_a_range_costs_its_bytes_and_one_connection() -> None:
    with serving({"/v.mp4": Page(DATA)}) as site:
        found = http_source.stat(f"{site.url}/v.mp4", HERE)
        assert found == Stat(300_000, "300000-one")
        assert http_source.fetch(f"{site.url}/v.mp4", 1000, 3000, found.version, HERE) == DATA[1000:3000]
        assert http_source.fetch(f"{site.url}/v.mp4", 299_999, 300_000, found.version, HERE) == DATA[-1:]
    assert (site.sent, site.connections, len(site.asked)) == (1 + 2000 + 1, 1, 3)


def test_a_server_without_ranges_sends_a_file_once(disk: Path) -> None:
    with serving({"/v.mp4": Page(DATA, ranges=False)}) as site:
        found = http_source.stat(f"{site.url}/v.mp4", HERE)
        assert not disk.exists() or cached_sizes(disk) == []
        for start in (0, 100_000, 299_000):
            assert (
                http_source.fetch(f"{site.url}/v.mp4", start, start + 1000, found.version, HERE)
                == DATA[start : start + 1000]
            )
    assert (found, len(site.asked), cached_sizes(disk)) == (Stat(300_000, "300000-one"), 2, [300_000])


def test_a_server_that_states_no_size_sends_a_file_once(disk: Path) -> None:
    with serving({"/v.mp4": Page(DATA, ranges=False, length=None)}) as site:
        for _ in range(2):
            found = http_source.stat(f"{site.url}/v.mp4", HERE)
            assert http_source.fetch(f"{site.url}/v.mp4", 5, 9, found.version, HERE) == DATA[5:9]
    assert found == Stat(300_000, "300000-one")
    assert (len(site.asked), cached_sizes(disk)) == (2, [300_000])  # the second look goes no further than the headers


@pytest.mark.parametrize(
    ("page", "version"),
    [
        (Page(DATA, etag='W/"two"'), '300000-W/"two'),
        (Page(DATA, etag="", modified="Sat, 21 Nov 2026 10:00:00 GMT"), "300000-Sat, 21 Nov 2026 10:00:00 GMT"),
        (Page(DATA, etag=""), "300000-"),
    ],
)
def test_a_version_has_the_etag_or_the_time_of_change(page: Page, version: str) -> None:
    with serving({"/v.mp4": page}) as site:
        assert http_source.stat(f"{site.url}/v.mp4", HERE).version == version
        assert http_source.fetch(f"{site.url}/v.mp4", 0, 10, version, HERE) == DATA[:10]


@pytest.mark.parametrize(
    "changed", [Page(DATA, etag='"two"'), Page(DATA[:-1]), Page(DATA[:500]), Page(DATA, etag='"two"', ranges=False)]
)
def test_another_file_at_the_address_is_changed(changed: Page, disk: Path) -> None:
    with serving({"/v.mp4": Page(DATA)}) as site:
        found = http_source.stat(f"{site.url}/v.mp4", HERE)
        site.pages["/v.mp4"] = changed
        with pytest.raises(MediaError, match="CHANGED"):
            http_source.fetch(f"{site.url}/v.mp4", 1000, 2000, found.version, HERE)
    assert cached_sizes(disk) == []


@pytest.mark.parametrize("fault", ["busy", "cut", "reset"])
@pytest.mark.parametrize("ranges", [True, False])
def test_an_error_that_passes_is_retried(fault: Any, ranges: bool) -> None:
    with serving({"/v.mp4": Page(DATA, ranges=ranges)}) as site:
        found = http_source.stat(f"{site.url}/v.mp4", HERE)
        site.pages["/v.mp4"].faults = [fault, fault]
        assert http_source.fetch(f"{site.url}/v.mp4", 1000, 200_000, found.version, HERE) == DATA[1000:200_000]
    assert len(site.asked) == 4


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (Page(DATA, faults=["busy"] * 9), "status 503, at the last of"),
        (Page(DATA, faults=["reset"] * 9), "Connection reset by peer, at the last of"),
        (Page(DATA, ranges=False, length=None, faults=["cut"] * 9), "IncompleteRead, at the last of"),
        (Page(DATA, faults=["slow headers"]), "the answer took too long, at the last of"),
        (Page(DATA, ranges=False, length=None, faults=["slow body"]), "the answer took too long, at the last of"),
    ],
)
def test_an_error_that_stays_is_unreachable_in_time(page: Page, said: str, disk: Path) -> None:
    started = time.monotonic()
    with serving({"/v.mp4": page}) as site:
        error = refusal(f"{site.url}/v.mp4")
    assert (error.code, error.message[: len(said)]) == ("UNREACHABLE", said)
    assert time.monotonic() - started < 4
    assert not disk.exists() or cached_sizes(disk) == []


def test_a_server_that_never_answers_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = refusal(f"http://127.0.0.1:{silent.getsockname()[1]}/v.mp4")
    assert error.code == "UNREACHABLE"


@pytest.mark.parametrize("length", [299_999, 300_001])
def test_a_wrong_content_length_is_what_counts_or_a_body_too_short(length: int) -> None:
    with serving({"/v.mp4": Page(DATA, ranges=False, length=length)}) as site:
        found = http_source.stat(f"{site.url}/v.mp4", ONCE)
        assert found.size == length
        if length < 300_000:
            assert http_source.fetch(f"{site.url}/v.mp4", 0, length, found.version, ONCE) == DATA[:length]
        else:
            with pytest.raises(MediaError, match="UNREACHABLE: 300000 of 300001 bytes came"):
                http_source.fetch(f"{site.url}/v.mp4", 0, 10, found.version, ONCE)


@pytest.mark.parametrize(
    ("page", "code"),
    [
        (Page(status=404), "NOT_FOUND"),
        (Page(status=403), "DENIED"),
        (Page(DATA, ranges=False, headers={"Content-Encoding": "gzip"}), "UNSUPPORTED"),
        (Page(DATA, redirect="/v.mp4"), "DENIED"),
        (Page(DATA, redirect="ftp://127.0.0.1/v.mp4"), "UNSUPPORTED"),
        (Page(DATA, redirect="file:///etc/passwd"), "UNSUPPORTED"),
    ],
)
def test_what_a_server_answers_has_a_code(page: Page, code: str) -> None:
    with serving({"/v.mp4": page}) as site:
        assert refusal(f"{site.url}/v.mp4").code == code
    assert len(site.asked) == (6 if page.redirect == "/v.mp4" else 1)


UNSTATED = [Page(DATA, ranges=False, length=None), Page(DATA, ranges=False, length=None, endless=True)]


@pytest.mark.parametrize("page", [Page(DATA), Page(DATA, ranges=False), *UNSTATED])
def test_a_file_over_the_limit_is_not_read(page: Page, disk: Path) -> None:
    with serving({"/v.mp4": page}) as site:
        error = refusal(f"{site.url}/v.mp4", Params(http_private=True, max_bytes=299_999))
    assert error.code == "TOO_LARGE"
    assert not disk.exists() or cached_sizes(disk) == []


@pytest.mark.parametrize("page", [Page(DATA, ranges=False), *UNSTATED])
def test_a_file_over_the_disk_limit_is_not_downloaded(page: Page, disk: Path) -> None:
    with (
        serving({"/v.mp4": page}) as site,
        pytest.raises(MediaError, match=r"TOO_LARGE: .* over sources.http_disk_bytes"),
    ):
        http_source.fetch(f"{site.url}/v.mp4", 0, 10, "300000-one", Params(http_private=True, http_disk_bytes=299_999))
    assert cached_sizes(disk) == []


SECRETS = ("s3cret", "AKIA", "sign")


@pytest.mark.parametrize(
    "page",
    [
        Page(status=404),
        Page(DATA, faults=["busy"]),
        Page(DATA, faults=["reset"]),
        Page(redirect="http://x:s3cret@[::1/?sign=AKIA"),
        Page(redirect="?sign=AKIA"),
    ],
)
def test_no_error_shows_the_secrets_of_an_address(page: Page) -> None:
    with serving({"/v.mp4": page}) as site, pytest.raises(MediaError) as e:
        http_source.stat(f"http://me:s3cret@{site.url[7:]}/v.mp4?sign=AKIA", ONCE)
    said = [f"{error} {error.args}" for error in (e.value, e.value.__cause__, e.value.__context__) if error]
    assert not any(secret in text for secret in SECRETS for text in said)


def test_a_video_on_the_web_is_ingested_by_its_ranges(tmp_path: Path) -> None:
    film = write_numbered(tmp_path / "v.mp4", 60, 30, (160, 120)).read_bytes()
    with serving({"/a/v.mp4": Page(film)}) as site:
        uri = f"{site.url}/a/v.mp4?sig=AKIA"
        plain, listed = uri.partition("?")[0], {"source_version": None, "left_out": None, "address": uri}
        named = {"uri": plain, "address": uri, "attributes": {"from": uri}}
        (row,) = ingest.facts(named, Env("unused", "0" * 16, sources=HERE))
        (batch,) = ingest.add_versions([pd.DataFrame({"uri": [plain], **listed})], HERE)
        assert access.unchanged_path(uri, batch["source_version"][0], HERE) == access.checked_path(uri, HERE)
    assert (row["uri"], row["num_frames"], row["size"], row["attributes"]) == (plain, 60, len(film), {"from": plain})
    assert site.asked[0][0] == "/a/v.mp4?sig=AKIA"
    assert row["video_id"] == access.video_id(plain, row["content_tag"])
    assert row["content_tag"] == access.content_tag(str(tmp_path / "v.mp4"))
    assert batch["source_version"][0] == row["source_version"] == f"{len(film)}-one"


@pytest.mark.parametrize(
    ("page", "code"),
    [
        (Page(b""), "EMPTY"),
        (Page(b"", ranges=False), "EMPTY"),
        (Page(b"no video"), "UNSUPPORTED"),
        (Page(DATA), "UNSUPPORTED"),
    ],
)
def test_a_bad_video_on_the_web_is_a_row_whose_message_shows_no_address(page: Page, code: str) -> None:
    with serving({"/v.mp4": page}) as site:
        uri = f"http://me:s3cret@{site.url[7:]}/v.mp4?sign=AKIA"
        env = Env("unused", "0" * 16, sources=HERE)
        plain = f"{site.url}/v.mp4"
        rows = pd.DataFrame({"uri": [plain], "address": [uri], "attributes": None})
        (batch,) = ingest.rows([rows], frozenset(), env)
    assert (batch["failed_code"][0], batch["failed_key"][0]) == (code, plain)
    assert not any(secret in batch["failed_message"][0] for secret in SECRETS)


def test_roots_hold_for_addresses_as_well() -> None:
    with serving({"/a/v.mp4": Page(DATA), "/b/v.mp4": Page(DATA)}) as site:
        inside = Params(http_private=True, roots=(f"{site.url}/a",))
        assert access.checked_path(f"{site.url}/a/v.mp4", inside)
        for outside in (f"{site.url}/b/v.mp4", f"{site.url}/a/../b/v.mp4"):
            with pytest.raises(MediaError, match="DENIED"):
                access.checked_path(outside, inside)


def test_a_part_without_end_is_not_read_to_learn_the_size() -> None:
    page = Page(
        DATA, ranges=False, length=None, endless=True, status_of_all=206, headers={"Content-Range": "bytes 0-0/300000"}
    )
    with serving({"/v.mp4": page}) as site:
        started = time.monotonic()
        assert http_source.stat(f"{site.url}/v.mp4", HERE).size == 300_000
    assert time.monotonic() - started < HERE.http_total_s


STEPS = [
    *("/a/../b/v.mp4", "/a/%2e%2e/b/v.mp4", "/a/.%2E/b/v.mp4", "/a/..%2fb/v.mp4", "/a/%2e%2e%2fb/v.mp4"),
    *("/a/%252e%252e/b/v.mp4", "/a/..%5cb/v.mp4", "/a/..\\b/v.mp4", "/a/..;/b/v.mp4", "/a/..;x=1/b/v.mp4"),
    *("/a/%2e%2e;/b/v.mp4", "/a/..%3b/b/v.mp4", "/a/.\t./b/v.mp4", "/a/.%09./b/v.mp4", "/a/.%00./b/v.mp4"),
    *("/a/%c0%ae%c0%ae/b/v.mp4", "/a/%u002e%u002e/b/v.mp4", "/a/\uff0e\uff0e/b/v.mp4", "/a/\u2025/b/v.mp4"),
    *(
        "/a/%ef%bc%8e%ef%bc%8e/b/v.mp4",
        "/a/x/..%c0%af..%c0%af/b/v.mp4",
        "/a/.. /b/v.mp4",
        "/a2/v.mp4",
        "/A/v.mp4",
        "/a",
    ),
    "/a/%25252525252e./v.mp4",
]


@pytest.mark.parametrize("path", STEPS, ids=repr)
def test_no_spelling_of_a_path_leads_out_of_a_root(path: str) -> None:
    with serving({}) as site:
        with pytest.raises(MediaError, match=r"DENIED: outside sources.roots"):
            access.checked_path(f"{site.url}{path}", Params(http_private=True, roots=(f"{site.url}/a",)))
        assert site.connections == 0


@pytest.mark.parametrize(
    "address",
    [
        "http://other.example@{host}/a/v.mp4",
        "http://{host}\\@other.example/a/v.mp4",
        "http://other.example\\@{host}/a/v.mp4",
        "http://{host}#@other.example/a/v.mp4",
        "http://{host}.other.example/a/v.mp4",
        "https://{host}/a/v.mp4",
        "http://{name}:1/a/v.mp4",
    ],
)
def test_another_host_is_outside_a_root_however_it_is_written(address: str) -> None:
    """Only a user before the host of the root leads to the host itself."""
    with serving({"/a/v.mp4": Page(DATA)}) as site:
        host = site.url[7:]
        uri = address.format(host=host, name=host.partition(":")[0])
        params = Params(http_private=True, roots=(f"{site.url}/a",), retry_s=0.0)
        if address.startswith("http://other.example") and uri.endswith(f"@{host}/a/v.mp4"):
            assert access.checked_path(uri, params)
        else:
            with pytest.raises(MediaError, match=r"DENIED: outside|UNSUPPORTED: not an http"):
                access.checked_path(uri, params)


@pytest.mark.parametrize("to", ["/b/v.mp4", "/a/%2e%2e/b/v.mp4", "/a/..;/b/v.mp4", "{other}/a/v.mp4"])
def test_a_redirect_does_not_lead_out_of_a_root(to: str) -> None:
    pages = {"/a/v.mp4": Page(DATA), "/b/v.mp4": Page(DATA)}
    with serving(pages) as other, serving(pages | {"/a/in": Page(redirect="/a/v.mp4")}) as site:
        site.pages["/a/to"] = Page(redirect=to.format(other=other.url))
        inside = Params(http_private=True, roots=(f"{site.url}/a",))
        assert access.checked_path(f"{site.url}/a/in", inside)
        with pytest.raises(MediaError, match=r"DENIED: a redirect to 127.0.0.1 leads outside sources.roots"):
            access.checked_path(f"{site.url}/a/to", inside)
        assert (other.connections, [path for path, _ in site.asked]) == (0, ["/a/in", "/a/v.mp4", "/a/to"])


def test_a_manifest_may_be_redirected_to_anywhere() -> None:
    with serving({"/list.json": Page(b"[]")}) as other, serving({"/a/to": Page()}) as site:
        site.pages["/a/to"].redirect = f"{other.url}/list.json"
        inside = Params(http_private=True, roots=(f"{site.url}/a",))
        assert access.own_path(f"{site.url}/a/to", inside)
        assert access.remote_path(f"{site.url}/a/to", inside)


@pytest.mark.parametrize("status", [400, 401, 403, 410])
def test_a_signature_that_expired_is_tried_again_by_the_next_run(status: int) -> None:
    with serving({"/v.mp4": Page(status=status)}) as site:
        error = refusal(f"{site.url}/v.mp4?sig=old")
        assert str(error) == (
            f"UNREACHABLE: the server says status {status}: its signature or password may have expired"
        )
        assert refusal(f"{site.url}/v.mp4").code == ("DENIED" if status in (401, 403) else "NOT_FOUND")


def test_a_download_is_found_again_by_another_signature(disk: Path) -> None:
    with serving({"/v.mp4": Page(DATA, ranges=False, length=None)}) as site:
        for signature in ("one", "two"):
            found = http_source.stat(f"{site.url}/v.mp4?sig={signature}", HERE)
            assert http_source.fetch(f"{site.url}/v.mp4?sig={signature}", 5, 9, found.version, HERE) == DATA[5:9]
    assert len(cached_sizes(disk)) == 1
