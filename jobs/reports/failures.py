"""The inputs that stages could not use, by code, with examples and what to do about them."""

from __future__ import annotations

from typing import NamedTuple

from jobs.queries.ask import Ask
from jobs.reports.selection import Selection
from udfs.core.failure_codes import ADVICE
from udfs.storage.uris import redacted

EXAMPLES = 3  # per stage and code
FIRST = """
SELECT stage, code, video_uri, start_s, message, number FROM (
  SELECT stage, code, video_uri, start_s, message, count(*) OVER (PARTITION BY stage, code) AS number,
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
    examples: dict[tuple[str, str, int], list[Example]] = {}
    for *kind, uri, start_s, message, number in ask(FIRST.format(failed=selection.failed, examples=EXAMPLES)):
        examples.setdefault((*kind, number), []).append(Example(redacted(uri or ""), start_s, message or ""))
    return [
        Failure(stage, code, number, *ADVICE.get(code, ("", "")), found)
        for (stage, code, number), found in sorted(examples.items(), key=lambda item: (-item[0][2], *item[0][:2]))
    ]
