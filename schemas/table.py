"""What a Delta table holds: its columns with types and comments, its key, and its checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa


@dataclass(frozen=True)
class Table:
    """A table's name, the columns that identify a row, a sentence about it, and its columns with their comments."""

    name: str
    key: tuple[str, ...]
    about: str
    schema: pa.Schema
    cluster_by: str | None = None  # the column by which Delta lays out its files
    partition_by: str | None = None  # the column by which its files lie in folders
    checks: Mapping[str, str] = field(default_factory=dict)  # SQL conditions by name, true of every row
    renamed: Mapping[str, str] = field(default_factory=dict)  # names of columns, each with its name in earlier releases
    is_custom: bool = False  # whether a stage of the user's own fills it

    @property
    def stage_columns(self) -> list[str]:
        """The columns that a stage computes: not those that record settings, run and cost."""
        return [name for name in self.schema.names if name not in (CPU_S.name, FINGERPRINT.name, RUN_ID.name)]


def column(name: str, type_: pa.DataType, comment: str, *, nullable: bool = True) -> pa.Field:
    """A column with its comment, which names the unit where there is one."""
    return pa.field(name, type_, nullable=nullable, metadata={"comment": comment})


def table(
    name: str,
    key: tuple[str, ...],
    about: str,
    *columns: pa.Field,
    cluster_by: str | None = None,
    partition_by: str | None = None,
    checks: Mapping[str, str] | None = None,
    renamed: Mapping[str, str] | None = None,
    is_custom: bool = False,
) -> Table:
    """A table from its columns.

    Raises:
        ValueError: a key column is not among the columns.
    """
    missing = set(key) - {c.name for c in columns}
    if missing:
        raise ValueError(f"table {name}: key columns {sorted(missing)} are not declared")
    return Table(name, key, about, pa.schema(columns), cluster_by, partition_by, checks or {}, renamed or {}, is_custom)


def sql_type(type_: pa.DataType) -> str:
    """A type as Spark's SQL names it."""
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return f"array<{sql_type(type_.value_type)}>"
    if pa.types.is_map(type_):
        return f"map<{sql_type(type_.key_type)},{sql_type(type_.item_type)}>"
    if pa.types.is_struct(type_):
        return f"struct<{','.join(f'{f.name}:{sql_type(f.type)}' for f in type_)}>"
    return SQL_NAMES.get(str(type_), str(type_))


def within(name: str, least: float, most: float | None = None) -> str:
    """A check that a column is NULL or within bounds; a column of whole numbers may have a lower bound alone.

    To Delta, a check that is NULL fails.
    """
    bound = f"{name} >= {least:g}" if most is None else f"{name} BETWEEN {least:g} AND {most:g}"
    return f"{name} IS NULL OR {bound}"


def at_least(name: str, least: float) -> str:
    """A check that a column of floating-point numbers is NULL or has at least a value.

    NaN, which SQL takes for the greatest number, does not pass.
    """
    return f"{name} IS NULL OR ({name} >= {least:g} AND NOT isnan({name}))"


def a_number(name: str) -> str:
    """A check that a column of floating-point numbers is NULL or a number."""
    return f"{name} IS NULL OR NOT isnan({name})"


def in_order(first: str, last: str, sign: str = "<") -> str:
    """A check that one column is less than another, or that either is NULL."""
    return f"{first} IS NULL OR {last} IS NULL OR {first} {sign} {last}"


def other_than(reference: str, key: str) -> str:
    """A check that a row refers to another row, or to none."""
    return f"{reference} IS NULL OR {reference} <> {key}"


SQL_NAMES = {"int32": "int", "int64": "bigint", "bool": "boolean", "timestamp[us, tz=UTC]": "timestamp"}
# What decoding cost, in the tables of the stages that decode most.
CPU_S = column("cpu_s", pa.float64(), "CPU seconds that decoding and encoding took for this row")
# The last columns of every table: which settings made a row, and in which run.
FINGERPRINT = column(
    "fingerprint", pa.string(), "hash of the settings and code version that made the row", nullable=False
)
RUN_ID = column("run_id", pa.string(), "run that wrote the row: see `runs`", nullable=False)
STRINGS = pa.list_(pa.string())
FLOATS = pa.list_(pa.float32())
COSINE = 1.001  # greatest absolute value of a cosine of unit vectors in float32, with rounding
