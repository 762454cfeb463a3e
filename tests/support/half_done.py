"""An output of random rows in which every stage is done for some inputs, failed for some, and pending for others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jobs.config.settings import Settings
from jobs.lake.fingerprints import fingerprint
from tests.support import small_output

REST = "3"  # a run that left nothing to do
LAST = "5"  # the run after those that ingested the videos
OLD = "of earlier settings"
CODES = ("CORRUPT", "UNREACHABLE", "TIMEOUT", "BUG")
CLIPS_PER_VIDEO = 4
Rows = list[dict[str, Any]]


def write(output: Path, settings: Settings, seed: int, num_done: int, num_videos: int) -> Path:
    """Write the tables: of the first `num_done` videos everything was done by the run REST, of others some was.

    Of the others some replace an earlier video of their address, which may be one of the first.
    """
    tables = _Tables(settings, np.random.default_rng(seed))
    for number in range(num_videos):
        tables.add_video(number, is_done=number < num_done)
    tables.add_links()
    for name, (stage, rows) in tables.rows.items():
        small_output.fill(output, name, rows, fingerprint(stage, settings))
    small_output.fill(output, "failures", [*tables.failures.values()], "")
    return output


class _Tables:
    """Rows by table, as they are thrown."""

    def __init__(self, settings: Settings, dice: np.random.Generator) -> None:
        self.settings, self.dice = settings, dice
        [self.again] = dice.spawn(1)  # for what failed once
        stages = {
            "videos": "ingest",
            "spans": "split",
            "clips": "clip",
            "signals": "analyze",
            "copies": "copies",
            "aesthetics": "aesthetic",
            "embeddings": "embed",
            "duplicates": "dedup",
            "centroids": "dedup",
            "verdicts": "filter",
            "captions": "caption",
            "enhanced": "enhance",
            "alignments": "align",
        }
        self.rows: dict[str, tuple[str, Rows]] = {name: (stage, []) for name, stage in stages.items()}
        self.failures: dict[tuple[str, ...], dict[str, Any]] = {}  # one per input, stage and run
        self.clips: list[str] = []

    def add_video(self, number: int, *, is_done: bool) -> None:
        """Add a video with its clips."""
        run = REST if is_done else f"4-{number:03}"  # later than that of a video which it may replace
        replaces = not is_done and self._is(0.2)
        uri = f"/v/{self.dice.integers(0, number)}.mp4" if replaces else f"/v/{number}.mp4"
        video = f"v{number}"
        self._put("videos", {"video_id": video, "uri": uri, "duration_s": 40.0, "source_version": "1"}, run)
        if not is_done and self._fails("split", video, run, 0.15):
            return
        for place in range(CLIPS_PER_VIDEO):
            self._add_clip(f"{video}-{place}", video, place, run, is_done=is_done)

    def _add_clip(self, clip: str, video: str, place: int, run: str, *, is_done: bool) -> None:
        facts = {"clip_id": clip, "video_id": video}
        if not is_done and not self._is(0.9):
            return
        self._put("spans", facts | {"start_s": 10.0 * place, "end_s": 10.0 * place + 9.5}, run)
        self.clips.append(clip)
        size = {"width": 64, "height": 48, "duration_s": 9.0, "uri": f"/out/{clip}.mp4"}
        if not self._next("clip", "clips", clip, facts | size, run, is_done=is_done):
            return
        motion = None if self._is(0.2) else float(self.dice.choice([0.0001, 0.5]))
        scores: dict[str, Any] = {"motion_score_global_mean": motion, "motion_score_per_patch_min_256": motion}
        scores |= {"letterbox": [0, 0, 64, int(self.dice.choice([20, 48]))], "blackness": float(self.dice.random())}
        if not self._next("analyze", "signals", clip, {"clip_id": clip} | scores, run, is_done=is_done):
            return
        copy_of = str(self.dice.choice(self.clips)) if self._is(0.3) and not is_done else None
        copy_of = None if copy_of == clip else copy_of
        self._next(
            "copies", "copies", clip, {"clip_id": clip, "copy_of": copy_of, "distance": 1.0}, run, is_done=is_done
        )
        score = {"model": "m", "score_min": float(self.dice.choice([2.0, 5.0]))}
        self._next("aesthetic", "aesthetics", clip, {"clip_id": clip} | score, run, is_done=is_done)
        vector = {"model": self.settings.embed.model, "dim": 2, "vector": [0.6, 0.8]}
        self._next("embed", "embeddings", clip, {"clip_id": clip} | vector, run, is_done=is_done)
        verdict = facts | {"kept": is_done or self._is(0.7), "reasons": []}
        self._next("filter", "verdicts", clip, verdict, run, is_done=is_done)
        for start in (0, 30):
            window = {"clip_id": clip, "start_frame": start, "model": "m", "prompt": "p"}
            self._next("caption", "captions", clip, window, run, is_done=is_done)
            self._next("enhance", "enhanced", clip, window, run, is_done=is_done)
            self._next("align", "alignments", clip, window, run, is_done=is_done)

    def add_links(self) -> None:
        """Add links of dedup, some of an older version of the centers, and the centers."""
        for version in (1, 2):
            center = {"model": self.settings.embed.model, "version": version, "cluster_id": 0, "vector": [1.0, 0.0]}
            self._put("centroids", center, REST)
        for clip in self.clips:
            run = next(row["run_id"] for row in self.rows["spans"][1] if row["clip_id"] == clip)
            link = {"clip_id": clip, "method": "semantic", "duplicate_of": None, "version": 2, "dedup_run": 1}
            if run == REST:
                self._put("duplicates", link, run)
            elif self._is(0.6):
                other = str(self.dice.choice([name for name in self.clips if name != clip]))
                found = {"method": str(self.dice.choice(["semantic", "phash"])), "duplicate_of": other}
                self._put("duplicates", link | found | {"version": int(self.dice.choice([1, 2]))}, run)

    def _next(self, stage: str, table: str, clip: str, row: dict[str, Any], run: str, *, is_done: bool) -> bool:
        """Whether a clip gets a row of a stage; else it may fail, and it may have one of earlier settings."""
        if is_done or self._is(0.75):
            self._put(table, row, run)
            return True
        self._fails(stage, clip, run, 0.5)
        if self._is(0.3):
            self._put(table, row | {"fingerprint": OLD}, run)
        return False

    def _fails(self, stage: str, key: str, run: str, share: float) -> bool:
        """Whether an input fails, by these settings or earlier ones, in its run or before its video was ingested.

        It may fail in the last run, too.
        """
        if not self._is(share):
            return False
        made_by = OLD if self._is(0.2) else fingerprint(stage, self.settings)
        when = "2" if self._is(0.2) else run
        found = [(when, str(self.dice.choice(CODES)))]
        if self.again.random() < 0.4:
            found.append((LAST, str(self.again.choice(CODES))))
        for run_id, code in found:
            row = {"stage": stage, "key": key, "code": code, "fingerprint": made_by, "run_id": run_id}
            self.failures.setdefault((stage, key, run_id), row)
        return True

    def _put(self, table: str, row: dict[str, Any], run: str) -> None:
        self.rows[table][1].append(row | {"run_id": run})

    def _is(self, share: float) -> bool:
        return bool(self.dice.random() < share)
