"""The pages of the documentation: their blocks of code, commands, links, headings and tables."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

README = Path("README.md")
DOCS = sorted(Path("docs").glob("*.md"))
TUTORIALS = sorted(Path("docs/tutorials").glob("*.md"))  # their code runs as a whole: tests/test_tutorials.py
OTHERS = [Path(name) for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "examples/nightly/README.md")]
PAGES = [README, *OTHERS, *DOCS, *TUTORIALS]
COMMAND = re.compile(r"^(?:\.venv/bin/)?reelmill (?P<arguments>.*)$", flags=re.MULTILINE)


def read(page: Path) -> str:
    """The text of a page."""
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page that name a language, perhaps with attributes of a notebook's cell behind it."""
    return re.findall(rf"^```{language}(?: [^\n]*)?\n(.*?)^```", read(page), flags=re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[list[str]]:
    """The arguments of every `reelmill` command in the shell blocks of a page."""
    shell = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    return [shlex.split(match["arguments"], comments=True) for match in COMMAND.finditer(shell)]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", read(page), flags=re.DOTALL | re.MULTILINE)


def links(page: Path) -> list[str]:
    """The targets of a page's links and pictures, but for other sites."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def table(page: Path, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    below = f"\n{read(page)}".partition(f"\n{heading}\n")[2]
    lines = re.search(r"(?:^\|.*\n)+", below, flags=re.MULTILINE)
    assert lines is not None, f"{page}: no table below {heading}"
    return [[cell.strip() for cell in line.strip("|\n").split("|")] for line in lines[0].splitlines()[2:]]
