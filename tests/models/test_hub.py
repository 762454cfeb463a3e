"""Fetches from a server with the hub's routes: complete, verified and once per host, or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import tiny
from tests.support.hidden import run_without
from tests.support.hub import Hub, of_folder, serving
from udfs.models import checkpoints, hub, registry
from udfs.models.registry import MissingModelError, Params

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = f"tests/tiny-clip@{COMMIT}"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP and, beside it, files that are never loaded."""
    folder = tiny.clip(tmp_path_factory.mktemp("clip"))
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    (folder / "README.md").write_text("# a card", encoding="utf-8")
    (folder / "modeling.py").write_text("raise SystemExit", encoding="utf-8")
    return folder


@pytest.fixture
def server(clip: Path) -> Iterator[Hub]:
    """A hub that has it."""
    with serving(of_folder("tests/tiny-clip", COMMIT, clip)) as running:
        yield running


def start(server: Hub, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """`reelmill models ... --dir folder` as its own process, with this hub and no other."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    env |= {"HF_ENDPOINT": server.url, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, "-m", "jobs.models", *arguments, "--dir", str(folder)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ran(server: Hub, folder: Path, *arguments: str) -> tuple[int, str]:
    """The exit status and all that was said."""
    process = start(server, folder, *arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out + err


def test_a_model_is_fetched_checked_and_found_by_its_name(server: Hub, tmp_path: Path, clip: Path) -> None:
    status, said = ran(server, tmp_path, "--fetch", NAME)
    assert status == 0, said
    folder = tmp_path / "tests--tiny-clip" / COMMIT
    assert f"fetched into {folder}" in said
    assert hub.folder(NAME, Params(dir=str(tmp_path))) == str(folder)
    assert (folder / "model.safetensors").read_bytes() == (clip / "model.safetensors").read_bytes()
    assert not {file.name for file in folder.iterdir()} & {"pytorch_model.bin", "README.md", "modeling.py", ".cache"}
    assert checkpoints.verify(folder) == []


def test_what_is_there_is_not_fetched_again(server: Hub, tmp_path: Path) -> None:
    ran(server, tmp_path, "--fetch", NAME)
    before = server.downloads.total()
    status, said = ran(server, tmp_path, "--fetch", NAME)
    assert (status, server.downloads.total()) == (0, before)
    assert "was already in" in said


def test_two_processes_at_once_download_once(server: Hub, tmp_path: Path) -> None:
    server.delay_s = 0.3
    both = [start(server, tmp_path, "--fetch", NAME) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert set(server.downloads.values()) == {1}
    assert sorted("was already in" in text for text in said) == [False, True]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_damaged_file_is_refused_and_nothing_is_left(server: Hub, tmp_path: Path, name: str) -> None:
    server.damaged.add(name)
    status, said = ran(server, tmp_path, "--fetch", NAME)
    assert status == 1
    assert f"arrived damaged and was deleted: {name} differs from the hub's hash of it" in said
    assert not (tmp_path / "tests--tiny-clip").exists()
    server.damaged.clear()
    assert ran(server, tmp_path, "--fetch", NAME)[0] == 0


def test_a_download_that_breaks_off_is_a_line_and_no_model(server: Hub, tmp_path: Path) -> None:
    server.cut.add("model.safetensors")
    status, said = ran(server, tmp_path, "--fetch", NAME)
    assert status == 1
    assert "cannot be fetched" in said
    assert "Traceback" not in said
    assert not (tmp_path / "tests--tiny-clip").exists()


def test_a_killed_fetch_leaves_nothing_that_looks_complete_and_the_next_one_goes_on(
    server: Hub, tmp_path: Path
) -> None:
    server.delay_s = 1.0
    process = start(server, tmp_path, "--fetch", NAME)
    deadline = time.monotonic() + 60
    while not server.downloads and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert server.downloads
    assert not (tmp_path / "tests--tiny-clip").exists()
    with pytest.raises(registry.MissingModelError):
        hub.folder(NAME, Params(dir=str(tmp_path)))
    server.delay_s = 0
    assert ran(server, tmp_path, "--fetch", NAME)[0] == 0
    assert checkpoints.verify(Path(hub.folder(NAME, Params(dir=str(tmp_path))))) == []


def test_a_model_or_commit_that_the_hub_does_not_have_is_a_line(server: Hub, tmp_path: Path) -> None:
    for name in (f"tests/none@{COMMIT}", f"tests/tiny-clip@{'f' * 40}"):
        status, said = ran(server, tmp_path, "--fetch", name)
        assert status == 1
        assert said.count("\n") == 1
        assert "cannot be fetched" in said


def test_a_short_commit_is_fetched_too(server: Hub, tmp_path: Path) -> None:
    assert ran(server, tmp_path, "--fetch", f"tests/tiny-clip@{COMMIT[:7]}")[0] == 0
    assert (tmp_path / "tests--tiny-clip" / COMMIT[:7] / "config.json").is_file()


def test_check_tells_what_has_changed_since(server: Hub, tmp_path: Path) -> None:
    ran(server, tmp_path, "--fetch", NAME)
    assert ran(server, tmp_path, "--check") == (0, f"tests--tiny-clip/{COMMIT}: unchanged\n")
    folder = tmp_path / "tests--tiny-clip" / COMMIT
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    (folder / "config.json").unlink()
    status, said = ran(server, tmp_path, "--check")
    assert status == 1
    assert "model.safetensors: its bytes are not those that were fetched" in said
    assert "config.json: is missing" in said


def test_a_worker_fetches_what_is_missing_where_the_settings_say_so(server: Hub, tmp_path: Path) -> None:
    params = f"registry.Params(dir={str(tmp_path)!r}, fetch_missing=True)"
    code = f"from udfs.models import hub, registry; print(hub.folder({NAME!r}, {params}))"
    env = os.environ | {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path / "tests--tiny-clip" / COMMIT)
    assert checkpoints.verify(Path(done.stdout.strip())) == []


def test_the_index_names_the_model_and_hashes_every_file(server: Hub, tmp_path: Path) -> None:
    ran(server, tmp_path, "--fetch", NAME)
    folder = tmp_path / "tests--tiny-clip" / COMMIT
    index = json.loads((folder / checkpoints.INDEX).read_text(encoding="utf-8"))
    assert (index["repo"], index["revision"]) == ("tests/tiny-clip", COMMIT)
    assert set(index["files"]) == {file.name for file in folder.iterdir()} - {checkpoints.INDEX}


def test_pickled_weights_are_taken_only_where_there_are_no_others() -> None:
    both = [
        "config.json",
        "model.safetensors",
        "pytorch_model.bin",
        "tokenizer.model",
        "merges.txt",
        "flax_model.msgpack",
    ]
    assert hub.files_to_fetch(both, remote_code=False) == [
        "config.json",
        "merges.txt",
        "model.safetensors",
        "tokenizer.model",
    ]
    assert hub.files_to_fetch(["config.json", "head.pth", ".gitattributes"], remote_code=False) == [
        "config.json",
        "head.pth",
    ]


def test_code_is_taken_only_of_models_that_need_their_own() -> None:
    files = ["config.json", "model.safetensors", "modeling_embed1.py", "onnx/model.onnx", "chat_template.jinja"]
    assert "modeling_embed1.py" in hub.files_to_fetch(files, remote_code=True)
    assert hub.files_to_fetch(files, remote_code=False) == ["chat_template.jinja", "config.json", "model.safetensors"]


@pytest.mark.parametrize("how", ["command", "stage"])
def test_without_the_client_of_the_hub_a_fetch_is_one_line(how: str, tmp_path: Path) -> None:
    code = {
        "command": "from jobs import cli; sys.exit(cli.main(['models', '--fetch', 'clip', '--dir', sys.argv[1]]))",
        "stage": "from udfs.models import hub, registry; "
        "hub.folder('clip', registry.Params(sys.argv[1], fetch_missing=True))",
    }[how]
    done = run_without("huggingface_hub", code, str(tmp_path))
    line = "fetching models needs huggingface_hub: pip install 'reelmill[models]'"
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(line)
    assert ("Traceback" in done.stderr) == (how == "stage")
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_the_hub_or_of_torch_is_imported_before_it_is_needed() -> None:
    modules = ("checkpoints", "embedding_config", "embedding_models", "hub", "registry", "text_match")
    code = (
        f"import sys; from udfs.models import {', '.join(modules)}; "
        "print({'huggingface_hub', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["cosmos", "internvideo2"])
def test_own_code_is_refused_unless_it_is_named(folders: dict[str, str], name: str) -> None:
    with pytest.raises(MissingModelError, match=r"models\.remote_code"):
        hub.allowed(folders[name], Params())
    assert hub.allowed(folders[name], Params(remote_code=(folders[name],))) == folders[name]
