"""The dialect of Spark SQL, as the installed Spark reads it: `SPARK` is its name for sqlglot."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from sqlglot.dialects.spark import Spark


class Spark41(Spark):
    """Spark from 4.1 on reads 'it''s' as it's; before, as two texts side by side: its."""

    class Tokenizer(Spark.Tokenizer):
        STRING_ESCAPES = ["\\", "'", '"']  # noqa: RUF012 - as sqlglot declares it


def dialect(pyspark: str) -> str:
    """The dialect of a version of PySpark."""
    return "spark41" if tuple(map(int, pyspark.split(".")[:2])) >= (4, 1) else "spark"


def _installed() -> str:
    try:
        return version("pyspark")
    except PackageNotFoundError:  # queries need no Spark
        return "4.1"


SPARK = dialect(_installed())
