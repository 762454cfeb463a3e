"""filter: thresholds for the scores of clips, as SQL that names every gate that a clip fails.

Scores are stored without a verdict; thresholds are applied only here.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.similarity.kmeans import min_cosine


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[filter]: gates, all off but `where` and `duplicates`, and their thresholds, as published."""

    unscored: Annotated[
        Literal["keep", "drop"],
        Field(description="what to do with clips that lack the score of a gate"),
    ] = "keep"
    where: Annotated[
        str,
        Field(min_length=1, description="SQL on c (clip), v (its video), l (labels): NOT v.is_hdr AND c.width >= 640"),
    ] = "true"
    duplicates: Annotated[bool, Field(description="drop clips that are duplicates of another one")] = True
    duplicate_eps: Annotated[
        float,
        Field(ge=0, le=2, description="the vectors of duplicates have a cosine of at least 1 - eps"),
    ] = 0.1
    motion: Annotated[bool, Field(description="drop clips that hardly move")] = False
    motion_global_mean_threshold: Annotated[
        float,
        Field(ge=0, allow_inf_nan=False, description="least mean length of the optical flow, over width + height"),
    ] = 0.00098
    motion_per_patch_min_256_threshold: Annotated[
        float,
        Field(ge=0, allow_inf_nan=False, description="the same, of every patch of 256 x 256 pixels"),
    ] = 0.000001
    aesthetic: Annotated[bool, Field(description="drop clips of low aesthetic score")] = False
    aesthetic_reduction: Annotated[
        Literal["min", "mean"],
        Field(description="how the frames' scores become the clip's"),
    ] = "min"
    aesthetic_threshold: Annotated[float, Field(ge=0, le=10, description="least score")] = 3.5
    black: Annotated[bool, Field(description="drop clips that are mostly black")] = False
    blackness_threshold: Annotated[float, Field(ge=0, le=1, description="largest share of black frames")] = 0.5
    frozen: Annotated[bool, Field(description="drop clips that are mostly still")] = False
    freeze_threshold: Annotated[float, Field(ge=0, le=1, description="largest share of frozen frames")] = 0.9
    blurred: Annotated[bool, Field(description="drop clips without detail")] = False
    blur_threshold: Annotated[
        float, Field(ge=0, allow_inf_nan=False, description="least variance of the Laplacian")
    ] = 20.0
    letterboxed: Annotated[bool, Field(description="drop clips with wide black bars")] = False
    picture_share_threshold: Annotated[
        float,
        Field(ge=0, le=1, description="least share of the frame inside the bars"),
    ] = 0.7


class Gate(NamedTuple):
    """A reason code, the column of the score (NULL: unscored), and the condition to fail."""

    reason: str
    score: str
    fails: str


class Threshold(NamedTuple):
    """A score that [filter] compares with a threshold: its gate's reason and settings, and which side fails."""

    reason: str
    score: str  # column of verdicts; NULL: unscored
    switch: str  # the setting that turns the gate on
    setting: str  # the setting with the threshold
    sign: str  # fails: value, sign, threshold
    share: str | None = None  # SQL of the value where it is not the score itself

    @property
    def value(self) -> str:
        """SQL of the number that is compared."""
        return self.share or self.score

    def gate(self, params: Params) -> Gate:
        """The gate by these settings, whether it is on or not."""
        return Gate(self.reason, self.score, f"{self.value} {self.sign} {_number(getattr(params, self.setting))}")


OF_SIGNALS = (
    Threshold("motion_global_mean_low", "motion_score_global_mean", "motion", "motion_global_mean_threshold", "<"),
    Threshold(
        "motion_patch_min_low", "motion_score_per_patch_min_256", "motion", "motion_per_patch_min_256_threshold", "<"
    ),
    Threshold("black", "blackness", "black", "blackness_threshold", ">"),
    Threshold("frozen", "freeze", "frozen", "freeze_threshold", ">"),
    Threshold("blurred", "blur", "blurred", "blur_threshold", "<"),
    Threshold(
        *("letterboxed", "letterbox", "letterboxed", "picture_share_threshold", "<"),
        share="(letterbox[2] * letterbox[3]) / (width * height)",
    ),
)
AESTHETIC = Threshold("aesthetic_low", "aesthetic_score", "aesthetic", "aesthetic_threshold", "<")
DUPLICATE = "duplicate"  # a reason code
NONE = "cast(array() AS array<string>)"  # no reasons


def signal_gates(params: Params) -> list[Gate]:
    """The gates that are on and need only `signals`: expensive stages start with these."""
    return [threshold.gate(params) for threshold in OF_SIGNALS if getattr(params, threshold.switch)]


def gates(params: Params) -> list[Gate]:
    """All gates that are on, in the order in which their reasons are listed."""
    return [*signal_gates(params), *(gate for gate in (aesthetic_gate(params), where_gate(params)) if gate)]


def where_gate(params: Params) -> Gate | None:
    """The gate of the setting `where`, on the column `accepted`; None for the default."""
    return None if params.where == "true" else Gate("where", "accepted", "NOT accepted")


def aesthetic_gate(params: Params) -> Gate | None:
    """The gate of the aesthetic score, if it is on."""
    return AESTHETIC.gate(params) if params.aesthetic else None


def reasons_sql(gates: list[Gate], params: Params) -> str:
    """A SQL expression: the reason codes (array) of a row with `duplicate_of`, `link_method` and the scores."""
    cases = [_if(g.fails, g.reason) for g in gates]
    if params.unscored == "drop":
        cases += [_if(_missing_sql(g, params), f"{g.score}_missing") for g in gates]
    if params.duplicates:
        cases.append(_if("duplicate_of IS NOT NULL", DUPLICATE))  # only rows of duplicate_sql have one
    return f"concat({', '.join([*cases, NONE])})"  # half of the time of a filter with a lambda


def _if(condition: str, reason: str) -> str:
    return f"CASE WHEN {condition} THEN array('{reason}') ELSE {NONE} END"


def _missing_sql(gate: Gate, params: Params) -> str:
    """A SQL expression: whether a row lacks a score that it should have.

    Models, and functions of the user's own, are not asked about a clip that fails a gate on signals or is a copy by its
    hashes.
    """
    missing, earlier = f"{gate.score} IS NULL", signal_gates(params)
    if gate in earlier:
        return missing
    asked = [f"NOT coalesce({g.fails}, true)" for g in earlier]
    if params.duplicates:
        asked.append("NOT (duplicate_of IS NOT NULL AND link_method <=> 'phash')")
    return " AND ".join([missing, *asked])


def duplicate_sql(params: Params) -> str:
    """A SQL expression: whether a row of the table `duplicates` is a duplicate."""
    return f"duplicate_of IS NOT NULL AND (method = 'phash' OR similarity >= {least_similarity(params)})"


def least_similarity(params: Params) -> str:
    """The least cosine of duplicates, as a number of SQL."""
    return _number(min_cosine(params.duplicate_eps))


def _number(value: float) -> str:
    return f"{value!r}D"
