"""The videos that cost most to split, cut and measure in a run."""

from __future__ import annotations

from typing import NamedTuple

from jobs.lake.catalog import literal
from jobs.queries.ask import Ask
from udfs.storage.uris import redacted

SHOWN = 10
QUERY = """
SELECT videos.uri, videos.duration_s, costs.split_s, costs.clip_s, costs.analyze_s
FROM (
  SELECT video_id, sum(split_s) AS split_s, sum(clip_s) AS clip_s, sum(analyze_s) AS analyze_s FROM (
    SELECT video_id, cpu_s AS split_s, 0.0D AS clip_s, 0.0D AS analyze_s FROM spans WHERE run_id = {run}
    UNION ALL SELECT video_id, 0.0D, cpu_s, 0.0D FROM clips WHERE run_id = {run}
    UNION ALL SELECT files.video_id, 0.0D, 0.0D, signals.cpu_s FROM signals
      JOIN (SELECT DISTINCT clip_id, video_id FROM clips) AS files ON files.clip_id = signals.clip_id
      WHERE signals.run_id = {run})
  GROUP BY video_id) AS costs
JOIN videos ON videos.video_id = costs.video_id
WHERE coalesce(costs.split_s, 0) + coalesce(costs.clip_s, 0) + coalesce(costs.analyze_s, 0) > 0
ORDER BY coalesce(costs.split_s, 0) + coalesce(costs.clip_s, 0) + coalesce(costs.analyze_s, 0) DESC, videos.uri
LIMIT {shown}
"""


class Video(NamedTuple):
    """A video and the CPU seconds that each stage took for it."""

    uri: str
    duration_s: float | None
    split_s: float | None
    clip_s: float | None
    analyze_s: float | None

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all stages."""
        return sum(seconds or 0.0 for seconds in (self.split_s, self.clip_s, self.analyze_s))

    @property
    def per_second(self) -> float | None:
        """CPU seconds per second of video."""
        return self.cpu_s / self.duration_s if self.duration_s else None


def read(ask: Ask, run_id: str) -> list[Video]:
    """The videos that took most CPU seconds in a run, the slowest first."""
    rows = ask(QUERY.format(run=literal(run_id), shown=SHOWN))
    return [Video(redacted(uri or ""), *numbers) for uri, *numbers in rows]
