"""Tables of the user's own stages: one row per clip, with the columns that the settings name."""

from collections.abc import Iterable, Mapping

import pyarrow as pa

from schemas.table import FINGERPRINT, FLOATS, RUN_ID, STRINGS, Table, a_number, column, table

# Types of columns, as Spark's SQL names them.
SCALARS = {
    "float": pa.float32(),
    "double": pa.float64(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
}
TYPES = SCALARS | {"array<float>": FLOATS, "array<string>": STRINGS}
KEY = column("clip_id", pa.string(), "row of clips", nullable=False)
OURS = (KEY.name, FINGERPRINT.name, RUN_ID.name)  # columns that the user does not name


def is_name(text: str) -> bool:
    """Whether a table or column of the user's own may have a name: of a-z, 0-9 and _, and no digit first."""
    return text.isidentifier() and text.isascii() and text == text.lower()


def declared(
    name: str, columns: Mapping[str, str], comments: Mapping[str, str], checks: Mapping[str, str], about: str
) -> Table:
    """The table of a stage, from its columns by their types."""
    fields = (
        column(key, TYPES[type_], comments.get(key) or f"by the user's own stage {name}")
        for key, type_ in columns.items()
    )
    numbers = {f"{key}_is_a_number": a_number(key) for key, type_ in columns.items() if type_ in ("float", "double")}
    return table(
        name, (KEY.name,), about, KEY, *fields, FINGERPRINT, RUN_ID, checks=numbers | {**checks}, is_custom=True
    )


def stored(name: str, schema: pa.Schema, about: str) -> Table:
    """The table of a stage that settings need not name any more, from the columns that it has."""
    return table(name, (KEY.name,), about, *schema, is_custom=True)


def score_name(stage: str, name: str) -> str:
    """What `verdicts` calls a column: by its stage, unless its own name begins with that."""
    return name if name == stage or name.startswith(f"{stage}_") else f"{stage}_{name}"


def scores_of(custom: Table) -> dict[str, str]:
    """The columns of a stage's table that `verdicts` has, too, each with its name there; arrays are left out."""
    names = (field.name for field in custom.schema if field.type in SCALARS.values())
    return {name: score_name(custom.name, name) for name in names if name not in OURS}


def with_scores(verdicts: Table, custom: Iterable[Table]) -> Table:
    """The table `verdicts` with the scores of the user's own stages."""
    added = [
        one.schema.field(name).with_name(score).with_nullable(True)
        for one in custom
        for name, score in scores_of(one).items()
    ]
    ours = [field for field in verdicts.schema if field.name not in OURS[1:]]
    return table(
        verdicts.name, verdicts.key, verdicts.about, *ours, *added, FINGERPRINT, RUN_ID, checks=verdicts.checks
    )
