"""custom: score clips by a function of the user's own, from their frames, their files or their rows."""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from schemas.custom import KEY, declared
from schemas.table import Table
from udfs.core import user_code
from udfs.core.errors import MediaError
from udfs.core.task_resources import EFFORT, Resources
from udfs.core.user_code import FunctionName
from udfs.frames import extract
from udfs.frames.extract import Pictures
from udfs.models import user_models
from udfs.runtime import batching
from udfs.runtime.context import Env, Row
from udfs.runtime.inference import Call, infer
from udfs.runtime.sandbox import Needs
from udfs.storage import access
from udfs.storage.remote_file import RemotePath, open_path

MAX_SHOWN = 80  # characters of an answer in a message
WHOLE = {"int": 2**31 - 1, "bigint": 2**63 - 1}  # the largest whole numbers; the least is one farther from 0
LARGEST = WHOLE | {"float": float(np.finfo(np.float32).max), "double": sys.float_info.max}
REDUCE: dict[str, Callable[..., Any]] = {"mean": fmean, "min": min, "max": max}
COPY_BYTES = 1 << 20  # of a remote file at a time
Input = Literal["frames", "clip", "row"]
INPUTS = {"frames": "frames", "clip": "path", "row": "rows"}  # what a function is called with
Reduction = Literal["mean", "min", "max"]
Type = Literal["float", "double", "int", "bigint", "boolean", "string", "array<float>", "array<string>"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """[custom.NAME]: a stage of your own, which fills a table of its name with one row per clip."""

    function: Annotated[
        FunctionName,
        Field(
            description="module:function from a list of inputs to as many answers; "
            "for a clip without `decode`, from its path to one"
        ),
    ]
    columns: Annotated[
        dict[str, Type],
        Field(min_length=1, description="columns of the table with their types, in the order of an answer's values"),
    ]
    input: Annotated[
        Input, Field(description="frames: RGB pictures of the clip; clip: its file; row: its columns, without media")
    ] = "frames"
    use: Annotated[
        bool,
        Field(json_schema_extra=EFFORT, description="false: without this stage, which an installed package brings"),
    ] = True
    about: Annotated[str, Field(json_schema_extra=EFFORT, description="comment of the table")] = ""
    comments: Annotated[dict[str, str], Field(json_schema_extra=EFFORT, description="comments of columns")] = field(
        default_factory=dict
    )
    checks: Annotated[
        dict[str, str], Field(json_schema_extra=EFFORT, description="SQL conditions by name that every row must meet")
    ] = field(default_factory=dict)
    gate: Annotated[
        str | None,
        Field(min_length=1, json_schema_extra=EFFORT, description="SQL condition on its columns that kept clips meet"),
    ] = None
    load: Annotated[
        FunctionName | None,
        Field(description="module:function from a device to a model: once per worker, the function's second argument"),
    ] = None
    decode: Annotated[
        FunctionName | None,
        Field(description="of a clip: module:function from its path to an input, in the decoding process"),
    ] = None
    reduction: Annotated[Reduction, Field(description="how the answers to a clip's frames become the clip's")] = "mean"
    target_fps: Annotated[float, Field(gt=0, le=60, description="frames per second of video")] = 1.0
    short_side_px: Annotated[int, Field(ge=16, le=4096, description="shorter side of a frame, in pixels")] = 224
    batch_size: Annotated[
        int, Field(ge=1, le=4096, json_schema_extra=EFFORT, description="inputs per call, of whatever clips")
    ] = 32
    resources: Annotated[Resources, Field(json_schema_extra=EFFORT, description="what a task takes")] = Resources()


def table(name: str, params: Params) -> Table:
    """The table that a stage fills."""
    about = params.about or f"One row per clip, by the user's own stage {name}."
    return declared(name, params.columns, params.comments, params.checks, about)


def arguments(params: Params) -> dict[str, tuple[str, ...]]:
    """The functions that settings name, by setting, each with the arguments that it is called with."""
    inputs = INPUTS[params.input] if params.decode is None else "inputs"
    found: dict[str, tuple[str, ...]] = {"function": (inputs, "model") if params.load else (inputs,)}
    if params.load:
        found["load"] = ("device",)
    if params.decode:
        found["decode"] = ("path",)
    return found


def rows(batches: Iterable[pd.DataFrame], params: Params, env: Env) -> Iterator[pd.DataFrame]:
    """Batches of clips -> batches of the stage's table, one row per clip."""
    columns = [KEY.name, *params.columns]
    if params.input == "clip" and params.decode is None:
        work = partial(answer_of_file, params=params, env=env)
        return batching.each(
            batches, work, key="clip_id", columns=columns, limits=env.limits, needs=Needs(own_code=True)
        )
    return infer(
        batches,
        prepare=partial(PREPARE[params.input], params=params, env=env),
        load=partial(load, params.function, params.load),
        finish=partial(finish, params=params),
        key="clip_id",
        columns=columns,
        env=env,
        resources=params.resources,
        batch_size=params.batch_size,
        own_code=params.decode is not None,
        holds_model=params.load is not None,
    )


def answer_of_file(row: Row, params: Params, env: Env) -> list[Row]:
    """The row of one clip, by a function of its file; the sandbox runs this.

    Raises:
        MediaError: the file cannot be read; BAD_OUTPUT if the answer does not fit the columns.
    """
    with local_file(str(row["uri"]), env) as path:
        answer = user_code.function(params.function)(path)
    return [{"clip_id": row["clip_id"], **values(answer, params.columns)}]


def prepare_frames(row: Row, call: Call, params: Params, env: Env) -> Iterator[Pictures]:
    """The frames of a clip one by one, from its proxy if the row has one."""
    uri = str(row.get("proxy_uri") or row["uri"])
    yield from call(decode_frames, uri, params.target_fps, params.short_side_px, env)


def decode_frames(uri: str, fps: float, short_side_px: int, env: Env) -> Pictures:
    """A clip's frames at a rate; `call` runs this in the sandbox."""
    path = access.own_path(uri, env.sources)
    [(_, pictures)] = extract.frame_sequences(path, [fps], extract.short_side(short_side_px), env.limits)
    return pictures


def prepare_file(row: Row, call: Call, params: Params, env: Env) -> Iterator[Any]:
    """What the user's own `decode` makes of a clip's file."""
    yield call(decode_file, str(row["uri"]), params.decode, env)


def decode_file(uri: str, decode: str, env: Env) -> Any:
    """Call the user's own `decode`; `call` runs this in the sandbox."""
    with local_file(uri, env) as path:
        return user_code.function(decode)(path)


def prepare_row(row: Row, call: Call, params: Params, env: Env) -> Iterator[Row]:
    """The columns of the row."""
    yield {name: value for name, value in row.items() if name != "fingerprint"}


PREPARE = {"frames": prepare_frames, "clip": prepare_file, "row": prepare_row}


@contextmanager
def local_file(uri: str, env: Env) -> Iterator[str]:
    """The path of a clip's file; one in a store is copied to this machine for as long.

    Raises:
        MediaError: it is missing or cannot be read.
    """
    path = access.own_path(uri, env.sources)
    if not isinstance(path, RemotePath):
        yield path
        return
    with tempfile.NamedTemporaryFile(suffix=Path(uri).suffix) as copy, open_path(path) as source:
        shutil.copyfileobj(source, copy, COPY_BYTES)
        copy.flush()
        yield copy.name


def load(function: str, model: str | None, device: str) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """The user's function with its model on a device: from inputs to an answer each, or the exception of one."""
    score = user_code.function(function)
    more = (user_code.function(model)(device),) if model else ()

    def answers(inputs: list[Any]) -> list[Any]:
        return user_models.listed(score(inputs, *more), len(inputs))

    return user_models.one_by_one(answers)


def finish(row: Row, answers: Sequence[Any], params: Params) -> list[Row]:
    """The row of one clip.

    Raises:
        MediaError: BAD_OUTPUT if an answer does not fit the columns.
    """
    found = [values(answer, params.columns) for answer in answers]
    of_columns = {name: [each[name] for each in found] for name in params.columns}
    reduced = {name: reduced_to(params.columns[name], each, params.reduction) for name, each in of_columns.items()}
    return [{"clip_id": row["clip_id"], **reduced}]


def values(answer: Any, columns: Mapping[str, str]) -> dict[str, Any]:
    """An answer by columns: it is a mapping, a sequence in their order, or the value of the only one.

    Raises:
        MediaError: BAD_OUTPUT if it is none of these.
    """
    if isinstance(answer, Mapping):
        if unknown := [name for name in answer if name not in columns]:
            raise MediaError("BAD_OUTPUT", f"the answer has {unknown[0]!r}, which is no column")
        found = dict(answer)
    elif len(columns) == 1:
        found = {next(iter(columns)): answer}
    elif isinstance(answer, list | tuple | np.ndarray) and len(answer) == len(columns):
        found = dict(zip(columns, answer, strict=True))
    else:
        raise MediaError("BAD_OUTPUT", f"the answer is {_shown(answer)}, and no value for each of {', '.join(columns)}")
    return {name: typed(found.get(name), type_, name) for name, type_ in columns.items()}


def typed(value: Any, type_: str, name: str) -> Any:
    """A value as its column has it; scalars and arrays of numpy and torch become Python's.

    Raises:
        MediaError: BAD_OUTPUT if it is of another type, or no finite number.
    """
    value = value.tolist() if hasattr(value, "tolist") else value
    if value is None or value is pd.NA:
        return None
    if type_.startswith("array<"):
        if not isinstance(value, list | tuple):
            raise MediaError("BAD_OUTPUT", f"{name} is {_shown(value)}, and no {type_}")
        return [typed(each, type_[len("array<") : -1], name) for each in value]
    if type_ in LARGEST and isinstance(value, int | float) and not isinstance(value, bool):
        return _number(value, type_, name)
    if type_ == "string" and isinstance(value, str):
        return str.__str__(value).encode("utf-8", "backslashreplace").decode()  # Arrow has no half of a character
    if type_ == "boolean" and isinstance(value, bool):
        return value
    raise MediaError("BAD_OUTPUT", f"{name} is {_shown(value)}, and no {type_}")


def _number(value: float, type_: str, name: str) -> float:
    """A number as its column has it.

    Raises:
        MediaError: BAD_OUTPUT if it is not finite, too large, or no whole number where the column has these.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise MediaError("BAD_OUTPUT", f"{name} is {value}")
    if not -LARGEST[type_] - (type_ in WHOLE) <= value <= LARGEST[type_]:
        raise MediaError("BAD_OUTPUT", f"{name} is over {LARGEST[type_]:g}, too large for {type_}")
    if type_ not in WHOLE:
        return float(value)
    if value != int(value):
        raise MediaError("BAD_OUTPUT", f"{name} is {value}, and no {type_}")
    return int(value)


def reduced_to(type_: str, found: Sequence[Any], how: str) -> Any:
    """One value of several: numbers as `how` says, arrays of numbers place by place, of others the most frequent."""
    there = [value for value in found if value is not None]
    if len(there) < 2:
        return there[0] if there else None
    if type_ == "array<float>" and len({len(value) for value in there}) == 1:
        return [reduced_to("float", place, how) for place in zip(*there, strict=True)]
    if type_ in LARGEST:
        value = REDUCE[how](there)
        return round(value) if type_ in WHOLE else value
    counts = Counter(map(repr, there))
    return max(there, key=lambda value: counts[repr(value)])


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
