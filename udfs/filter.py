"""filter: scores of a clip -> SQL that names every gate it fails; the only place with thresholds."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from udfs.similarity.kmeans import min_cosine


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[filter]: a gate is off until it is turned on; its threshold stands ready with the published value."""

    unscored: Annotated[Literal["keep", "drop"], Field(description="clips without the score a gate needs")] = "keep"
    where: Annotated[
        str, Field(min_length=1, description="SQL condition on c, the clip, and v, its video: NOT v.is_hdr AND c.width >= 640")
    ] = "true"
    duplicates: Annotated[bool, Field(description="drop clips that another one stands for")] = True
    duplicate_eps: Annotated[float, Field(ge=0, le=2, description="duplicates by vectors have a cosine of at least 1 - eps")] = (
        0.1
    )
    motion: Annotated[bool, Field(description="drop clips that hardly move")] = False
    motion_global_mean_threshold: Annotated[float, Field(ge=0)] = 0.00098
    motion_per_patch_min_256_threshold: Annotated[float, Field(ge=0)] = 0.000001
    aesthetic: Annotated[bool, Field(description="drop clips of low aesthetic score")] = False
    aesthetic_reduction: Annotated[Literal["min", "mean"], Field(description="of the frames' scores to the clip's")] = "min"
    aesthetic_threshold: Annotated[float, Field(ge=0, le=10)] = 3.5
    black: Annotated[bool, Field(description="drop clips that are mostly black")] = False
    blackness_threshold: Annotated[float, Field(ge=0, le=1, description="share of frames")] = 0.5
    frozen: Annotated[bool, Field(description="drop clips that mostly stand still")] = False
    freeze_threshold: Annotated[float, Field(ge=0, le=1, description="share of frames")] = 0.9
    blurred: Annotated[bool, Field(description="drop clips without detail")] = False
    blur_threshold: Annotated[float, Field(ge=0, description="variance of the Laplacian")] = 20.0
    letterboxed: Annotated[bool, Field(description="drop clips with wide black bars")] = False
    picture_share_threshold: Annotated[float, Field(ge=0, le=1, description="picture inside the bars, of the frame")] = 0.7


class Gate(NamedTuple):
    """A reason code, the column whose absence makes a clip unscored, and the condition that fails it."""

    reason: str
    score: str
    fails: str


def signal_gates(params: Params) -> list[Gate]:
    """The gates that are on and need only `signals`: what dear stages may ask before they start."""
    p = params
    share = "(letterbox[2] * letterbox[3]) / (width * height)"
    every = [
        (p.motion, "motion_global_mean_low", "motion_score_global_mean", "{} < " + _number(p.motion_global_mean_threshold)),
        (
            p.motion,
            "motion_patch_min_low",
            "motion_score_per_patch_min_256",
            "{} < " + _number(p.motion_per_patch_min_256_threshold),
        ),
        (p.black, "black", "blackness", "{} > " + _number(p.blackness_threshold)),
        (p.frozen, "frozen", "freeze", "{} > " + _number(p.freeze_threshold)),
        (p.blurred, "blurred", "blur", "{} < " + _number(p.blur_threshold)),
        (p.letterboxed, "letterboxed", "letterbox", share + " < " + _number(p.picture_share_threshold)),
    ]
    return [Gate(reason, score, fails.format(score)) for on, reason, score, fails in every if on]


def gates(params: Params) -> list[Gate]:
    """All gates that are on, in the order in which their reasons are listed."""
    return [*signal_gates(params), *(gate for gate in (aesthetic_gate(params), where_gate(params)) if gate)]


def where_gate(params: Params) -> Gate | None:
    """The gate of the setting `where`, by the column `accepted`; None for the default, which accepts all."""
    return None if params.where == "true" else Gate("where", "accepted", "NOT accepted")


def aesthetic_gate(params: Params) -> Gate | None:
    """The gate that asks for a model's score, if it is on."""
    if not params.aesthetic:
        return None
    return Gate("aesthetic_low", "aesthetic_score", f"aesthetic_score < {_number(params.aesthetic_threshold)}")


def reasons_sql(gates: list[Gate], params: Params) -> str:
    """A SQL expression: the array of reason codes of a row that has the gates' columns."""
    cases = [f"CASE WHEN {g.fails} THEN '{g.reason}' END" for g in gates]
    if params.unscored == "drop":
        cases += [f"CASE WHEN {g.score} IS NULL THEN '{g.score}_missing' END" for g in gates]
    if params.duplicates:
        cases.append("CASE WHEN duplicate_of IS NOT NULL THEN 'duplicate' END")  # by duplicate_sql
    return f"filter(array({', '.join(cases)}), reason -> reason IS NOT NULL)" if cases else "cast(array() AS array<string>)"


def duplicate_sql(params: Params) -> str:
    """A SQL expression: whether a row of `duplicates` is one."""
    return f"duplicate_of IS NOT NULL AND (method = 'phash' OR similarity >= {_number(min_cosine(params.duplicate_eps))})"


def _number(value: float) -> str:
    return f"{value!r}D"
