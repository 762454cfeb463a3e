"""A finished output: its tables, views, clips and videos."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from jobs.api import videos
from jobs.api.output import Output
from jobs.api.relation import Clips, Relation
from jobs.api.videos import Video
from jobs.config.errors import UsageError
from jobs.lake.catalog import quoted
from jobs.queries import why
from jobs.queries.why import Story

CLIPS = """
SELECT * FROM (
  SELECT verdicts.*, clip_origins.preview
  FROM verdicts JOIN clip_origins ON clip_origins.clip_id = verdicts.clip_id
) WHERE ({where}
) ORDER BY video_uri, start_s, clip_id"""


class Library:
    """A finished output as Python objects. Nothing is read until it is asked for, and nothing is ever written."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def __repr__(self) -> str:
        return f"<Library {self._output.path}>"

    @cached_property
    def tables(self) -> list[str]:
        """The names of all tables and views."""
        return [str(name) for _, name, *_ in self._output.answer(self._output.parse("SHOW TABLES")).rows]

    def table(self, name: str) -> Relation:
        """A table or view.

        Raises:
            UsageError: there is none of this name; it names the nearest.
        """
        return Relation(self._output, f"SELECT * FROM {quoted(name)}")

    def sql(self, query: str) -> Relation:
        """The answer to a query in Spark's SQL over the tables and views."""
        return Relation(self._output, query)

    def clips(self, where: str = "true", limit: int | None = None) -> Clips:
        """Clips, kept and dropped, by video and time, with every score: the columns of `verdicts`, and a preview.

        `where` is a condition on them, such as "kept AND motion_score_global_mean > 0.002".
        """
        if limit is not None and limit < 0:
            raise UsageError(f"clips: limit is {limit}, and must be 0 or more")
        query = CLIPS.format(where=where or "true")
        return Clips(self._output, query if limit is None else f"{query} LIMIT {limit:d}")

    def search(self, text: str | None = None, *, clip: str | None = None, top: int = 10) -> Clips:
        """The kept clips most like a text or a clip, with their cosine as `similarity`.

        A text needs the model of the embeddings on this machine; no Spark is started.

        Raises:
            UsageError: the model is missing or has no text side, or there is no such clip.
        """
        from jobs.api import search  # with the code of all stages, which takes more than a second

        return Clips(self._output, search.query(self._output, text, clip, top))

    def why(self, clip_id: str) -> Story:
        """The whole story of a clip by its id, or by the beginning of it.

        Raises:
            UsageError: there is no such clip, or there are several.
        """
        return why.story(self._output.rows, clip_id)

    def videos(self, where: str = "true") -> Iterator[Video]:
        """The videos with their clips, one after the other, ordered by address.

        `where` is a condition on the columns of `current_videos`. Rows are read as the iterator goes
        on, and media files when they are asked for.
        """
        return videos.read(self._output, where or "true")
