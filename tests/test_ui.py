"""ui: a server of one output that answers its own page on loopback, and others only with the token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs import cli
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


@pytest.mark.parametrize(
    "path",
    [
        "/media/previews/ab/none.webp",
        "/media/../tables/runs/_delta_log/00000000000000000000.json",
        "/media/previews/../../tables/x.webp",
        "/media/previews/%2e%2e/x.webp",
        "/media/clips/ab/secret.txt",
        "/report.html",
    ],
)
def test_nothing_else_is_served(server: Served, path: str) -> None:
    assert server.get(path).status == 404


def test_a_name_of_elsewhere_is_refused(server: Served) -> None:
    assert server.get("/", host="evil.example").status == 400


def test_other_pages_may_not_ask(server: Served) -> None:
    assert server.post("/counts", {}, origin="http://evil.example").status == 403
    assert server.post("/counts", {}, content_type="text/plain").status == 403
    assert server.post("/counts", {}, origin=server.address).status == 200


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
    with served(output, "--token-env", "UI_TOKEN", UI_TOKEN=TOKEN) as server:
        assert server.get("/").status == server.get("/?token=wrong").status == 401
        assert server.post("/counts", {}).status == 401
        admitted = server.get("/?token=a+long+secret")
        cookie = admitted.headers["set-cookie"]
        assert (admitted.status, admitted.headers["location"]) == (303, "/")
        assert "HttpOnly" in cookie
        assert TOKEN not in cookie
        assert server.get("/", cookie=cookie.partition(";")[0]).status == 200


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
