"""Folders of models: where they lie, what identifies them, and the message about a missing one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobs import cli
from tests.support import tiny
from udfs.core import program
from udfs.models import checkpoints, hub, registry
from udfs.models.registry import KNOWN, MissingModelError, Params


def put(params: Params, name: str) -> Path:
    """A folder where the fetched model would be."""
    folder = checkpoints.fetched_folder(registry.checkpoint(name), params)
    folder.mkdir(parents=True)
    (folder / checkpoints.INDEX).write_text("{}", encoding="utf-8")
    return folder


def test_a_fetched_model_lies_by_repository_and_commit(tmp_path: Path) -> None:
    params = Params(dir=str(tmp_path))
    folder = put(params, "clip")
    assert folder == tmp_path / "openai--clip-vit-large-patch14" / KNOWN["clip"].revision
    assert hub.folder("clip", params) == str(folder)


def test_the_path_of_a_folder_is_that_folder(tmp_path: Path) -> None:
    assert hub.folder(str(tiny.clip(tmp_path / "c")), Params()) == str(tmp_path / "c")
    assert checkpoints.identity(str(tmp_path / "c")) == checkpoints.identity(str(tiny.clip(tmp_path / "d")))


def test_the_identity_of_a_folder_changes_with_what_is_in_it(tmp_path: Path) -> None:
    one, other = tiny.aesthetic_mlp(tmp_path / "a"), tiny.aesthetic_mlp(tmp_path / "b", width=16)
    assert checkpoints.identity(str(one)) != checkpoints.identity(str(other))
    assert checkpoints.identity("clip") == f"openai/clip-vit-large-patch14@{KNOWN['clip'].revision}"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("clp", "no model clp: did you mean clip?"),
        ("./none/there", "no model ./none/there: no such folder"),
        (
            "clip",
            "clip (openai/clip-vit-large-patch14) is not in {dir}: "
            "fetch it with `{command} models --fetch clip --dir {dir}`",
        ),
    ],
)
def test_a_model_that_is_not_there_is_a_line_that_says_what_to_do(name: str, said: str, tmp_path: Path) -> None:
    for attempt in (checkpoints.check, hub.folder):
        with pytest.raises(MissingModelError) as e:
            attempt(name, Params(dir=str(tmp_path)))
        assert str(e.value).startswith(said.format(dir=tmp_path, command=program.command()))
        assert "\n" not in str(e.value)


def test_a_folder_half_there_is_not_there(tmp_path: Path) -> None:
    params = Params(dir=str(tmp_path))
    (put(params, "clip") / checkpoints.INDEX).unlink()
    with pytest.raises(MissingModelError, match="fetch it with"):
        hub.folder("clip", params)


def test_where_workers_may_fetch_the_driver_lets_it_pass(tmp_path: Path) -> None:
    checkpoints.check("clip", Params(dir=str(tmp_path), fetch_missing=True))


def test_code_of_a_model_runs_only_where_the_settings_allow_it(tmp_path: Path) -> None:
    params = Params(dir=str(tmp_path), remote_code=("clip",))
    put(params, "cosmos-embed1-224p")
    cosmos = str(tiny.cosmos(tmp_path / "cosmos"))
    for name in ("cosmos-embed1-224p", cosmos):
        with pytest.raises(MissingModelError, match="runs Python code of its own: allow it with --set"):
            checkpoints.check(name, params)
        assert not registry.may_run_code(name, params)
        allowed = Params(dir=str(tmp_path), remote_code=(name,))
        checkpoints.check(name, allowed)
        assert registry.may_run_code(name, allowed)


def test_the_line_that_allows_code_is_a_setting_that_does(tmp_path: Path) -> None:
    cosmos = str(tiny.cosmos(tmp_path / "cosmos"))
    with pytest.raises(MissingModelError) as e:
        checkpoints.check(cosmos, Params(remote_code=("clip",)))
    from jobs.config.settings import load

    [setting] = re.findall(r"--set '(.*)'", str(e.value))
    assert load([], [setting]).models.remote_code == ("clip", cosmos)


def test_workers_in_another_folder_find_the_same_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sent = checkpoints.with_absolute_dir(Params(dir="models", device="cpu"))
    assert sent == Params(dir=str(tmp_path / "models"), device="cpu")


def test_models_lists_what_is_known_and_what_is_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(Params(dir=str(tmp_path)), "siglip2")
    assert cli.main(["models", "--set", f"models.dir={tmp_path}"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == list(KNOWN)
    assert [line[0] for line in lines if line[1] == "present"] == ["siglip2"]


def test_a_typo_in_what_to_fetch_is_a_line_and_fetches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["models", "--fetch", "clip", "sigclip2", "--dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "reelmill: no model sigclip2: did you mean siglip2?\n"
    assert not list(tmp_path.iterdir())
