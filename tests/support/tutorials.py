"""Tutorials: run a page's notebook, compare what it prints with the page, and write notebooks and answers.

`python -m tests.support.tutorials` writes the notebook of every page, `--run PAGE ...` also runs these pages
and puts what was printed below their commands.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import jupytext
import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path("docs/tutorials")
INDEX = FOLDER / "README.md"
PAGES = sorted(page for page in FOLDER.glob("*.md") if page != INDEX)
REWRITE = "run `python -m tests.support.tutorials`"
ANSWER = re.compile(r"\A```text\n(.*?)```", flags=re.DOTALL)
# What differs from run to run, and what stands for it when a page is compared: clocks, durations, ids, folders, and
# scores of encoded clips, since x264 chooses some algorithms by the processor (its option cpu-independent).
VARYING = {
    re.compile(r"\b\d{8}T\d{6}-[0-9a-f]{6}\b"): "RUN",
    re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d UTC"): "TIME",
    re.compile(r"\b\d\d:\d\d:\d\d\b"): "TIME",
    re.compile(r"\bin [\d.]+ s\b(, [\d.]+/s)?"): "in SECONDS",
    re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"): "ID",
    re.compile(r"(?<![\w.])/\S*/(?=(out|videos|reels)\b)"): "FOLDER/",
    re.compile(r"\b0\.00\d{4,}\b"): "SCORE",
    re.compile(r"^ *[▁-█][▁-█ ]*$", flags=re.MULTILINE): "BARS",
    re.compile(r"(?<=\.mp4),?\s+"): " ",  # a line ends after a long address, else a comma follows
}
CELL_TIMEOUT_S = 900
HOME = "/home/you"  # where a page says that its folder is
Notebook = Any  # nbformat's nodes have no types


class Answer(NamedTuple):
    """What a page says that a cell prints, and what the cell printed."""

    cell: str
    shown: str
    printed: str

    @property
    def agrees(self) -> bool:
        """Whether both are alike but for VARYING and spaces; `...` in the page stands for anything."""
        shown, printed = neutral(self.shown), neutral(self.printed)
        return OutputChecker().check_output(shown, printed, ELLIPSIS | NORMALIZE_WHITESPACE)


def neutral(text: str) -> str:
    """A text without what differs from run to run."""
    for pattern, name in VARYING.items():
        text = pattern.sub(name, text)
    return text


def notebook_of(page: Path) -> Notebook:
    """The notebook that a page is, without outputs; ids of cells are their places."""
    notebook = jupytext.read(page)
    for place, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{place}"
    notebook.metadata.setdefault("jupytext", {}).pop("text_representation", None)
    return notebook


def text_of(notebook: Notebook) -> str:
    """A notebook as its file holds it."""
    return f"{nbformat.writes(notebook, version=4)}\n"


def run(notebook: Notebook, folder: Path) -> list[Answer]:
    """Run a notebook in a folder, with this repository's `reelmill`, and return its answers. Any command may fail it.

    Raises:
        CellExecutionError: a cell failed.
    """
    for cell in notebook.cells:
        cell.source = re.sub(r"\A%%sh\n", "%%sh\nset -e\n", cell.source)  # else only the last command can fail
    client = NotebookClient(
        notebook, timeout=CELL_TIMEOUT_S, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=environment())
    return answers(notebook)


def environment() -> dict[str, str]:
    """The environment of a shell in which this repository is installed, by this Python."""
    paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
    return os.environ | {"PATH": os.pathsep.join(paths), "PYTHONPATH": str(ROOT), "COLUMNS": "160"}


def answers(notebook: Notebook) -> list[Answer]:
    """The blocks of `text` that stand right below cells of code, each with what its cell printed."""
    found = []
    for cell, below in zip(notebook.cells, notebook.cells[1:], strict=False):
        shown = ANSWER.match(below.source)
        if cell.cell_type == "code" and below.cell_type == "markdown" and shown:
            code = cell.source.removeprefix("%%sh\nset -e\n")
            found.append(Answer(code, shown[1], printed(cell)))
    return found


def printed(cell: Notebook) -> str:
    """What a cell that ran printed, and the text of its last value."""
    shown = [output for output in cell.outputs if output.output_type in ("stream", "execute_result")]
    # A stream comes in pieces that may end within a line.
    streams = groupby(shown, key=lambda output: str(output.get("name")))
    texts = ["".join(map(_text, pieces)) for _, pieces in streams]
    lines = [line.rstrip() for text in texts for line in text.strip("\n").splitlines()]
    return "\n".join([*lines, ""])


def _text(output: Notebook) -> str:
    return str(output.text if output.output_type == "stream" else output.data.get("text/plain", ""))


def write_notebooks() -> None:
    """Write the notebook beside every page."""
    for page in PAGES:
        page.with_suffix(".ipynb").write_text(text_of(notebook_of(page)), encoding="utf-8")


def rewrite_answers(page: Path) -> None:
    """Run a page in an empty folder and put what is printed in the place of answers that disagree."""
    with tempfile.TemporaryDirectory() as folder:
        found = run(notebook_of(page), Path(folder))
    done, rest = "", page.read_text(encoding="utf-8")
    for answer in found:
        before, fence, after = rest.partition(f"{answer.cell}\n```\n\n```text\n")
        shown = answer.shown if answer.agrees else answer.printed.replace(folder, HOME)
        done, rest = f"{done}{before}{fence}{shown}", after.removeprefix(answer.shown)
    page.write_text(done + rest, encoding="utf-8")


def main() -> None:
    """Write the notebooks, of pages to run with their answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", nargs="*", type=Path, default=[])
    for page in parser.parse_args().run:
        rewrite_answers(page)
    write_notebooks()


if __name__ == "__main__":
    main()
