"""Stores: a web server is only read; writing, listing or deleting there is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs import cli
from udfs.core.errors import StoreError
from udfs.storage import http_source, media_store, s3
from udfs.storage.settings import Params
from udfs.storage.stores import readable_store, writable_store

ADDRESS = "https://me:s3cret@host/sets?signature=1"


def test_each_scheme_has_its_store() -> None:
    assert readable_store("s3://b/k") is writable_store("S3A://b/k") is s3
    assert readable_store("HTTPS://host/k") is readable_store("http://host/k") is http_source


def test_a_web_server_is_not_writable() -> None:
    with pytest.raises(StoreError, match="can only be read"):
        writable_store("http://host/k")
    with pytest.raises(StoreError, match="can only be read"):
        media_store.remove([ADDRESS], Params())


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["takedown", "--output", "{out}", "--exports", ADDRESS, "/v.mp4"], "--exports"),
        (["export", "--output", "{out}", "--format", "parquet", "--to", ADDRESS], "--to"),
        (["ingest", "--output", ADDRESS, "--manifest", "{out}"], "--output"),
        (["maintain", "--output", ADDRESS], "--output"),
    ],
)
def test_a_command_that_would_write_there_is_refused(
    command: list[str], option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")  # Spark could not start
    (tmp_path / "tables").mkdir()
    assert cli.main([word.format(out=tmp_path) for word in command]) == 2
    expected = f"reelmill: {option} https://host/sets: http(s) addresses can only be read: give a folder or s3://bucket/prefix\n"
    assert capsys.readouterr().err == expected
