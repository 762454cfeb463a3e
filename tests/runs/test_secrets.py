"""Secrets of all kinds, planted in a whole run with failures, are in no table, file, log, export, page or line."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from jobs import cli
from tests.support.footage import write_numbered
from tests.support.outputs import table, versions
from tests.support.serving import served
from tests.support.web_server import Page, Site, serving

pytestmark = [pytest.mark.spark, pytest.mark.files]
SIGNED = "?X-Amz-Credential={secret}&X-Amz-Date={night}&X-Amz-Signature={night}{secret}"
SECRETS = {
    "signature": "s1gnature0f0ne",
    "token of an address": "t0ken0fan0ther",
    "password of an address": "pa55w0rd0fann",
    "password of a camera": "camera5ecret",
    "redirect": "s1gned0nthe0ther5ide",
    "attribute": "s1gnedthumb",
    "key of Spark": "5ecretkey0fs3a",
    "by a rule": "p1n0f0urs",
    "setting": "c0de0fanendp0int",
    "HF_TOKEN": "hf_0123456789abcdefghijABCDEFGHIJ0123",
    "OPENAI_API_KEY": "sk-pr0jABCDEFGHIJKLMN0123456789",
    "AWS_ACCESS_KEY_ID": "AKIAI0SF0DNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMIK7MDENGbPxRfiCY",
    "UI_TOKEN": "t0ken0ftheui",
    "header": base64.b64encode(b"ann:pa55w0rd0fann").decode(),
}
OPTIONS = [
    *("split.clip_len_s=1", "split.min_clip_length_s=0.5", "sources.http_private=true", "sources.retry_s=0"),
    f"spark.spark.hadoop.fs.s3a.secret.key={SECRETS['key of Spark']}",
    "spark.spark.redaction.regex=(?i)secret|password|token|access[.]?key|pin",
    f"spark.spark.my.pin={SECRETS['by a rule']}",
    f"caption.endpoint.base_url=http://h/v1?api-key={SECRETS['setting']}",
    f"sources.roots=['http://127.0.0.1', 'http://x:{SECRETS['setting']}@h/']",
]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Videos on a web server, one of them behind a redirect to a signed address."""
    films = [write_numbered(tmp_path / f"{n}.mp4", 60, first=500 * n).read_bytes() for n in range(4)]
    pages = {f"/{n}.mp4": Page(film) for n, film in enumerate(films)}
    pages["/to.mp4"] = Page(redirect=f"/3.mp4?sig={SECRETS['redirect']}")
    with serving(pages | {"/text.mp4": Page(b"no video"), "/refused.mp4": Page(status=403)}) as running:
        yield running


def manifest(path: Path, site: Site, night: int) -> Path:
    """A list of the videos, with the signatures of a night."""
    signed = SIGNED.format(secret=SECRETS["signature"], night=night)
    host = site.url[7:]
    thumb = f"https://thumbs.example/0.webp?sig={SECRETS['attribute']}"
    rows = [
        {"uri": f"{site.url}/0.mp4{signed}", "thumb": thumb},
        {"uri": f"http://ann:{SECRETS['password of an address']}@{host}/1.mp4"},
        {"uri": f"{site.url}/2.mp4?quality=high&token={SECRETS['token of an address']}{night}"},
        {"uri": f"{site.url}/to.mp4?sig={SECRETS['signature']}"},
        {"uri": f"{site.url}/text.mp4{signed}"},
        {"uri": f"{site.url}/refused.mp4{signed}"},
        {"uri": f"{site.url}/gone.mp4{signed}"},
        {"uri": f"http://ann:{SECRETS['password of an address']}@127.0.0.1:1/down.mp4"},
        {"uri": f"rtsp://admin:{SECRETS['password of a camera']}@camera.example/live"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def texts(folder: Path, *, apart: bool) -> dict[str, str]:
    """What every file says, and every value of Parquet files; only of the addresses kept apart, or all but them."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and (".private" in path.parts and "_delta_log" not in path.parts) == apart:
            found[str(path)] = path.read_bytes().decode("latin-1")
            if path.suffix == ".parquet":
                found[f"{path} rows"] = json.dumps(pq.read_table(path).to_pylist(), default=str)
    return found


def leaks(said: dict[str, str]) -> list[tuple[str, str]]:
    """Every secret with the place that has it."""
    return [(name, place) for name, secret in SECRETS.items() for place, text in said.items() if secret in text]


def test_78_planted_secrets_are_nowhere(
    spark: SparkSession,
    site: Site,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HF_TOKEN", "OPENAI_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, SECRETS[name])
    output, lines = tmp_path / "output", dict[str, str]()
    settings = [f"--set={option.replace('http://127.0.0.1', site.url)}" for option in OPTIONS]

    def run(*command: str) -> int:
        status = cli.main([command[0], "-o", str(output), *command[1:]])
        said = capfd.readouterr()
        lines[f"{' '.join(command[:2])} {len(lines)}"] = said.out + said.err
        return status

    def curate(night: int) -> int:
        return run("curate", "-m", str(manifest(tmp_path / "list.jsonl", site, night)), *settings)

    assert curate(1) == 0
    before = {row["video_id"] for row in table(output, "videos")}
    assert sorted(row["uri"] for row in table(output, "videos")) == [
        f"{site.url}/{name}" for name in ("0.mp4", "1.mp4", "2.mp4?quality=high", "to.mp4")
    ]
    assert {row["key"].rpartition("/")[2]: row["code"] for row in table(output, "failures")} == {
        "text.mp4": "UNSUPPORTED",
        "refused.mp4": "UNREACHABLE",
        "gone.mp4": "NOT_FOUND",
        "down.mp4": "DENIED",  # outside the roots
        "live": "DENIED",
    }
    clips, num_asked = len(table(output, "clips")), len(site.asked)
    assert curate(2) == 0  # signed again: the same videos
    assert {row["video_id"] for row in table(output, "videos")} == before
    assert len(table(output, "clips")) == clips == 8
    newest = [path for path, _ in site.asked[num_asked:] if path.startswith(("/0.mp4", "/2.mp4"))]
    assert newest
    assert all("Signature=2" in path or path.endswith(f"{SECRETS['token of an address']}2") for path in newest)
    # Another setting cuts again, and reads by the newest signature that was stored.
    num_asked = len(site.asked)
    assert run("split", "--set=split.clip_len_s=2", *settings[1:]) == 0
    assert run("clip", "--set=split.clip_len_s=2", *settings[1:]) == 0
    read = [path for path, _ in site.asked[num_asked:] if path.startswith("/0.mp4")]
    assert read
    assert all("Signature=2" in path for path in read)
    assert run("clip", "--set=clip.crf=99", *settings) == 2
    for what in ("videos", "curated", "runs", "failures"):
        assert run("sql", "--format", "json", f"select * from {what}") == 0
    assert run("failures") == 0
    assert run("status", *settings) == 0
    assert run("why", f"{site.url}/0.mp4?sig={SECRETS['signature']}") == 0
    assert run("why", f"https://ann:{SECRETS['password of an address']}@nowhere.example/x.mp4") == 2
    assert run("curate", "-m", f"http://ann:{SECRETS['password of an address']}@127.0.0.1:1/l.json", *settings) == 2
    assert run("report") == 0
    assert run("export", "--format", "parquet", "--to", str(tmp_path / "exported"), *settings) == 0
    assert run("export", "--format", "nemo", "--to", str(tmp_path / "nemo"), *settings) == 0
    with served(output, "--token-env", "UI_TOKEN", UI_TOKEN=SECRETS["UI_TOKEN"]) as server:
        lines["page of ui"] = server.get("/").text + json.dumps(server.post("/clips", {}).json)
    shown = capfd.readouterr()
    lines["terminal of ui"], lines["log"] = shown.out + shown.err, caplog.text
    assert any(headers.get("authorization") == f"Basic {SECRETS['header']}" for _, headers in site.asked)
    files = {place: text for name in ("output", "exported", "nemo") for place, text in _all(tmp_path / name).items()}
    assert leaks(lines | files) == []
    conf = json.loads(table(output, "runs")[-1]["conf"])
    assert {key: value for key, value in conf["spark"].items() if "redacted" in value}.keys() == {
        "spark.hadoop.fs.s3a.secret.key",
        "spark.my.pin",
    }
    assert [row["attributes"] for row in table(output, "videos") if row["attributes"]] == [
        [("thumb", "https://thumbs.example/0.webp")]
    ]
    apart = texts(output, apart=True)
    assert {name for name, _ in leaks(apart)} >= {"signature", "password of an address", "password of a camera"}
    uris = [row["uri"] for row in table(output, "videos")] + [row["key"] for row in table(output, "failures")]
    exports = [word for name in ("exported", "nemo") for word in ("--exports", str(tmp_path / name))]
    assert run("takedown", "--unknown-ok", *exports, *uris, *settings) == 0, [*lines.values()][-1]
    assert leaks(texts(output, apart=True) | _all(output) | lines) == []


def test_a_signature_that_expires_midway_costs_no_video(spark: SparkSession, tmp_path: Path) -> None:
    """As in https://github.com/pachyderm/pachyderm/issues/2438: a long run outlives the signatures of its list."""
    output, listed = str(tmp_path / "output"), tmp_path / "list.json"
    film = write_numbered(tmp_path / "v.mp4", 60).read_bytes()
    settings = [f"--set={option}" for option in OPTIONS[:4]]
    with serving({"/v.mp4": Page(film)}) as site:

        def curate(night: int) -> list[tuple[str, str]]:
            listed.write_text(json.dumps([f"{site.url}/v.mp4?Expires={night}&Signature=x{night}"]))
            assert cli.main(["ingest", "-m", str(listed), "-o", output, *settings]) == 0
            site.pages["/v.mp4"].status = 403 if night == 1 else 200
            assert cli.main(["split", "-o", output, *settings]) == 0  # which asks for no file
            assert cli.main(["clip", "-o", output, *settings]) == 0
            return [(row["stage"], row["code"]) for row in table(Path(output), "failures")]

        assert curate(1) == [("clip", "UNREACHABLE")] * 2
        assert table(Path(output), "clips") == []
        site.pages["/v.mp4"].status = 200
        assert curate(2) == [("clip", "UNREACHABLE")] * 2
        assert site.asked[-1][0] == "/v.mp4?Expires=2&Signature=x2"
    assert len(table(Path(output), "clips")) == 2
    assert len(table(Path(output), "videos")) == 1


def test_a_video_that_a_token_names_is_taken_once_and_found_by_its_stored_address(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, listed = tmp_path / "output", tmp_path / "list.json"
    film = write_numbered(tmp_path / "v.mp4", 30, size=(160, 120)).read_bytes()
    settings = [f"--set={option}" for option in OPTIONS[2:4]]
    with serving({"/watch": Page(film)}) as site:
        listed.write_text(json.dumps([f"{site.url}/watch?v=1&token=t0ken"]))
        ingest = ["ingest", "-m", str(listed), "-o", str(output), *settings]
        assert cli.main(ingest) == 0
        before = versions(output)["videos"]
        assert cli.main(ingest) == 0
    assert versions(output)["videos"] == before
    [video] = table(output, "videos")
    assert "t0ken" not in video["uri"]
    assert cli.main(["why", video["uri"], "-o", str(output)]) == 0
    capsys.readouterr()
    assert cli.main(["takedown", video["uri"], "-o", str(output), "--dry-run"]) == 0
    assert f"{video['uri']} {video['video_id']}\n" in capsys.readouterr().out


def _all(folder: Path) -> dict[str, str]:
    assert folder.is_dir()
    found: dict[str, Any] = texts(folder, apart=False)
    assert found
    return found
