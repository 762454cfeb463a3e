"""Translate Spark SQL to DuckDB's by sqlglot: what both are known to compute alike, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError

from jobs.queries import dialect_lists
from jobs.queries.spark_dialect import SPARK
from jobs.queries.unused_joins import Names, without_unused

DUCKDB = "duckdb"
# The functions that give the same values, by sqlglot's names for them; a test compares the engines.
FUNCTIONS = """
Abs AddMonths And AnyValue ApproxQuantile ArgMax ArgMin Array ArrayAgg ArrayAppend ArrayContains
ArrayDistinct ArrayExcept ArrayFilter ArrayIntersect ArrayMax ArrayMin ArrayPosition ArrayRemove ArraySize ArraySlice
ArraySort ArrayToString ArrayUniqueAgg Ascii Asin Atan2 Avg BitLength BitwiseAndAgg BitwiseXorAgg Case Cast Ceil
Chr Coalesce Concat ConcatWs Contains Cos Count CountIf CovarPop CovarSamp CumeDist CurrentDate CurrentTimestamp
DateDiff DateTrunc Day DayOfWeek DayOfYear Degrees DenseRank EndsWith Exists Exp Explode First FirstValue
Flatten Floor FromBase64 GenerateSeries Greatest GroupConcat Hex Hour If Initcap IsNan JSONExtractScalar Lag Last
LastDay LastValue Lead Least Left Length Levenshtein Ln Log LogicalAnd LogicalOr Lower MapKeys Max MD5 Median Min
Minute Mode Month NextDay NthValue Ntile Nullif Nvl2 Or Pad PercentRank Pi Pow Quantile Quarter Radians
Rank Reduce RegexpCount RegexpExtract RegexpExtractAll RegexpLike RegexpReplace RegexpSplit Repeat Replace Reverse
Right Round RowNumber SafeDivide Second SHA SHA2 Sign Sin SplitPart Sqrt StartsWith Stddev StddevPop StddevSamp
StrPosition StrToTime StrToUnix Struct Substring Sum Tan TimestampTrunc TimeStrToTime TimeToStr ToBase64 Transform
Translate Trim TryCast TsOrDsAdd TsOrDsToDate Unhex UnixMillis UnixSeconds UnixToStr Unnest Upper Variance VariancePop
VarMap WeekOfYear Year
"""
SAME = frozenset(FUNCTIONS.split())
SAME_BY_NAME = {"bin", "cardinality", "make_date", "map_concat", "map_entries", "map_values", "mean", "range"}
WHOLE = (exp.DType.TINYINT, exp.DType.SMALLINT, exp.DType.INT, exp.DType.BIGINT)
# Texts that Spark reads as numbers; DuckDB also reads 1_000, and as whole numbers 29.97, 1e3 and 0x1F.
READ = dict.fromkeys(WHOLE, r"\s*[+-]?[0-9]+\s*")
READ |= dict.fromkeys((exp.DType.FLOAT, exp.DType.DOUBLE, exp.DType.DECIMAL), "[^_]*")
VARCHAR = exp.Literal.string("VARCHAR")
OTHER_TEXT = r"^(DOUBLE|FLOAT|STRUCT.*|MAP.*)$"  # types whose text differs, such as 1.0E-4 and {1}
REGEXES = (
    exp.RegexpCount | exp.RegexpExtract | exp.RegexpExtractAll | exp.RegexpLike | exp.RegexpReplace | exp.RegexpSplit
)
UNITS = {"YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND"}  # of date_trunc
# Formats of times, as sqlglot writes them: without quotes, and of letters that both write alike.
PADDED = "%(?:Y|mstrict|dstrict|Hstrict|Istrict|Mstrict|Sstrict|f)"
ALONE = "%(?:y|B|b|-m|-d|-H|-I|-M|-S|p|a|A|-j)"
FORMAT = re.compile(rf"(?!.*(%\w+)\1)(?:[^A-Za-z%'\[\]{{}}#]|(?:{PADDED})+(?!%)|{ALONE}(?!%))*", re.DOTALL)
ZERO, ONE = exp.Literal.number(0), exp.Literal.number(1)


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
def view_to_duckdb(sql: str, used: Names | None = None) -> str:
    """The query of a view in DuckDB's SQL; with `used`, names that a query has, without what it does not use."""
    view = sqlglot.parse_one(sql, dialect=SPARK)
    return to_duckdb(view if used is None or not isinstance(view, exp.Select) else without_unused(view, used))


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
    for what in _differing(node):
        raise UntranslatedError(what)


def _differing(node: exp.Expr) -> Iterator[str]:
    """What DuckDB knows, and answers otherwise."""
    if isinstance(node, REGEXES) and "&&" in node.expression.name:
        yield "&& in a regular expression"
    if isinstance(node, exp.RegexpReplace) and not _is_plain(node.args.get("replacement")):
        yield "groups in the replacement of regexp_replace"
    if (time := node.args.get("format")) is not None and not (time.is_string and FORMAT.fullmatch(time.name)):
        yield "the format of a time"
    if isinstance(node, exp.TimestampTrunc | exp.DateTrunc) and node.text("unit").upper() not in UNITS:
        yield "the unit of date_trunc"
    if isinstance(node, exp.JSONExtractScalar) and node.find(exp.JSONPathWildcard):
        yield "a path of JSON with *"
    if isinstance(node, exp.GenerateSeries) and isinstance(node.args.get("step"), exp.Interval):
        yield "a sequence of times"
    if isinstance(node, exp.Sub) and all(_is_date(side) for side in (node.left, node.right)):
        yield "the difference of dates"


def _is_plain(text: exp.Expr | None) -> bool:
    """Whether a replacement holds no groups, which Spark takes from $1 and DuckDB from \\1."""
    return text is not None and text.is_string and not re.search(r"[$\\]", text.name)


def _is_date(value: exp.Expr) -> bool:
    return value.is_type("date") or isinstance(value, exp.TsOrDsToDate | exp.CurrentDate)


def _is_days(value: exp.Expr) -> bool:
    return isinstance(value, exp.Interval) and value.text("unit").upper().rstrip("S") in {
        "DAY",
        "WEEK",
        "MONTH",
        "YEAR",
    }


def _rewritten(node: exp.Expr) -> exp.Expr:
    """What stands for a part of a query in DuckDB's SQL where sqlglot's translation differs; else the part itself."""
    if (other := dialect_lists.rewritten(node)) is not node or (other := _number(node)) is not node:
        return other
    if isinstance(node, exp.TsOrDsAdd | exp.DateTrunc):
        return exp.cast(node, "date")  # a timestamp to DuckDB
    if isinstance(node, exp.Add | exp.Sub) and _is_date(node.left) and _is_days(node.right):
        return exp.cast(node, "date")
    if isinstance(node, exp.DayOfWeek):
        return exp.paren(exp.Add(this=node.copy(), expression=ONE.copy()))  # Sunday is 1, to DuckDB 0
    if isinstance(node, exp.Cast):
        return _cast(node)
    if (
        isinstance(node, exp.Like | exp.ILike)
        and "\\" in node.expression.name
        and not isinstance(node.parent, exp.Escape)
    ):
        return exp.Escape(this=node.copy(), expression=exp.Literal.string("\\"))
    if isinstance(node, exp.Substring | exp.Left | exp.Right):
        return _part(node)
    if isinstance(node, exp.Table) and isinstance(node.this, exp.Anonymous) and not node.alias_column_names:
        node.set(
            "alias", exp.TableAlias(this=exp.to_identifier(node.alias or "listed"), columns=[exp.to_identifier("id")])
        )
    if isinstance(node, exp.Select):
        node.set("hint", None)  # hints are for Spark's planner
    return node


def _number(node: exp.Expr) -> exp.Expr:
    """Aggregates and functions of numbers and times, whose values differ in type, at the edges or for NULL."""
    if isinstance(node, exp.CountIf):
        return exp.Count(this=exp.case().when(node.this.copy(), ONE.copy()))
    if isinstance(node, exp.ArgMax | exp.ArgMin) and not node.args.get("count"):  # which leave out NULL in DuckDB
        return exp.func(f"ARG_{node.key[3:]}_NULL".upper(), node.this.copy(), node.expression.copy())
    if isinstance(node, exp.AnyValue) and not isinstance(node.parent, exp.IgnoreNulls):
        return exp.First(this=node.this.copy())
    if isinstance(node, exp.Quantile):
        name = "QUANTILE_DISC" if isinstance(node, exp.ApproxQuantile) else "QUANTILE_CONT"
        return exp.func(name, node.this.copy(), node.args["quantile"].copy())
    if (isinstance(node, exp.Floor | exp.Ceil) and not node.args.get("decimals")) or isinstance(node, exp.StrToUnix):
        return exp.cast(node, "bigint")  # a double to DuckDB
    if isinstance(node, exp.UnixMillis | exp.UnixSeconds):  # which DuckDB rounds
        micros = exp.Anonymous(this="EPOCH_US", expressions=[node.this.copy()])
        unit = 1000 if isinstance(node, exp.UnixMillis) else 1_000_000
        return exp.paren(exp.IntDiv(this=micros, expression=exp.Literal.number(unit)))
    if isinstance(node, exp.Ln | exp.Log):
        of = node.args.get("expression") or node.this
        return exp.case().when(exp.GT(this=exp.paren(of.copy()), expression=ZERO.copy()), node.copy())
    if isinstance(node, exp.Sign):
        return exp.cast(node, "double")
    if isinstance(node, exp.IsNan):
        return exp.func("COALESCE", node.copy(), exp.false())
    return node


def _part(node: exp.Expr) -> exp.Expr:
    """A part of a text: from 0 on it begins at 1, and one of a negative length is empty."""
    length = "length" if isinstance(node, exp.Substring) else "expression"
    for name, least, is_odd in (("start", 1, exp.EQ), (length, 0, exp.LT)):
        value = node.args.get(name)
        if value is not None and not (value.is_int and isinstance(value, exp.Literal) and int(value.name) >= least):
            odd = is_odd(this=exp.paren(value.copy()), expression=ZERO.copy())
            node.set(name, exp.case().when(odd, exp.Literal.number(least)).else_(value.copy()))
    return node


def _cast(node: exp.Cast) -> exp.Expr:
    """A cast that cuts decimals off and reads text as Spark's does, and gives times in Spark's words."""
    value, type_ = node.this, node.to
    kind = exp.func("TYPEOF", value.copy())
    strict = type(node) is exp.Cast or not node.args.get("safe")

    def to_type(other: exp.Expr) -> exp.Expr:
        how = {"this": other, "to": type_.copy()}
        return exp.Cast(**how) if strict else exp.TryCast(**how, safe=True)

    plain = to_type(value.copy())
    if type_.this in READ and not value.is_number:
        plain = exp.case().when(kind.eq(VARCHAR), to_type(_readable(value, READ[type_.this]))).else_(plain)
    if type_.this in WHOLE and not value.is_int and not isinstance(value, exp.Floor | exp.Ceil):
        double = exp.Cast(this=value.copy(), to=exp.DataType.build("double"))
        is_fraction = exp.or_(kind.copy().like("D%"), kind.copy().eq(exp.Literal.string("FLOAT")))
        return exp.case().when(is_fraction, to_type(exp.func("TRUNC", double))).else_(plain)
    if type_.is_type("text") and not value.is_string:
        cut = exp.func("LEFT", plain, exp.Literal.number(-3))  # without +00
        others = exp.Anonymous(this="REGEXP_MATCHES", expressions=[kind.copy(), exp.Literal.string(OTHER_TEXT)])
        refused = exp.Anonymous(this="ERROR", expressions=[exp.Literal.string("numbers, structs and maps as text")])
        is_time = kind.eq(exp.Literal.string("TIMESTAMP WITH TIME ZONE"))
        return exp.case().when(others, refused).when(is_time, cut).else_(plain.copy())
    return plain


def _readable(value: exp.Expr, pattern: str) -> exp.Expr:
    """A text, in quotes unless it has a pattern, so that it cannot be read as a number."""
    text, quote = exp.cast(value.copy(), "text"), exp.Literal.string("'")
    matches = exp.Anonymous(this="REGEXP_FULL_MATCH", expressions=[text, exp.Literal.string(pattern)])
    quoted = exp.DPipe(this=exp.DPipe(this=quote, expression=text.copy()), expression=quote.copy())
    return exp.case().when(matches, text.copy()).else_(quoted)
