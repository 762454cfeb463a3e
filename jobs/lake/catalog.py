"""Catalog schemas: the schema that --schema names, and the names of its tables and views."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from jobs.config.errors import CatalogError, UsageError

if TYPE_CHECKING:  # a name is checked before Spark is there
    from pyspark.sql import SparkSession

PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,254}")
MESSAGE = re.compile(r"\[[A-Z_.]+\].*")  # what Spark says, whatever the JVM says before it
SPARKS_OWN = "spark_catalog"


class Schema(NamedTuple):
    """A schema, and its catalog if one was named; else it is in the session's current one."""

    name: str
    catalog: str | None = None

    def __str__(self) -> str:
        return f"{self.catalog}.{self.name}" if self.catalog else self.name

    @property
    def sql(self) -> str:
        """Its name in SQL."""
        return ".".join(quoted(part) for part in (self.catalog, self.name) if part)

    def of(self, name: str) -> str:
        """The name in SQL of a table or view in it."""
        return f"{self.sql}.{quoted(name)}"


def quoted(part: str) -> str:
    """A part of a name, quoted, whatever characters it has."""
    return "`" + part.replace("`", "``") + "`"


def literal(value: str) -> str:
    """A text as a literal of SQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def parse(text: str) -> Schema:
    """`schema` or `catalog.schema`, of letters, digits, _ and -.

    Raises:
        UsageError: anything else.
    """
    parts = text.split(".")
    if len(parts) > 2 or not all(PART.fullmatch(part) for part in parts):
        raise UsageError(f"--schema {text!r}: write it as schema or catalog.schema, of letters, digits, _ and -")
    return Schema(parts[-1], parts[0] if len(parts) == 2 else None)


def prepare(spark: SparkSession, schema: Schema, *, make: bool) -> None:
    """Make the schema if it is missing and `make` says so.

    Raises:
        CatalogError: there is no such catalog or schema, it cannot be made, or it would end with the session.
    """
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    try:
        if not _exists(spark, schema):
            if not make:
                raise CatalogError(f"--schema {schema}: no such schema")
            spark.sql(f"CREATE SCHEMA IF NOT EXISTS {schema.sql}")
    except (PySparkException, Py4JJavaError) as e:
        message = MESSAGE.search(str(e))
        raise CatalogError(f"--schema {schema}: {message[0] if message else str(e).splitlines()[0]}") from e


def _exists(spark: SparkSession, schema: Schema) -> bool:
    before = str(spark.catalog.currentCatalog())
    if (schema.catalog or before) == SPARKS_OWN and spark.conf.get("spark.sql.catalogImplementation") == "in-memory":
        raise CatalogError(
            f"--schema {schema}: this catalog ends with the session; spark.sql.catalogImplementation=hive lasts"
        )
    if schema.catalog and schema.catalog != before:
        spark.catalog.setCurrentCatalog(schema.catalog)  # nothing else says that a catalog is unknown
        spark.catalog.setCurrentCatalog(before)
    return spark.catalog.databaseExists(schema.sql)
