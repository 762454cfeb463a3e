"""Translate Spark SQL to DuckDB's by sqlglot: what both are known to compute alike, and nothing else."""

from __future__ import annotations

from functools import cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError

from jobs.queries.statement import SPARK

DUCKDB = "duckdb"
# The functions that give the same values, by sqlglot's names for them; a test compares the engines.
FUNCTIONS = """
Abs AddMonths And AnyValue ApproxDistinct ApproxQuantile ArgMax ArgMin Array ArrayAgg ArrayAppend ArrayContains
ArrayDistinct ArrayExcept ArrayFilter ArrayIntersect ArrayMax ArrayMin ArrayPosition ArrayRemove ArraySize ArraySlice
ArraySort ArrayToString ArrayUniqueAgg Ascii Asin Atan2 Avg BitLength BitwiseAndAgg BitwiseXorAgg Case Cast Cbrt Ceil
Chr Coalesce Concat ConcatWs Contains Corr Cos Count CountIf CovarPop CovarSamp CumeDist CurrentDate CurrentTimestamp
DateDiff DateTrunc Day DayOfWeek DayOfYear Degrees DenseRank EndsWith Exists Exp Explode Factorial First FirstValue
Flatten Floor FromBase64 GenerateSeries Greatest GroupConcat Hex Hour If Initcap IsNan JSONExtractScalar Lag Last
LastDay LastValue Lead Least Left Length Levenshtein Ln Log LogicalAnd LogicalOr Lower MapKeys Max MD5 Median Min
Minute Mode Month MonthsBetween NextDay NthValue Ntile Nullif Nvl2 Or Pad PercentRank Pi Pow Quantile Quarter Radians
Rank Reduce RegexpCount RegexpExtract RegexpExtractAll RegexpLike RegexpReplace RegexpSplit Repeat Replace Reverse
Right Round RowNumber SafeDivide Second SHA SHA2 Sign Sin SplitPart Sqrt StartsWith Stddev StddevPop StddevSamp
StrPosition StrToTime StrToUnix Struct Substring Sum Tan TimestampTrunc TimeStrToTime TimeToStr ToBase64 Transform
Translate Trim TryCast TsOrDsAdd TsOrDsToDate Unhex UnixMillis UnixSeconds UnixToStr Unnest Upper Variance VariancePop
VarMap WeekOfYear Year
"""
SAME = frozenset(FUNCTIONS.split())
SAME_BY_NAME = {"bin", "cardinality", "make_date", "map_concat", "map_entries", "map_values", "mean", "range"}
WHOLE = (exp.DType.TINYINT, exp.DType.SMALLINT, exp.DType.INT, exp.DType.BIGINT)
ONE = exp.Literal.number(1)


class UntranslatedError(Exception):
    """DuckDB cannot answer this query as Spark would; the text says why in one line."""


def to_duckdb(query: exp.Expr) -> str:
    """A query of Spark SQL in DuckDB's.

    Raises:
        UntranslatedError: a part of it is not known to mean the same.
    """
    tree = exp.Paren(this=query.copy())  # so that the query has a parent, in which it can be replaced
    for node in reversed([*tree.this.walk()]):  # inner ones first
        _check(node)
        if (other := _rewritten(node)) is not node:
            node.replace(other)
    try:
        return str(tree.this.sql(DUCKDB, unsupported_level=ErrorLevel.RAISE))
    except SqlglotError as e:
        raise UntranslatedError(str(e).splitlines()[0]) from e


@cache
def view_to_duckdb(sql: str) -> str:
    """The query of a view in DuckDB's SQL."""
    return to_duckdb(sqlglot.parse_one(sql, dialect=SPARK))


@cache
def type_to_duckdb(type_: str) -> str:
    """A type of Spark in DuckDB's words."""
    return exp.DataType.build(type_, dialect=SPARK).sql(DUCKDB)


def _check(node: exp.Expr) -> None:
    """Refuse a function that may mean something else to DuckDB."""
    if isinstance(node, exp.Anonymous):
        if node.name.lower() not in SAME_BY_NAME:
            raise UntranslatedError(f"the function {node.name.lower()}")
    elif isinstance(node, exp.Func) and type(node).__name__ not in SAME:
        raise UntranslatedError(f"the function {node.sql_name().lower()}")
    if isinstance(node, exp.DateDiff) and node.args.get("unit") and node.text("unit").upper() != "DAY":
        raise UntranslatedError(f"the difference of times in units of {node.text('unit').lower()}")
    if isinstance(node, exp.Lambda) and len(node.expressions) > 1 and not isinstance(node.parent, exp.Reduce):
        raise UntranslatedError("a function with an index, which DuckDB counts from 1")
    if isinstance(node, exp.Lateral) and node.args.get("outer"):
        raise UntranslatedError("LATERAL VIEW OUTER")


def _rewritten(node: exp.Expr) -> exp.Expr:
    """What stands for a part of a query in DuckDB's SQL where sqlglot's translation differs; else the part itself."""
    if isinstance(node, exp.Exists | exp.CountIf | exp.ArrayAgg | exp.ArrayUniqueAgg | exp.ArraySort):
        return _list_or_count(node)
    if isinstance(node, exp.Floor | exp.Ceil) and not node.args.get("decimals"):
        return exp.cast(node, "bigint")  # a double to DuckDB
    if isinstance(node, exp.StrToUnix):
        return exp.cast(node, "bigint")
    if isinstance(node, exp.UnixMillis):  # which DuckDB rounds
        micros = exp.Anonymous(this="EPOCH_US", expressions=[node.this.copy()])
        return exp.paren(exp.IntDiv(this=micros, expression=exp.Literal.number(1000)))
    if isinstance(node, exp.TsOrDsAdd | exp.DateTrunc):
        return exp.cast(node, "date")  # a timestamp to DuckDB
    if isinstance(node, exp.DayOfWeek):
        return exp.paren(exp.Add(this=node.copy(), expression=ONE.copy()))  # Sunday is 1, to DuckDB 0
    if type(node) is exp.Quantile:  # of which the approximate one is a subclass
        return exp.func("QUANTILE_CONT", node.this.copy(), node.args["quantile"].copy())
    if isinstance(node, exp.Cast):
        return _cast(node)
    if isinstance(node, exp.Like) and "\\" in node.expression.name and not isinstance(node.parent, exp.Escape):
        return exp.Escape(this=node.copy(), expression=exp.Literal.string("\\"))
    if isinstance(node, exp.Substring) and node.args.get("start") == exp.Literal.number(0):
        node.set("start", ONE.copy())
    if isinstance(node, exp.Table) and isinstance(node.this, exp.Anonymous) and not node.alias_column_names:
        node.set(
            "alias", exp.TableAlias(this=exp.to_identifier(node.alias or "listed"), columns=[exp.to_identifier("id")])
        )
    if isinstance(node, exp.Select):
        node.set("hint", None)  # hints are for Spark's planner
    return node


def _list_or_count(node: exp.Expr) -> exp.Expr:
    """Functions of arrays and counts, whose values without rows or for NULL differ."""
    if isinstance(node, exp.Exists):
        if not isinstance(node.expression, exp.Lambda):
            return node
        found = exp.func("LIST_FILTER", node.this.copy(), node.expression.copy())
        return exp.paren(exp.GT(this=exp.func("LEN", found), expression=exp.Literal.number(0)))
    if isinstance(node, exp.CountIf):
        return exp.Count(this=exp.case().when(node.this.copy(), ONE.copy()))
    if isinstance(node, exp.ArraySort):
        if node.expression or node.args.get("asc") or node.args.get("nulls_first") is None:
            return node
        order = ("ASC", f"NULLS {'FIRST' if node.args['nulls_first'].this else 'LAST'}")
        return exp.func("LIST_SORT", node.this.copy(), *map(exp.Literal.string, order))
    if isinstance(node.parent, exp.Window | exp.Filter):
        return node
    return exp.func("COALESCE", node.copy(), exp.Array())


def _cast(node: exp.Cast) -> exp.Expr:
    """A cast that cuts decimals off as Spark's does, fails where Spark's fails, and gives times in Spark's words."""
    value, type_ = node.this, node.to
    kind = exp.func("TYPEOF", value.copy())
    strict = type(node) is exp.Cast or not node.args.get("safe")
    plain = exp.Cast(this=value.copy(), to=type_.copy()) if strict else node.copy()
    if type_.this in WHOLE and not value.is_int and not isinstance(value, exp.Floor | exp.Ceil):
        double = exp.Cast(this=value.copy(), to=exp.DataType.build("double"))
        whole = exp.Cast(this=exp.func("TRUNC", double), to=type_.copy())
        return (
            exp.case()
            .when(kind.like("D%"), whole)
            .when(kind.eq(exp.Literal.string("FLOAT")), whole.copy())
            .else_(plain)
        )
    if type_.is_type("text") and not isinstance(value, exp.Literal):
        cut = exp.func("LEFT", plain, exp.Literal.number(-3))  # without +00
        return exp.case().when(kind.eq(exp.Literal.string("TIMESTAMP WITH TIME ZONE")), cut).else_(plain.copy())
    return plain if strict else node
