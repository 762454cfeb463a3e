"""models: lists known models, and verifies what was fetched; a name that is none is a line, and nothing is fetched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs import cli
from udfs.models import checkpoints
from udfs.models.registry import KNOWN, Params, checkpoint

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = f"tests/tiny@{COMMIT}"


def fetched(root: Path, name: str, files: dict[str, bytes]) -> Path:
    """The folder of a model as a fetch leaves it."""
    folder = checkpoints.fetched_folder(checkpoint(name), Params(dir=str(root)))
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    facts = {
        file: {"size": len(content), "sha256": checkpoints.file_sha256(folder / file)}
        for file, content in files.items()
    }
    (folder / checkpoints.INDEX).write_text(json.dumps({"files": facts}))
    return folder


def answer(capsys: pytest.CaptureFixture[str], root: Path, *words: str) -> tuple[int, str, str]:
    """The exit status of `reelmill models`, and what it prints to both streams."""
    status = cli.main(["models", *words, "--dir", str(root)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_every_known_model_has_a_line_that_says_whether_it_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetched(tmp_path, "siglip2", {"config.json": b"{}"})
    status, out, err = answer(capsys, tmp_path)
    assert (status, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert [*lines] == [*KNOWN]
    assert {name for name, line in lines.items() if line.split()[1] == "present"} == {"siglip2"}
    assert all(f"{model.repo}@{model.revision[:7]}" in lines[name] for name, model in KNOWN.items())
    own_code = {name for name, line in lines.items() if line.endswith("runs Python code of its own")}
    assert own_code == {name for name, model in KNOWN.items() if model.remote_code}


def test_a_model_that_is_there_is_not_fetched_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fetched(tmp_path, NAME, {"config.json": b"{}"})
    assert answer(capsys, tmp_path, "--fetch", NAME) == (0, f"{NAME}: was already in {folder}\n", "")


def test_a_model_is_fetched_by_the_name_of_nemo_curator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fetched(tmp_path, "qwen2.5", {"config.json": b"{}"})
    assert answer(capsys, tmp_path, "--fetch", "qwen") == (0, f"qwen: was already in {folder}\n", "")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--fetch", "clip", "--check"), "models: give --fetch or --check, one of both"),
        (("--fetch", "siglip"), "no model siglip: did you mean siglip2?"),
        (("--fetch", "org/name"), "no model org/name: no such folder; a model on the hub is written org/name@commit"),
        (("--fetch", "{here}/folder"), "{here}/folder is a local folder and needs no fetching: {here}/folder"),
    ],
)
def test_a_wrong_command_is_one_line(
    words: tuple[str, ...], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    status, out, err = answer(capsys, tmp_path / "models", *(word.format(here=tmp_path) for word in words))
    assert (status, out, err) == (2, "", f"reelmill: {line.format(here=tmp_path)}\n")


def test_nothing_is_fetched_while_a_later_name_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetched(tmp_path, NAME, {"config.json": b"{}"})
    status, out, err = answer(capsys, tmp_path, "--fetch", NAME, "siglip")
    assert (status, out) == (2, "")  # not even a word on the first one
    assert err == "reelmill: no model siglip: did you mean siglip2?\n"


def test_check_names_what_has_changed_since(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = fetched(tmp_path, f"org/whole@{COMMIT}", {"config.json": b"{}"})
    assert answer(capsys, tmp_path, "--check") == (0, f"org--whole/{COMMIT}: unchanged\n", "")
    changed = fetched(
        tmp_path, NAME, {"config.json": b"{}", "model.safetensors": b"weights", "vocab.json": b"{}", "merges.txt": b"a"}
    )
    (changed / "config.json").unlink()
    (changed / "model.safetensors").write_bytes(b"weighty")
    (changed / "vocab.json").write_bytes(b"{ }")
    (whole / "notes.txt").write_text("a file that was not fetched is left alone")
    name = f"tests--tiny/{COMMIT}"
    assert answer(capsys, tmp_path, "--check") == (
        1,
        f"org--whole/{COMMIT}: unchanged\n"
        f"{name}: config.json: is missing\n"
        f"{name}: model.safetensors: its bytes are not those that were fetched\n"
        f"{name}: vocab.json: 3 bytes, not 2\n",
        "",
    )


def test_check_of_an_empty_folder_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, tmp_path / "none", "--check") == (0, f"no models in {tmp_path}/none\n", "")
