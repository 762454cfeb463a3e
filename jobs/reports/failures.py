"""The inputs that stages could not use, by code, with examples and what to do about them."""

from __future__ import annotations

from typing import NamedTuple

from jobs.queries.ask import Ask
from jobs.reports.selection import Selection
from udfs.core.failure_codes import ADVICE
from udfs.storage.uris import redacted

EXAMPLES = 3  # per stage and code
COUNTS = "SELECT stage, code, count(*) AS count FROM {failed} AS failed GROUP BY stage, code"
FIRST = """
SELECT stage, code, video_uri, start_s, message FROM (
  SELECT stage, code, video_uri, start_s, message,
         row_number() OVER (PARTITION BY stage, code ORDER BY failed_at DESC, key) AS place
  FROM {failed} AS failed)
WHERE place <= {examples} ORDER BY stage, code, place
"""


class Example(NamedTuple):
    """An input that failed: the video, the second at which its clip begins, and what was seen."""

    video: str
    start_s: float | None
    message: str


class Failure(NamedTuple):
    """The inputs that a stage could not use for one reason."""

    stage: str
    code: str
    number: int
    meaning: str
    advice: str
    examples: list[Example]


def read(ask: Ask, selection: Selection) -> list[Failure]:
    """The failures of the selection, the most frequent first."""
    examples: dict[tuple[str, str], list[Example]] = {}
    for stage, code, uri, start_s, message in ask(FIRST.format(failed=selection.failed, examples=EXAMPLES)):
        examples.setdefault((stage, code), []).append(Example(redacted(uri or ""), start_s, message or ""))
    counts = sorted(ask(COUNTS.format(failed=selection.failed)), key=lambda row: (-row[2], *row[:2]))
    return [
        Failure(stage, code, count, *ADVICE.get(code, ("", "")), examples.get((stage, code), []))
        for stage, code, count in counts
    ]
