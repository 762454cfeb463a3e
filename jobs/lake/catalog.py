"""--schema -> the names of the tables and views in a catalog, and the schema itself where it is missing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from jobs.config.errors import CatalogError, UsageError

if TYPE_CHECKING:  # a name is checked before Spark is there
    from pyspark.sql import SparkSession

PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,254}")
TOLD = re.compile(r"\[[A-Z_.]+\].*")  # what Spark says, whatever the JVM says before it
SPARKS_OWN = "spark_catalog"


class Schema(NamedTuple):
    """A schema, and the catalog it is in where one was named; else the session's current one."""

    name: str
    catalog: str | None = None

    def __str__(self) -> str:
        return f"{self.catalog}.{self.name}" if self.catalog else self.name

    @property
    def sql(self) -> str:
        """What SQL calls it."""
        return ".".join(quoted(part) for part in (self.catalog, self.name) if part)

    def of(self, name: str) -> str:
        """What SQL calls a table or view in it."""
        return f"{self.sql}.{quoted(name)}"


def quoted(part: str) -> str:
    """A part of a name, whatever is in it."""
    return "`" + part.replace("`", "``") + "`"


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
    """Make the schema where it is missing; a job that only reads needs it there.

    Raises:
        CatalogError: no such catalog, no schema to read, none can be made, or one that would go with the session.
    """
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    try:
        if not _exists(spark, schema):
            if not make:
                raise CatalogError(f"--schema {schema}: no such schema")
            spark.sql(f"CREATE SCHEMA IF NOT EXISTS {schema.sql}")
    except (PySparkException, Py4JJavaError) as e:
        said = TOLD.search(str(e))
        raise CatalogError(f"--schema {schema}: {said[0] if said else str(e).splitlines()[0]}") from e


def _exists(spark: SparkSession, schema: Schema) -> bool:
    before = str(spark.catalog.currentCatalog())
    if (schema.catalog or before) == SPARKS_OWN and spark.conf.get("spark.sql.catalogImplementation") == "in-memory":
        raise CatalogError(f"--schema {schema}: this catalog ends with the session; spark.sql.catalogImplementation=hive lasts")
    if schema.catalog and schema.catalog != before:
        spark.catalog.setCurrentCatalog(schema.catalog)  # an unknown one is told as such by nothing else
        spark.catalog.setCurrentCatalog(before)
    return spark.catalog.databaseExists(schema.sql)
