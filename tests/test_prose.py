"""Plain English: words and phrases that must not come back, in code, messages, README and docs."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import docs

THING = "(clip|video|row|stage|task|window|run|file|frame|cluster|host|worker|model|batch|cell|part|commit|job)"
COUNTED = "(row|line|folder|task|score|vector|description|rendition|file|core|GPU|commit|column|caption|span|hash)s?"
# What must not be written, and what to write instead.
BANNED = {
    rf"\b{COUNTED} an? {THING}\b": "per",
    r"\bwhom\b": "who, or another sentence",
    r"\banew\b": "again",
    r"\bno more\b(?! (than|\w+s\b))": "no longer",
    r"\b(is|are|be|was|were) told\b|\btold (of|by)\b": "name who says it",
    r"\bthe dear\b|\bdear (stage|part|work)": "costly",
    r"\b(the )?younger\b": "later",
    r"\bnobody\b": "no one, or what is missing",
    r"\belders?\b": "earlier, representative",
    r"\bladder\b": "levels",
    r"\bshel(f|ves)\b": "level, cluster",
    r"\bvisitors?\b": "probe",
    r"\bnewcomers?\b": "new clips",
    r"\bdoomed\b": "what it is",
    r"\bamong its like\b": "among similar clips",
    r"(?<![-`\"])\bnights\b(?!\")": "runs, dedup runs",
    r"\bcolours?\b": "color",
    r"\bneighbour": "neighbor",
    r"\bcentres?\b": "center",
    r"\bbehaviour": "behavior",
    r"\bnormalis": "normaliz-",
    r"\blicence": "license",
}
PATTERNS = {re.compile(pattern, re.IGNORECASE): instead for pattern, instead in BANNED.items()}
GENERATED = ("docs/settings.md", "docs/tables.md")  # their words are those of the packages
SELF = Path("tests/test_prose.py")
PROMPTS = Path("udfs/captioning/prompts.py")  # other words there would change what models answer
TEXTS = (".md", ".toml", ".sh", ".conf", ".yml", ".yaml", ".txt")
FILES = [
    path
    for folder in ("jobs", "udfs", "conf", "tests", "docs")
    for path in sorted(Path(folder).rglob("*"))
    if path.suffix in (".py", *TEXTS)
] + [Path(name) for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "llms.txt", "reelmill.py")]
CHECKED = [path for path in FILES if str(path) not in GENERATED and path not in (SELF, PROMPTS)]


def faults(lines: Iterator[tuple[int, str]], name: str) -> list[str]:
    """`file:line: word (instead)` for every banned word in numbered lines."""
    return [
        f"{name}:{number}: {match[0]} (write: {instead})"
        for number, line in lines
        for pattern, instead in PATTERNS.items()
        for match in pattern.finditer(line)
    ]


def written(path: Path) -> Iterator[tuple[int, str]]:
    """The numbered lines of a text; of Python its comments and strings, of the changelog what is newer than 0.1.0."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return python_prose(text)
    if path.name == "CHANGELOG.md":
        text = text.partition("\n## [0.1.0]")[0]
    if path.name == "README.md":
        text = text.replace(docs.jobs_table(), "")  # the words of `--help`
    return iter(enumerate(text.splitlines(), 1))


def python_prose(text: str) -> Iterator[tuple[int, str]]:
    """The numbered lines of comments and strings in Python."""
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in kinds:
            text = re.sub(r"\{[^}]*\}", "", token.string) if token.string[0] in "fF" else token.string
            yield from enumerate(text.splitlines(), token.start[0])


@pytest.mark.parametrize("path", CHECKED, ids=str)
def test_the_words_are_plain(path: Path) -> None:
    assert (found := faults(written(path), str(path))) == [], "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "one row a clip",
        "the clip for whom it stands",
        "found anew",
        "rows that count no more",
        "what the task is told",
        "Nobody reads it",
        "the elder of both",
        "three nights of dedup",
        "jumps of colour",
        "the cluster's centre",
    ],
)
def test_a_banned_word_is_found_with_its_place(line: str) -> None:
    [fault] = faults(iter([(7, line)]), "a.md")
    assert fault.startswith("a.md:7: ")


@pytest.mark.parametrize(
    "line", ["one row per clip", "a nightly run", "make test-nights", "color", "centered", "12 frames a second"]
)
def test_plain_words_pass(line: str) -> None:
    assert faults(iter([(1, line)]), "a.md") == []


def test_of_python_only_comments_and_strings_are_read() -> None:
    text = 'centre = 1  # the center\n"""A row\na clip."""\nname = f"{centre} of colour"\n'
    assert [number for number, _ in python_prose(text)] == [1, 2, 3, 4]
    assert faults(python_prose(text), "a.py")[-1].startswith("a.py:4: colour")
