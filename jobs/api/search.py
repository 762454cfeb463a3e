"""The clips nearest to a text or a clip, as a query that shows them."""

from __future__ import annotations

from jobs.api.output import Output
from jobs.config.errors import UsageError
from jobs.lake.catalog import literal
from jobs.queries import nearest

HITS = """
SELECT hits.similarity, verdicts.clip_id, verdicts.video_uri, verdicts.start_s, verdicts.end_s, verdicts.caption,
       clip_origins.preview
FROM (VALUES {hits}) AS hits (clip_id, similarity)
JOIN verdicts ON verdicts.clip_id = hits.clip_id
JOIN clip_origins ON clip_origins.clip_id = hits.clip_id
ORDER BY hits.similarity DESC, verdicts.clip_id
"""


def query(output: Output, text: str | None, clip: str | None, top: int) -> str:
    """The query that gives the nearest clips, the nearest first.

    Raises:
        UsageError: as the job `search`, and if no other clip is kept.
    """
    if top < 1:
        raise UsageError(f"search: top is {top}, and must be 1 or more")
    if (text is None) == (clip is None):
        raise UsageError("search: give --text or --clip, one of both")
    hits = nearest.hits(
        *(output.rows, lambda query: output.duckdb(output.parse(query)), output.path, output.settings),
        text=text,
        clip=clip,
        top=top,
    )
    return HITS.format(hits=", ".join(f"({literal(clip_id)}, CAST({cosine!r} AS DOUBLE))" for cosine, clip_id in hits))
