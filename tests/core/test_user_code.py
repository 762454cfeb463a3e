"""user_code: functions of the user's own are found, checked and hashed without being imported."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from udfs.core import user_code
from udfs.core.user_code import UserCodeError

MODULE = '''
raise_at_import = 1 / 0


def one(frames, scale=2):
    """Says nothing."""
    return frames


def more(*inputs):
    return inputs


def strict(frames, *, scale):
    return frames


class Scorer:
    def __init__(self, frames):
        local = frames


class Unready:
    def __call__(self, frames):
        return frames


class Inherits(dict):
    pass


async def later(frames):
    return frames


@with_more_arguments
def wrapped(frames, model, cache):
    return frames


unready = Unready()

try:
    from json import loads as load
except ImportError:
    load = None
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a module whose import fails, and a package; both are found there."""
    (tmp_path / "looked_at.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "a_package").mkdir()
    (tmp_path / "a_package" / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "a_package" / "inner.py").write_text("def f(x):\n    return x\n", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path])
    user_code.look_in(tmp_path, "looked_at:one")
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith(("looked_at", "a_package"))]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["one", "more", "Scorer", "Inherits", "unready", "wrapped", "load"])
def test_a_function_is_found_without_an_import(name: str, folder: Path) -> None:
    user_code.check(f"looked_at:{name}", ("frames",))
    assert "looked_at" not in sys.modules


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("looked_at:two", ("frames",), "has no two"),
        ("looked_at:one", (), "it must take (), and takes (frames, scale=2)"),
        ("looked_at:one", ("a", "b", "c"), "it must take (a, b, c)"),
        ("looked_at:strict", ("frames",), "and takes (frames, *, scale)"),
        ("looked_at:local", ("frames",), "has no local"),
        ("looked_at:Unready", ("frames",), "is a class: it must take (self, frames), and takes (self)"),
        ("looked_at:later", ("frames",), "it is async, and nothing would await it"),
        ("looked_at.py:one", ("frames",), "a module is named without .py: looked_at"),
        ("__main__:one", ("frames",), "workers cannot import what a notebook or script defines: write it to a file"),
        ("not_there:one", ("frames",), "no module not_there is installed"),
        ("a_package.gone:one", ("frames",), "no module a_package.gone is installed"),
    ],
)
def test_what_cannot_be_called_is_one_line(name: str, arguments: tuple[str, ...], message: str, folder: Path) -> None:
    with pytest.raises(UserCodeError) as caught:
        user_code.check(name, arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_that_is_no_python_is_one_line(folder: Path) -> None:
    (folder / "looked_at.py").write_text("def one(:\n", encoding="utf-8")
    with pytest.raises(UserCodeError, match=r"looked_at\.py"):
        user_code.check("looked_at:one", ("frames",))


def test_an_import_that_fails_is_one_line(folder: Path) -> None:
    with pytest.raises(UserCodeError, match="looked_at:one: ZeroDivisionError: division by zero"):
        user_code.function("looked_at:one")


def test_comments_and_layout_do_not_count_but_code_does(folder: Path) -> None:
    file = folder / "looked_at.py"
    before = user_code.identity("looked_at:one")
    file.write_text("# Another remark.\n" + MODULE.replace("return frames", "return (  frames  )"), encoding="utf-8")
    assert user_code.identity("looked_at:one") == before
    file.write_text(MODULE.replace("scale=2", "scale=3"), encoding="utf-8")
    assert user_code.identity("looked_at:one") != before


def test_the_code_of_a_package_that_is_not_installed_is_all_of_its_modules(folder: Path) -> None:
    before = user_code.identity("a_package.inner:f")
    (folder / "a_package" / "helper.py").write_text("LIMIT = 1\n", encoding="utf-8")
    assert user_code.identity("a_package.inner:f") != before


def test_workers_are_sent_what_was_not_installed(folder: Path) -> None:
    assert user_code.to_send("looked_at:one") == [folder / "looked_at.py"]
    assert user_code.to_send("a_package.inner:f") == [folder / "a_package"]
    assert user_code.to_send("numpy:mean") == user_code.to_send("json:loads") == []


def test_modules_beside_it_that_it_imports_are_sent_and_count(folder: Path) -> None:
    (folder / "looked_at.py").write_text(
        "import json\nfrom beside import two\nimport numpy, udfs.core\n", encoding="utf-8"
    )
    (folder / "beside.py").write_text(
        "def two():\n    import a_package.inner as inner\n    return inner\n", encoding="utf-8"
    )
    (folder / "not_imported.py").write_text("", encoding="utf-8")
    sources = [folder / name for name in ("looked_at.py", "beside.py", "a_package")]
    assert user_code.to_send("looked_at:one") == sources
    before = user_code.identity("looked_at:one")
    (folder / "a_package/inner.py").write_text("def f(x):\n    return x + 1\n", encoding="utf-8")
    assert user_code.identity("looked_at:one") != before


def test_a_package_without_an_init_is_one(folder: Path) -> None:
    (folder / "a_package" / "__init__.py").unlink()
    user_code.check("a_package.inner:f", ("frames",))
    assert user_code.to_send("a_package.inner:f") == [folder / "a_package"]
    before = user_code.identity("a_package.inner:f")
    (folder / "a_package" / "helper.py").write_text("LIMIT = 1\n", encoding="utf-8")
    assert user_code.identity("a_package.inner:f") != before


def test_an_environment_within_a_package_is_none_of_its_code(folder: Path) -> None:
    before = user_code.identity("a_package.inner:f"), user_code.code_files(folder / "a_package")
    for name in (".git/hook.py", "env/pyvenv.cfg", "env/lib/big.py", "__pycache__/inner.py", "node_modules/a.py"):
        (folder / "a_package" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "a_package" / name).write_text("X = 1\n", encoding="utf-8")
    assert (user_code.identity("a_package.inner:f"), user_code.code_files(folder / "a_package")) == before


def test_a_package_that_ends_the_process_at_import_does_not(folder: Path) -> None:
    (folder / "a_package" / "__init__.py").write_text("import sys\nsys.exit(4)\n", encoding="utf-8")
    for use in (lambda: user_code.check("a_package.inner:f", ("frames",)), lambda: user_code.function("a_package:f")):
        with pytest.raises(UserCodeError, match="SystemExit: 4"):
            use()


def test_a_relative_import_needs_a_package(folder: Path) -> None:
    (folder / "looked_at.py").write_text(
        "from . import helper\n\n\ndef f(frames):\n    return frames\n", encoding="utf-8"
    )
    with pytest.raises(UserCodeError, match="has a relative import, which needs a folder of modules: a package"):
        user_code.check("looked_at:f", ("frames",))
    (folder / "a_package" / "__init__.py").write_text("from .inner import f\n", encoding="utf-8")
    user_code.check("a_package:f", ("frames",))


def test_names_that_only_an_import_knows_are_taken_on_trust(folder: Path) -> None:
    for line in ("from a_package.inner import *\n", "def __getattr__(name):\n    return print\n"):
        (folder / "looked_at.py").write_text(line, encoding="utf-8")
        user_code.check("looked_at:whatever", ("frames",))


def test_a_worker_imports_the_newest_of_all_that_it_was_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    for number in (1, 2):
        archive = tmp_path / f"sent-{number}.zip"
        with zipfile.ZipFile(archive, "w") as packed:
            packed.writestr("sent_code.py", "from sent_beside import NUMBER\n\n\ndef f():\n    return NUMBER\n")
            packed.writestr("sent_beside.py", f"NUMBER = {number}\n")
        sys.path.insert(1, str(archive))
        assert user_code.function("sent_code:f")() == number


@pytest.mark.parametrize("name", ["a:b", "a.b.c:d_e"])
def test_names_of_functions(name: str) -> None:
    assert user_code.is_function(name)


@pytest.mark.parametrize("name", ["descriptor", "org/name@0123abc", "a.b", "a:b:c", ":b", "http://host:80/x", "C:/x"])
def test_other_names(name: str) -> None:
    assert not user_code.is_function(name)
