"""Names of models: what they stand for, which one a typo meant, and whose own code may run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from udfs.models import embedding_config, registry
from udfs.models.registry import KNOWN, Checkpoint, MissingModelError, Params, absolute_name, is_local


def test_every_known_model_is_pinned_to_a_whole_commit() -> None:
    assert all(re.fullmatch("[0-9a-f]{40}", found.revision) for found in KNOWN.values())
    assert len({(found.repo, found.revision) for found in KNOWN.values()}) == len(KNOWN)


def test_only_cosmos_runs_code_of_its_own() -> None:
    assert {name for name, found in KNOWN.items() if found.remote_code} == {
        f"cosmos-embed1-{px}p" for px in (224, 336, 448)
    }


def test_another_commit_or_another_model_of_the_hub_can_be_named() -> None:
    assert registry.checkpoint("clip@abcdef0") == Checkpoint("openai/clip-vit-large-patch14", "abcdef0", "")
    assert registry.checkpoint("org/name@abcdef0") == Checkpoint("org/name", "abcdef0", "")
    assert registry.checkpoint("cosmos-embed1-224p@abcdef0").remote_code


def test_another_commit_of_a_known_model_keeps_its_repository() -> None:
    other = registry.checkpoint(f"x-clip@{'0' * 40}")
    assert (other.repo, other.revision) == (KNOWN["x-clip"].repo, "0" * 40)
    assert not other.remote_code


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("clp", "no model clp: did you mean clip?"),
        (
            "InternVideo2",
            "no model InternVideo2: name a folder with its own code, laid out as OpenGVLab/InternVideo2-Stage2_6B is",
        ),
        ("qwen2.5-vl", "no model qwen2.5-vl: did you mean qwen2.5?"),
        ("cosmos-embed1-224", "no model cosmos-embed1-224: did you mean cosmos-embed1-224p?"),
        ("siglp2@abcdef0", "no model siglp2@abcdef0: did you mean siglip2?"),
        ("zzz", f"no model zzz: known are {', '.join(KNOWN)}"),
        ("org/name", "no model org/name: no such folder; a model on the hub is written org/name@commit"),
        ("org/name@main", "no model org/name@main: no such folder; a model on the hub is written org/name@commit"),
        ("org/name@abcde", "no model org/name@abcde: no such folder; a model on the hub is written org/name@commit"),
        ("a/b/c@abcdef0", "no model a/b/c@abcdef0: no such folder; a model on the hub is written org/name@commit"),
    ],
)
def test_an_unknown_name_is_a_line_that_says_what_to_write(name: str, line: str) -> None:
    with pytest.raises(MissingModelError) as error:
        registry.checkpoint(name)
    assert str(error.value) == line


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("qwen", "qwen2.5"),
        ("qwen_lm", "qwen-lm"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "qwen2.5"),
        ("cosmos-embed1", "cosmos-embed1-224p"),
        ("Cosmos-Embed1-336p", "cosmos-embed1-336p"),
        ("internvideo2", None),
        ("nemotron", None),
    ],
)
def test_names_of_nemo_curator_and_of_the_hub_are_known(name: str, known: str | None) -> None:
    assert registry.known_name(name) == known
    assert known is None or registry.checkpoint(name) == KNOWN[known]


def test_a_commit_of_an_alias_is_that_of_its_model() -> None:
    assert registry.checkpoint("cosmos-embed1@abcdef0").repo == "nvidia/Cosmos-Embed1-224p"


def test_code_of_a_folder_does_not_run_because_it_is_named_like_a_model_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    params = Params(remote_code=("nvidia/Cosmos-Embed1-224p",))
    assert params.remote_code == ("cosmos-embed1-224p",)
    assert registry.may_run_code("cosmos-embed1", params)
    Path("nvidia/Cosmos-Embed1-224p").mkdir(parents=True)
    assert not registry.may_run_code("nvidia/Cosmos-Embed1-224p", params)


def test_a_folder_is_local_only_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models/clip").mkdir(parents=True)
    (tmp_path / "clip").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("models/clip", "./models/../models/clip", "~/models/clip", f"{tmp_path}/models/clip"):
        assert is_local(name)
        assert absolute_name(name) == f"{tmp_path}/models/clip"
    for name in ("clip", "models/gone", "org/name@abcdef0"):  # clip is the known model
        assert not is_local(name)
    for name in ("~nosuchuser/clip", "/" + "x" * 300 + "/clip", "/a\0b/clip"):
        assert not is_local(name)
        assert absolute_name(name) == name


def test_code_may_run_for_the_names_in_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my/model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    params = Params(remote_code=("my/model", "cosmos-embed1-224p"))
    assert params.remote_code == (f"{tmp_path}/my/model", "cosmos-embed1-224p")
    monkeypatch.chdir("/")  # as a worker
    for name, allowed in (
        (f"{tmp_path}/my/model", True),
        ("cosmos-embed1-224p", True),
        ("cosmos-embed1-336p", False),
        ("my/model", False),
    ):
        assert registry.may_run_code(name, params) == allowed, name


@pytest.mark.parametrize("settings", [{"device": "gpu"}, {"dir": ""}, {"revision": "x"}])
def test_settings_out_of_bounds_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Params).validate_python(settings)


def test_the_page_for_users_of_nemo_curator_offers_only_names_that_are_known() -> None:
    page = Path("docs/nemo-curator.md").read_text(encoding="utf-8")
    table = page.partition("### Names of models")[2].partition("\n\nA model may")[0]
    same = [re.findall(r"`([^`]+)`", row.split("|")[1]) for row in table.splitlines() if "| the same" in row]
    short = {"-336p": "cosmos-embed1-336p", "-448p": "cosmos-embed1-448p"}
    names = {short.get(name, name) for row in same for name in row}
    assert len(names) == 6
    assert all(registry.known_name(name) for name in names | {*embedding_config.NAMES})
