"""Functions of the user's own, named module:function: looked for, hashed, and imported where they are to run."""

from __future__ import annotations

import ast
import hashlib
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from udfs.core.errors import RunError
from udfs.core.own_code import MODULE, PACKAGES

PATTERN = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"
FunctionName = Annotated[str, Field(pattern=PATTERN)]
NAMED_SO = "write it as module:function, such as my_scores:sharpness"
Function = Callable[..., Any]
SENT = ".zip" + os.sep  # in the place of a module that was sent to this process
NO_CODE = ("__pycache__", "node_modules")  # folders within a package that are none of its code
NOT_SENT = {*sys.stdlib_module_names, *PACKAGES, MODULE}  # workers have these
ENVIRONMENT = "pyvenv.cfg"  # a file of every virtual environment


NO_ARGUMENTS = ast.arguments(  # of an instance
    posonlyargs=[], args=[ast.arg("self")], vararg=None, kwonlyargs=[], kw_defaults=[], kwarg=None, defaults=[]
)


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
    _forget_older(_top(name))
    try:
        found: Function = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as e:
        raise UserCodeError(f"{name}: {type(e).__name__}: {' '.join(str(e).split())}") from e
    return found


def place(name: str) -> str | None:
    """Where a function's package lies as it would be imported now: its file, or its folder if it has no file."""
    return _place(PathFinder.find_spec(_top(name)))


def _top(name: str) -> str:
    """The package or module that has a function, without those within it."""
    return name.partition(":")[0].partition(".")[0]


def _place(spec: ModuleSpec | None) -> str | None:
    return (spec.origin or next(iter(spec.submodule_search_locations or ()), None)) if spec else None


def _forget_older(top: str) -> None:
    """Drop packages that this process imported from another place than where they are found now.

    A worker outlives a run, and the next one may send it newer code: of this package, and of modules
    that it imports.
    """
    tops = {name: module for name, module in [*sys.modules.items()] if "." not in name}
    loaded = {name: _place(getattr(module, "__spec__", None)) for name, module in tops.items()}
    sent = {name for name, origin in loaded.items() if origin and SENT in origin}
    for name in {*sent, top} & {*loaded}:
        if (now := place(f"{name}:")) is not None and now != loaded[name]:
            for inner in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
                del sys.modules[inner]


def look_in(folder: Path, name: str) -> None:
    """Let a function's module be found in a folder, if it lies there."""
    top = _top(name)
    is_there = (folder / f"{top}.py").is_file() or (folder / top).is_dir()
    if is_there and str(folder) not in sys.path:
        sys.path.append(str(folder))  # last, so that nothing else is found there in place of a package


def check(name: str, arguments: tuple[str, ...]) -> None:
    """Find a function without importing its module, and see whether it can be called with so many arguments.

    Of a module that is no Python source only the existence is known, and of a function with a decorator
    not what it takes.

    Raises:
        UserCodeError: it says what is wrong.
    """
    tree = _tree(name)
    if tree is None:
        return
    attribute = name.partition(":")[2]
    if "." not in name and _file(name).name != "__init__.py" and _is_relative(tree):
        raise UserCodeError(f"{name}: {_file(name)} has a relative import, which needs a folder of modules: a package")
    bound = {each for node in tree.body for each in _bound(node)}
    if not bound & {attribute, "*", "__getattr__"}:
        raise UserCodeError(f"{name}: {_file(name)} has no {attribute}")
    named = [node for node in tree.body if getattr(node, "name", None) == attribute]
    if named and isinstance(node := named[-1], ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        _check_call(name, node, arguments)


def identity(name: str) -> str:
    """A hash of the code behind a function, whatever its comments and layout, and the version of its package.

    The code is that of its module; where its package was not installed, that of all modules that workers are sent.
    """
    _tree(name)  # refuses what cannot be found
    digest = hashlib.blake2b(name.encode(), digest_size=8)
    if distributions := _distributions(_top(name)):
        digest.update(" ".join(f"{each} {version(each)}" for each in distributions).encode())
        files = [_file(name)]
    else:
        files = [file for source in _sources(_top(name)) for file in _modules(source)]
    for file in files:
        digest.update(_code(file))
    return digest.hexdigest()


def to_send(name: str) -> list[Path]:
    """The files and folders that workers need to import a function, its own first: modules beside it that it imports.

    Empty if it was installed, and so is there too.
    """
    top = _top(name)
    if _distributions(top) or top in NOT_SENT:
        return []
    return [source for source in _sources(top) if source.exists()]


def code_files(source: Path) -> list[Path]:
    """The files of a module or package, in order, but for caches, hidden folders and environments within it."""
    if source.is_file():
        return [source]
    found = []
    for at, folders, names in os.walk(source):
        folders[:] = sorted(each for each in folders if _is_code(Path(at, each)))
        found += [Path(at, name) for name in names]
    return sorted(found)


def _is_code(folder: Path) -> bool:
    return folder.name not in NO_CODE and folder.name[0] != "." and not (folder / ENVIRONMENT).exists()


def _modules(source: Path) -> list[Path]:
    """The Python sources of a module or package; of a module in any other form the file itself."""
    return [file for file in code_files(source) if file.suffix == ".py"] if source.is_dir() else [source]


def _sources(top: str) -> list[Path]:
    """Where a module or package lies, and those beside it that it imports."""
    first = _source(top)
    found = {top: first} if first else {}
    for source in (queue := [*found.values()]):  # grows
        for name in sorted({each for file in _modules(source) for each in _imports(file)} - found.keys() - NOT_SENT):
            beside = _source(name)
            if first and beside and beside.parent == first.parent and not _distributions(name):
                found[name] = beside
                queue.append(beside)
    return [*found.values()]


def _source(top: str) -> Path | None:
    """The file of a module, or the folder of a package; None if there is none of its name."""
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):  # such as __main__ of a notebook
        return None
    if spec is None or (where := _place(spec)) is None:
        return None
    return Path(where).parent if spec.origin and spec.submodule_search_locations else Path(where)


def _imports(file: Path) -> set[str]:
    """The packages that a module imports anywhere."""
    if file.suffix != ".py" or not file.is_file():
        return set()
    try:
        nodes = [*ast.walk(ast.parse(file.read_bytes()))]
    except (SyntaxError, ValueError):  # such as a template beside the modules
        return set()
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in found}


@cache
def _distributions(top: str) -> list[str]:
    return sorted({*packages_distributions().get(top, [])})


def _file(name: str) -> Path:
    """The file of a function's module.

    Raises:
        UserCodeError: there is no such module.
    """
    module = name.partition(":")[0]
    if module == "__main__":
        raise UserCodeError(f"{name}: workers cannot import what a notebook or script defines: write it to a file")
    if module.endswith(".py"):
        raise UserCodeError(f"{name}: a module is named without .py: {module.removesuffix('.py')}")
    try:
        spec = find_spec(module)
    except (Exception, SystemExit) as e:  # a package's own code may run, and fail in any way
        raise UserCodeError(f"{name}: {type(e).__name__}: {' '.join(str(e).split())}") from e
    if spec is None or not spec.origin:
        raise UserCodeError(f"{name}: no module {module} is installed, given by --py-files, or beside a conf file")
    return Path(spec.origin)


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
        return _dumped(ast.parse(source)).encode("utf-8", "surrogatepass")
    except (SyntaxError, ValueError):  # such as a template beside the modules
        return source


def _dumped(tree: ast.Module) -> str:
    """A module as text, alike in every version of Python: 3.12 added type parameters, 3.13 leaves out what is empty."""
    all_fields: dict[str, Any] = {"show_empty": True} if sys.version_info >= (3, 13) else {}
    return ast.dump(tree, **all_fields).replace(", type_params=[]", "")


def _is_relative(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree))


def _bound(node: ast.AST) -> Iterator[str]:
    """The names that a statement binds in its module, in whatever branch; within functions and classes none."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        return
    if isinstance(node, ast.Lambda):
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    if isinstance(node, ast.alias):
        yield (node.asname or node.name).partition(".")[0]
    for child in ast.iter_child_nodes(node):
        yield from _bound(child)


def _check_call(
    name: str, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, arguments: tuple[str, ...]
) -> None:
    """Refuse what cannot be called with these arguments by their places, as far as its source says what it takes."""
    if isinstance(node, ast.ClassDef):
        _check_class(name, node, arguments)
    elif node.decorator_list:
        return
    elif isinstance(node, ast.AsyncFunctionDef):
        raise UserCodeError(f"{name}: it is async, and nothing would await it")
    else:
        _check_arguments(name, node.args, arguments)


def _check_class(name: str, node: ast.ClassDef, arguments: tuple[str, ...]) -> None:
    """Refuse a class whose own __init__ does not take the arguments; one that inherits may take others."""
    own = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
    if node.bases or node.keywords or node.decorator_list or any(each.decorator_list for each in own):
        return
    _check_arguments(f"{name} is a class", own[-1].args if own else NO_ARGUMENTS, ("self", *arguments))


def _check_arguments(name: str, taken: ast.arguments, arguments: tuple[str, ...]) -> None:
    places = [*taken.posonlyargs, *taken.args]
    least = len(places) - len(taken.defaults)
    required = [a.arg for a, default in zip(taken.kwonlyargs, taken.kw_defaults, strict=True) if default is None]
    fits = least <= len(arguments) and (taken.vararg is not None or len(arguments) <= len(places))
    if required or not fits:
        raise UserCodeError(f"{name}: it must take ({', '.join(arguments)}), and takes ({ast.unparse(taken)})")
