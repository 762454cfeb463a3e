"""A finished output: its tables, views, clips and videos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, TypeVar

from jobs.api import videos
from jobs.api.output import Output
from jobs.api.relation import Clips, Relation
from jobs.api.videos import Video
from jobs.config.errors import UsageError
from jobs.lake.catalog import quoted
from jobs.queries import failures, histogram, scores, status, why
from jobs.queries.reader import Reader
from jobs.queries.why import Story
from schemas import knowing
from udfs.core.terminal import MAX_COLUMNS

CLIPS = """
SELECT * FROM (
  SELECT verdicts.*, clip_origins.preview
  FROM verdicts JOIN clip_origins ON clip_origins.clip_id = verdicts.clip_id
) WHERE ({where}
) ORDER BY video_uri, start_s, clip_id"""


T = TypeVar("T")


class Report(dict[str, Any]):
    """What a question gives, by subject; its text is for people."""

    def __init__(self, found: Mapping[str, Any], lines: Callable[[int], Iterable[str]]) -> None:
        super().__init__(found)
        self._lines = lines

    def __repr__(self) -> str:
        return "\n".join(self._lines(MAX_COLUMNS))


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

    def why(self, what: str) -> Story:
        """The whole story of a clip, a video or an address, by an id, the beginning of one, or an address.

        Raises:
            UsageError: nothing is known of it, or it may mean several.
        """
        return self._answer(lambda output: why.story(output.rows, what))

    def failures(self, code: str | None = None, *, stage: str | None = None, examples: int = 3) -> Report:
        """What could not be used, by code, with the newest examples of each, cause and remedy."""
        found = self._answer(lambda output: failures.summary(output, code, stage, examples))
        return Report(found, lambda width: failures.summary_lines(self._reader, found, width, code, stage))

    def scores(self, *names: str, settings: Mapping[str, Any] | None = None) -> Report:
        """The distributions of scores, by the beginnings of their names, and what each gate would drop.

        `settings` of [filter], such as {"motion_global_mean_threshold": 0.002}, count in place of
        those of the last run.

        Raises:
            UsageError: there is no such score.
        """
        found = self._answer(lambda output: scores.summary(output, settings or {}, names))
        return Report(found, lambda width: scores.lines(found, width, histogram.BLOCKS))

    def status(self) -> Report:
        """What is there, what a run at work is doing, and what is pending by the settings of the last run."""

        def summary(output: Reader) -> dict[str, Any]:
            from jobs.queries import delta_source  # of the extra `sql`, as what answers

            return status.summary(output, None, delta_source.versions(output.output, output.sources))

        found = self._answer(summary)
        return Report(found, lambda width: status.lines(self._reader, found, width))

    @property
    def _reader(self) -> Reader:
        path, sources = self._output.path, self._output.quick_settings.sources
        return Reader(path, path, sources, self._output.reduction, self._output.rows)

    def _answer(self, question: Callable[[Reader], T]) -> T:
        """The answer to a question, for which every table is known."""
        with knowing(self._output.custom_tables):
            return question(self._reader)

    def videos(self, where: str = "true") -> Iterator[Video]:
        """The videos with their clips, one after the other, ordered by address.

        `where` is a condition on the columns of `current_videos`. Rows are read as the iterator goes
        on, and media files when they are asked for.
        """
        return videos.read(self._output, where or "true")
