"""ui: a server of one output that answers its own page on loopback, and others only with the token."""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jobs import cli, ui
from tests.support import many_clips, s3
from tests.support.serving import Served, served

TOKEN = "a long secret"


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some clips with previews."""
    return many_clips.write(tmp_path_factory.mktemp("served"), 60, num_previews=60)


@pytest.fixture(scope="module")
def server(output: Path) -> Iterator[Served]:
    """A server of that output."""
    with served(output) as running:
        yield running


def preview(output: Path) -> Path:
    """One of its previews."""
    return next((output / "media/previews").rglob("*.webp"))


def test_its_page_may_ask_its_server_alone(server: Served) -> None:
    page = server.get("/")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "connect-src &#39;self&#39;" in page.text
    assert (page.headers["cache-control"], page.headers["x-frame-options"]) == ("no-store", "DENY")


def test_previews_and_parts_of_clips_are_served(server: Served, output: Path) -> None:
    path = preview(output)
    whole = server.get(f"/media/{path.relative_to(output / 'media')}")
    assert (whole.status, whole.headers["content-type"], whole.body) == (200, "image/webp", path.read_bytes())
    clip = output / "media/clips/ab/abc-0123.mp4"
    clip.parent.mkdir(parents=True)
    clip.write_bytes(b"0123456789")
    part = server.get("/media/clips/ab/abc-0123.mp4", range="bytes=2-5")
    assert (part.status, part.body, part.headers["content-range"]) == (206, b"2345", "bytes 2-5/10")


def raw_status(server: Served, path: str, *headers: str, method: str = "GET", host: str = "127.0.0.1") -> int:
    """The status of a request whose path and headers are sent as they are; 0 if there is no answer."""
    address = server.address.rpartition("/")[2].rpartition(":")
    lines = [f"{method} {path} HTTP/1.1", *([f"Host: {host}"] if host else []), f"Cookie: {server.session}", *headers]
    with socket.create_connection((address[0], int(address[2])), 20) as connection:
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1"))
        answer = connection.makefile("rb").readline()
    return int(answer.split()[1]) if answer else 0


@pytest.mark.parametrize(
    "path",
    [
        "/media/previews/ab/none.webp",
        "/media/../tables/runs/_delta_log/00000000000000000000.json",
        "/media/previews/../../tables/x.webp",
        "/media/previews/%2e%2e/x.webp",
        "/media/previews/%2e%2e/%2e%2e/%2e%2e/secret.mp4",
        "/media/clips/%2e%2e%2f%2e%2e%2f%2e%2e%2fsecret.mp4",
        "/media/clips/%252e%252e/secret.mp4",
        "/media/clips/..%5c..%5c..%5csecret.mp4",
        "/media/clips/ab/..%2f..%2f..%2f..%2fsecret.mp4",
        "/media/clips/ab/secret.mp4%00.webp",
        "/media/clips/ab/%00.mp4",
        "/media/clips/ab/a.mp4%0a",
        "/media//etc/passwd",
        "/media/%2fetc%2fpasswd",
        "//etc/passwd",
        "/media/file:///etc/passwd",
        "/media/clips/ab/ab-link.mp4",
        "/media/clips/cd/cd-0123.mp4",
        "/media/clips/ab/ab-pipe.mp4",
        "/media/clips/ab/ab-folder.mp4",
        "/media/proxies/ab/ab-0123.mp4",
        "/media/clips/ab/secret.txt",
        "/report.html",
        "/.progress.json",
    ],
)
def test_nothing_else_is_served(server: Served, output: Path, path: str) -> None:
    (output.parent / "secret.mp4").write_bytes(b"secret")
    for name in ("ab", "elsewhere", "../../cd"):
        (output / "media/clips" / name).mkdir(parents=True, exist_ok=True)
    (output.parent / "cd-0123.mp4").write_bytes(b"secret")
    links = {"ab/ab-link.mp4": output.parent / "secret.mp4", "cd": output.parent}
    for name, to in links.items():
        if not (output / "media/clips" / name).is_symlink():
            (output / "media/clips" / name).symlink_to(to)
    if not (output / "media/clips/ab/ab-pipe.mp4").exists():
        os.mkfifo(output / "media/clips/ab/ab-pipe.mp4")
    (output / "media/clips/ab/ab-folder.mp4").mkdir(exist_ok=True)
    assert raw_status(server, path) == 404


@pytest.mark.parametrize("path", ["http://evil.example/media/x", "*", "/media/\x00", "media/x"])
def test_a_request_that_is_no_path_is_refused(server: Served, path: str) -> None:
    assert raw_status(server, path) in (0, 400, 404)


def test_a_link_within_the_media_is_followed(server: Served, output: Path) -> None:
    folder = output / "media/clips/ef"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ef-one.mp4").write_bytes(b"one")
    (folder / "ef-two.mp4").symlink_to("ef-one.mp4")
    assert server.get("/media/clips/ef/ef-two.mp4").body == b"one"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8321", "", "169.254.1.1", "localhost.", "[::1].x"]
)
def test_a_name_of_elsewhere_is_refused(server: Served, host: str) -> None:
    assert raw_status(server, "/", host=host) == 400


@pytest.mark.parametrize("host", ["127.0.0.1:{}", "LOCALHOST:{}", "[::1]:{}", "localhost"])
def test_the_names_of_loopback_are_its_names(server: Served, host: str) -> None:
    assert raw_status(server, "/", host=host.format(server.address.rpartition(":")[2])) in (200, 401)


@pytest.mark.parametrize("path", ["/counts", "/clips", "/labels", "/label"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"content_type": "text/plain"},
        {"content_type": "text/plain;application/json"},
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": "multipart/form-data"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
    ids=str,
)
def test_other_pages_may_not_ask(server: Served, path: str, headers: dict[str, str]) -> None:
    assert server.post(path, {}, **headers).status == 403


def test_its_own_page_may_ask(server: Served) -> None:
    assert server.post("/counts", {}, origin=server.address, sec_fetch_site="same-origin").status == 200


def test_other_pages_may_link_to_the_page_and_show_no_clip(server: Served, output: Path) -> None:
    clip = f"/media/{preview(output).relative_to(output / 'media')}"
    assert server.get("/", sec_fetch_site="cross-site").status == 200
    assert server.get(clip, sec_fetch_site="cross-site").status == 403
    assert server.get(clip, sec_fetch_site="same-origin").status == 200


def test_questions_are_answered(server: Served) -> None:
    assert server.post("/counts", {}).json["kept"]["clips"] > 0
    found = server.post("/clips", {"sort": "blur"}).json
    assert found["numClips"] == len(found["clips"]["id"]) == 60


@pytest.mark.parametrize(
    ("body", "status", "line"),
    [
        (b"{", 400, "not JSON"),
        (b"[]", 400, "not a JSON object"),
        (b'{"sort": "x"}', 400, "ui: no order x"),
        (b'{"text": "' + b"x" * 70_000 + b'"}', 413, "too long"),
    ],
)
def test_what_cannot_be_answered_is_one_line(server: Served, body: bytes, status: int, line: str) -> None:
    answer = server.post("/clips", body)
    assert (answer.status, answer.text) == (status, line)


def test_labels_are_kept(server: Served, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [clip_id] = server.post("/clips", {"sort": "length"}).json["clips"]["id"][:1]
    given = {"clip_id": clip_id, "label": "good", "who": "ann"}
    assert server.post("/label", given).json == [{"label": "good", "who": "ann"}]
    assert server.post("/labels", {"clip_id": clip_id}).json == [{"label": "good", "who": "ann"}]
    assert cli.main(["sql", "-o", str(output), "--format", "json", "select label, who from labels"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"label": "good", "who": "ann"}]
    assert "<option>good</option>" in server.get("/").text


def test_readers_only_read_where_that_is_asked_for(output: Path) -> None:
    with served(output, "--read-only") as server:
        answer = server.post("/label", {"clip_id": "x", "label": "good", "who": "ann"})
        assert (answer.status, answer.text[:27]) == (400, "labels cannot be given here")


def test_a_token_is_asked_for(output: Path) -> None:
    with served(output, "--token-env", "UI_TOKEN", UI_TOKEN=TOKEN) as admitted_server:
        server = replace(admitted_server, session="")
        assert server.get("/").status == server.get("/?token=wrong").status == 401
        assert server.post("/counts", {}).status == 401
        admitted = server.get("/?token=a+long+secret")
        cookie = admitted.headers["set-cookie"]
        assert (admitted.status, admitted.headers["location"]) == (303, "/")
        assert "HttpOnly" in cookie
        assert TOKEN not in cookie
        assert "SameSite=strict" in cookie
        assert server.get("/", cookie=cookie.partition(";")[0]).status == 200
        assert raw_status(admitted_server, "/", host="evil.example") == 400  # by loopback under no other name


def test_nobody_is_let_in_without_the_token_that_was_printed(server: Served, output: Path) -> None:
    stranger = replace(server, session="")
    clip = f"/media/{preview(output).relative_to(output / 'media')}"
    for path in ("/", clip, "/?token=", "/?token=%00", "/?token=a&token=b", "/none"):
        assert stranger.get(path).status == 401
    for path in ("/counts", "/clips", "/labels", "/label"):
        assert stranger.post(path, {}).status == 401
        assert stranger.post(path, {}, cookie="reelmill=x").status == 401
    assert len(server.token) >= 24


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--host", "0.0.0.0"), "--host 0.0.0.0: not loopback; name a variable with a token by --token-env"),
        (("--token-env", "NOT_SET"), "--token-env NOT_SET: the variable is not set"),
        (("--schema", "main.reels"), "ui: Spark reads the tables of a catalog (--schema)"),
    ],
)
def test_what_is_not_served_is_one_line(
    output: Path, options: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["ui", "-o", str(output), *options]) == 2
    assert capsys.readouterr().err == f"reelmill: {line}\n"


def test_an_output_on_s3_is_served_with_its_media(output: Path, s3_server: s3.Server) -> None:
    for path in output.rglob("*"):
        if path.is_file():
            s3_server.put(f"s3://served/out/{path.relative_to(output)}", path)
    settings = ("--set", f"sources.s3_endpoint={s3_server.url}", "--set", "sources.s3_region=us-east-1")
    path = preview(output)
    with served("s3://served/out", *settings) as server:
        assert server.post("/clips", {}).json["numClips"] == 60
        address = f"/media/{path.relative_to(output / 'media')}"
        assert server.get(address).body == path.read_bytes()
        part = server.get(address, range="bytes=4-")
        assert (part.status, part.body) == (206, path.read_bytes()[4:])
        assert server.get(address, range="bytes=999999999-").status == 416
        assert server.get("/media/clips/ab/none.mp4").status == 404


@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found: 4242"), OSError("No username set")])
def test_who_has_no_name_is_asked_for_one(output: Path, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert ui.library(ui.Options(output=str(output))).who == ""
