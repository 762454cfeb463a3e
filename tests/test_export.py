"""export: what cannot be exported is refused in one line, before Spark starts."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import cli, export


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A folder that looks like an output; Spark would find nothing in it."""
    (tmp_path / "output/tables/captions").mkdir(parents=True)
    pq.write_table(pa.table({"model": ["org/mine@0123abc"]}), tmp_path / "output/tables/captions/0.parquet")
    return tmp_path / "output"


def told(output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    """The line that an export that is refused says."""
    monkeypatch.setenv("JAVA_HOME", "/nowhere")  # Spark could not start
    assert cli.main(["export", "--output", str(output), "--to", str(output.parent / "to"), *words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--format: say which, or name a release"),
        (("--format", "frames", "--query", "select 1"), "takes neither --query nor --as-of"),
        (("--release", "/nowhere.json"), "/nowhere.json: No such file or directory"),
        (("--release", "/nowhere.json", "--format", "nemo"), "--release says what to export"),
        (("--format", "parquet", "--to", "http://host/x"), "--to http://host/x: http(s) addresses can only be read"),
        (
            ("--format", "webdataset", "--set", "export.webdataset.shard_mb=0"),
            "export.webdataset.shard_mb: Input should be greater",
        ),
        (
            ("--format", "webdataset", "--set", "export.webdataset.shard_m=1"),
            "did you mean export.webdataset.shard_mb?",
        ),
        (
            ("--format", "nemo", "--set", 'export.nemo.caption_models=["qwen25"]'),
            "no model qwen25: did you mean qwen2.5?",
        ),
    ],
)
def test_wrong_usage(
    output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    assert said in told(output, capsys, monkeypatch, *words)


def test_a_format_may_be_spelled_otherwise_and_a_wrong_one_names_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def format_of(word: str) -> str:
        return str(cli.parse(["export", "--output", "o", "--to", "t", "--format", word]).format)

    assert [format_of(word) for word in ("NeMo", "wds", "hf")] == ["nemo", "webdataset", "huggingface"]
    with pytest.raises(SystemExit):
        format_of("parket")
    assert "no parket: did you mean parquet?" in capsys.readouterr().err


def test_a_package_that_is_missing_is_named(
    output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    assert "pip install 'reelmill[export]'" in told(output, capsys, monkeypatch, "--format", "lance")
