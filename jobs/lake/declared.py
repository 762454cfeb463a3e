"""The declared columns of tables as Spark's types, and stored rows with these columns."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_type
from pyspark.sql.types import StructField, StructType

from jobs.config.errors import TableError
from jobs.lake.catalog import literal, quoted
from schemas import declaration


def struct_type(schema: pa.Schema) -> StructType:
    """The columns of a declaration as Spark's types, with their comments."""
    return StructType(
        [
            StructField(
                f.name,
                from_arrow_type(f.type),
                f.nullable,
                {"comment": (f.metadata or {}).get(b"comment", b"").decode()},
            )
            for f in schema
        ]
    )


def as_declared(name: str, rows: DataFrame) -> DataFrame:
    """Rows with the declared columns of their table.

    Missing columns are NULL; those that only a later release knows are left out.

    Raises:
        TableError: a column is of another type.
    """
    there = {column.name: column.dataType.simpleString() for column in rows.schema}
    declared = struct_type(declaration(name).schema)
    for column in declared:
        type_ = column.dataType.simpleString()
        if there.get(column.name, type_) != type_:
            writes = f"custom.{name}.columns says {type_}: give the column another name"
            writes = writes if declaration(name).is_custom else f"this release writes {type_}"
            raise TableError(f"table {name}: column {column.name} is {there[column.name]}, and {writes}")
    if [*there] == declared.names:
        return rows
    return rows.select(*(_declared_column(name, column, there) for column in declared))


def _declared_column(table: str, column: StructField, there: Collection[str]) -> Column | str:
    """A column by its name now, from that name and from the one it had; NULL if the table has neither."""
    old = declaration(table).renamed.get(column.name)
    names = [name for name in (column.name, old) if name is not None and name in there]
    if names == [column.name]:
        return column.name
    value = F.coalesce(*names) if names else F.lit(None)
    return value.cast(column.dataType).alias(column.name, metadata=column.metadata)


def column_ddl(column: StructField, *, nullable: bool) -> str:
    """A column in the list of columns of a statement that makes or alters its table."""
    required = "" if nullable else " NOT NULL"
    comment = literal(column.metadata["comment"])
    return f"{quoted(column.name)} {column.dataType.simpleString()}{required} COMMENT {comment}"
