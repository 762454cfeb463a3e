"""Functions of the user's own, named module:function: looked for, hashed, and imported where they are to run."""

from __future__ import annotations

import ast
import hashlib
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from udfs.core.errors import RunError

PATTERN = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"
FunctionName = Annotated[str, Field(pattern=PATTERN)]
Function = Callable[..., Any]


class UserCodeError(RunError):
    """A function cannot be found or does not take its arguments. The text is one line."""


def is_function(name: str) -> bool:
    """Whether a name, such as that of a model, is module:function."""
    return re.fullmatch(PATTERN, name) is not None


def function(name: str) -> Function:
    """Import a function.

    Raises:
        UserCodeError: its module cannot be imported, or has no such function.
    """
    module, _, attribute = name.partition(":")
    _forget_older(module.partition(".")[0])
    try:
        found: Function = getattr(importlib.import_module(module), attribute)
    except Exception as e:
        raise UserCodeError(f"{name}: {type(e).__name__}: {' '.join(str(e).split())}") from e
    return found


def place(name: str) -> str | None:
    """The file of a function's package as it would be imported now."""
    spec = PathFinder.find_spec(name.partition(":")[0].partition(".")[0])
    return spec.origin if spec else None


def _forget_older(top: str) -> None:
    """Drop a package that this process imported from another place than where it is found now.

    A worker outlives a run, and the next one may send it newer code.
    """
    loaded, origin = sys.modules.get(top), place(top)
    if loaded is None or origin is None or getattr(loaded.__spec__, "origin", None) == origin:
        return
    for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
        del sys.modules[name]


def look_in(folder: Path, name: str) -> None:
    """Let a function's module be found in a folder, if it lies there."""
    top = name.partition(":")[0].partition(".")[0]
    is_there = (folder / f"{top}.py").is_file() or (folder / top).is_dir()
    if is_there and str(folder) not in sys.path:
        sys.path.append(str(folder))  # last, so that nothing else is found there in place of a package


def check(name: str, arguments: tuple[str, ...]) -> None:
    """Find a function without importing its module, and see whether it can be called with so many arguments.

    Of a module that is no Python source only the existence is known.

    Raises:
        UserCodeError: it says what is wrong.
    """
    tree = _tree(name)
    if tree is None:
        return
    attribute = name.partition(":")[2]
    if attribute not in _bound(tree):
        raise UserCodeError(f"{name}: {_file(name)} has no {attribute}")
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == attribute:
            _check_arguments(name, node, arguments)


def identity(name: str) -> str:
    """A hash of the code behind a function, whatever its comments and layout, and the version of its package.

    The code is that of its module; where its package was not installed, that of all modules beside it.
    """
    _tree(name)  # refuses what cannot be found
    digest = hashlib.blake2b(name.encode(), digest_size=8)
    top = name.partition(":")[0].partition(".")[0]
    if distributions := _distributions(top):
        digest.update(" ".join(f"{each} {version(each)}" for each in distributions).encode())
        files = [_file(name)]
    else:
        files = [*_files_of(top)]
    for file in files:
        digest.update(_code(file))
    return digest.hexdigest()


def to_send(name: str) -> Path | None:
    """The file or folder that workers need to import a function; None if it was installed, and so is there too."""
    top = name.partition(":")[0].partition(".")[0]
    if _distributions(top) or (spec := find_spec(top)) is None or not spec.origin or not Path(spec.origin).is_file():
        return None
    file = Path(spec.origin)
    return file.parent if spec.submodule_search_locations else file


@cache
def _distributions(top: str) -> list[str]:
    return sorted({*packages_distributions().get(top, [])})


def _file(name: str) -> Path:
    """The file of a function's module.

    Raises:
        UserCodeError: there is no such module.
    """
    module = name.partition(":")[0]
    try:
        spec = find_spec(module)
    except Exception as e:  # a package's own code may run, and fail in any way
        raise UserCodeError(f"{name}: {type(e).__name__}: {' '.join(str(e).split())}") from e
    if spec is None or not spec.origin:
        raise UserCodeError(f"{name}: no module {module} is installed, given by --py-files, or beside a conf file")
    return Path(spec.origin)


def _files_of(top: str) -> Iterator[Path]:
    """The sources of a module, or of all modules of a package, in order."""
    file = _file(f"{top}:")
    yield from sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]


def _tree(name: str) -> ast.Module | None:
    """A function's module, parsed; None if it is no Python source.

    Raises:
        UserCodeError: there is no such module, or it is wrong.
    """
    file = _file(name)
    if file.suffix != ".py" or not file.is_file():  # an extension, or in a zip
        return None
    try:
        return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as e:
        raise UserCodeError(f"{name}: {file}: {e}") from e


def _code(file: Path) -> bytes:
    """The code of a file without its comments and layout; the bytes of what is no Python source."""
    if not file.is_file():
        return b""
    source = file.read_bytes()
    if file.suffix != ".py":
        return source
    try:
        return ast.dump(ast.parse(source)).encode()
    except (SyntaxError, ValueError):  # such as a template beside the modules
        return source


def _bound(tree: ast.Module) -> set[str]:
    """The names that a module binds, in whatever branch of its top level."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
    return names


def _check_arguments(name: str, node: ast.FunctionDef | ast.AsyncFunctionDef, arguments: tuple[str, ...]) -> None:
    """Refuse a function that cannot be called with these arguments by their places."""
    places = [*node.args.posonlyargs, *node.args.args]
    least = len(places) - len(node.args.defaults)
    required = [
        a.arg for a, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if default is None
    ]
    fits = least <= len(arguments) and (node.args.vararg is not None or len(arguments) <= len(places))
    if required or not fits:
        raise UserCodeError(f"{name}: it must take ({', '.join(arguments)}), and takes ({ast.unparse(node.args)})")
