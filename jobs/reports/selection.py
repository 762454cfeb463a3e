"""The part of an output that a report is of: everything, what one run made, or the clips that a query gives."""

from __future__ import annotations

from typing import NamedTuple

from jobs.lake.catalog import literal


class Selection(NamedTuple):
    """SQL that stands for tables and views in the queries of a report, with the rows that it is of."""

    run_id: str | None = None
    query: str | None = None  # gives a column clip_id

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return self.run_id is None and self.query is None

    @property
    def ids(self) -> str:
        """The query's clips, as a query of its own."""
        return f"SELECT clip_id FROM (\n{self.query}\n) AS chosen"

    @property
    def verdicts(self) -> str:
        """The rows of `verdicts`."""
        conditions = [f"cut_run_id = {literal(self.run_id)}"] if self.run_id else []
        conditions += [f"clip_id IN ({self.ids})"] if self.query else []
        return f"(SELECT * FROM verdicts WHERE {' AND '.join(conditions)})" if conditions else "verdicts"

    def of_videos(self, view: str) -> str:
        """The rows of a view that has a row per video, or several."""
        if self.query:
            return f"(SELECT * FROM {view} WHERE video_id IN (SELECT video_id FROM {self.verdicts}))"
        return f"(SELECT * FROM {view} WHERE run_id = {literal(self.run_id)})" if self.run_id else view

    @property
    def failed(self) -> str:
        """The rows of `failed`: of a query's clips and their videos, or of a run."""
        if self.query:
            keys = f"SELECT clip_id FROM {self.verdicts} UNION ALL SELECT video_id FROM {self.verdicts}"
            return f"(SELECT * FROM failed WHERE key IN ({keys}))"
        return f"(SELECT * FROM failed WHERE run_id = {literal(self.run_id)})" if self.run_id else "failed"
