"""The scores of clips, and the gates that compare them with a threshold."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.queries.gate_settings import GateSettings
from jobs.queries.stored_gates import FAILING, comparison
from schemas import TABLES, verdicts
from schemas.custom import score_name
from udfs import filter
from udfs.filter import Threshold
from udfs.similarity.kmeans import ROUNDING, min_cosine

Floats = npt.NDArray[np.float64]

DUPLICATE = "duplicate"  # the reason of clips that are like another one
DISTANCE = "distance"  # the score that `filter.duplicate_eps` is compared with
# What the scores are, in a few words and in one.
ABOUT = {
    "motion_score_global_mean": ("motion of the clip", "motion"),
    "motion_score_per_patch_min_256": ("motion of the stillest patch", "patch motion"),
    "blackness": ("share of black frames", "black"),
    "freeze": ("share of frozen frames", "frozen"),
    "blur": ("sharpness: low is blurred", "sharpness"),
    "picture_share": ("share of the frame inside black bars", "picture"),
    "aesthetic_score": ("aesthetic score", "aesthetic"),
    DISTANCE: ("distance to the clip that it is most like: 1 - similarity", "distance"),
}
NAMES = {"letterbox": "picture_share"}  # of scores whose column is no number
SIMILARITY = "CASE WHEN link_method = 'phash' THEN 2 ELSE similarity END"  # 2: alike at every eps


@dataclass(frozen=True)
class Gate:
    """A comparison of a score with a threshold that a page can move."""

    reason: str
    sign: str  # fails: score, sign, threshold
    threshold: float
    default: float | None
    switch: str | None  # the setting that turns it on; None: it is always on
    on: bool
    set: str  # the value for --set, with {t} in place of the threshold
    passes: str  # SQL of the clips that pass, with {t} in place of the threshold
    missing: str  # the reason of clips without the score where such are dropped; empty: it never drops them


@dataclass(frozen=True)
class Score:
    """A number of each clip: its name, SQL over verdicts, what it is, and the gate that compares it, if any."""

    name: str
    sql: str
    about: str
    short: str
    gate: Gate | None = None

    @property
    def rounds_up(self) -> bool:
        """Whether the score is rounded up to the numbers that a threshold can have, so that comparisons stay exact."""
        return self.gate is not None and self.gate.sign in (">", "<=")

    def keys(self, thresholds: Floats) -> Floats:
        """The numbers that `compared` values are compared with at these thresholds, in ascending order."""
        return -np.array([min_cosine(eps) for eps in thresholds]) if self.name == DISTANCE else thresholds

    def compared(self, values: Floats) -> Floats:
        """The values of the SQL in the order of the thresholds."""
        return -values if self.name == DISTANCE else values

    def thresholds(self, values: Floats) -> Floats:
        """The values of the SQL as thresholds."""
        return np.maximum(1 - values, 0) if self.name == DISTANCE else values


def scores(settings: GateSettings) -> list[Score]:
    """Every score that clips may have, in the order in which gates list their reasons."""
    aesthetic = f"aesthetic_score_{settings.filter.aesthetic_reduction}"
    built_in = [_of_threshold(threshold, threshold.value, settings) for threshold in filter.OF_SIGNALS]
    built_in.append(_of_threshold(filter.AESTHETIC, aesthetic, settings))
    return [*built_in, *_own(settings), _distance(settings)]


def _of_threshold(of: Threshold, sql: str, settings: GateSettings) -> Score:
    params, name = settings.filter, NAMES.get(of.score, of.score)
    gate = Gate(
        reason=of.reason,
        sign=of.sign,
        threshold=getattr(params, of.setting),
        default=getattr(filter.Params(), of.setting),
        switch=f"filter.{of.switch}",
        on=getattr(params, of.switch),
        set=f"filter.{of.setting}={{t}}",
        passes=_passes(f"{sql} {of.sign} {{t}}D", params),
        missing=f"{of.score}_missing",
    )
    return Score(name, sql, *ABOUT[name], gate)


def _passes(fails: str, params: filter.Params) -> str:
    """SQL of the clips that do not fail; `unscored` says what NULL is."""
    return f"coalesce(NOT ({fails}), {'false' if params.unscored == 'drop' else 'true'})"


def _own(settings: GateSettings) -> Iterator[Score]:
    """The numbers that stages of the user's own gave clips."""
    numbers = (pa.float32(), pa.float64(), pa.int32(), pa.int64())
    gates = dict(_own_gates(settings))
    for field in TABLES["verdicts"].schema:
        if field.name not in verdicts.TABLE.schema.names and field.type in numbers:
            about = field.metadata[b"comment"].decode()
            yield Score(field.name, f"CAST({field.name} AS double)", about, field.name, gates.get(field.name))


def _own_gates(settings: GateSettings) -> Iterator[tuple[str, Gate]]:
    """The gates of the user's own stages that compare one column with a number, each with its score's name."""
    for stage, section in settings.custom.items():
        if (compared := comparison(section.get("gate") or "")) is None:
            continue
        column, passing, number = compared
        name, sign = score_name(stage, column), FAILING[passing]
        gate = Gate(
            reason=stage,
            sign=sign,
            threshold=number,
            default=None,
            switch=None,
            on=True,
            set=shlex.quote(f"custom.{stage}.gate={column} {passing} {{t}}"),
            passes=_passes(f"{name} {sign} {{t}}D", settings.filter),
            missing=f"{name}_missing",
        )
        yield name, gate


def _distance(settings: GateSettings) -> Score:
    """How far a clip is from the one that dedup linked it to: the least `filter.duplicate_eps` that drops it."""
    params = settings.filter
    alike = f"link_method = 'phash' OR similarity >= 1 - {{t}}D - {ROUNDING!r}D"
    gate = Gate(
        reason=DUPLICATE,
        sign="<=",
        threshold=params.duplicate_eps,
        default=filter.Params().duplicate_eps,
        switch="filter.duplicates",
        on=params.duplicates,
        set="filter.duplicate_eps={t}",
        passes=f"NOT coalesce({alike}, false)",
        missing="",
    )
    return Score(DISTANCE, SIMILARITY, *ABOUT[DISTANCE], gate)
