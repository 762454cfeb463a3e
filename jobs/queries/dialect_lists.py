"""Spark's functions of arrays in DuckDB's SQL, where NULL, missing elements or the order matter."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

ZERO, ONE = exp.Literal.number(0), exp.Literal.number(1)
ELEMENT, PLACE = "_element", "_place"  # of lambdas, in which columns of a query must not be hidden


def rewritten(node: exp.Expr) -> exp.Expr:
    """The same function in DuckDB's SQL where sqlglot's translation gives other values; else the part itself."""
    rewrite = REWRITES.get(type(node))
    return rewrite(node) if rewrite else node


def _exists(node: exp.Expr) -> exp.Expr:
    if not isinstance(node.expression, exp.Lambda):
        return node
    unknown = node.expression.copy()
    unknown.set("this", exp.paren(unknown.this).is_(exp.null()))
    some = _is_any(_filtered(node.this, node.expression.copy()))
    return exp.case().when(some, exp.true()).when(_is_any(_filtered(node.this, unknown)), exp.null()).else_(some.copy())


def _sorted(node: exp.Expr) -> exp.Expr:
    if node.expression or node.args.get("asc") or node.args.get("nulls_first") is None:
        return node
    order = ("ASC", f"NULLS {'FIRST' if node.args['nulls_first'].this else 'LAST'}")
    return exp.func("LIST_SORT", node.this.copy(), *map(exp.Literal.string, order))


def _collected(node: exp.Expr) -> exp.Expr:
    """Without rows the list is empty, to DuckDB NULL."""
    aggregate = node.this if isinstance(node, exp.Window | exp.Filter) else node
    aggregate = aggregate.this if isinstance(aggregate, exp.Filter) else aggregate
    is_part = isinstance(node.parent, exp.Window | exp.Filter) and node.arg_key == "this"
    if is_part or not isinstance(aggregate, exp.ArrayAgg | exp.ArrayUniqueAgg):
        return node
    return exp.func("COALESCE", node.copy(), exp.Array())


def _position(node: exp.Expr) -> exp.Expr:
    """Of an element that is missing it is 0, to DuckDB NULL."""
    place = exp.cast(exp.func("COALESCE", node.copy(), ZERO.copy()), "bigint")
    return exp.case().when(exp.and_(_is_known(node.this), _is_known(node.expression)), place)


def _contains(node: exp.Expr) -> exp.Expr:
    """Beside a NULL it is unknown whether a value is missing."""
    return exp.case().when(node.copy(), exp.true()).when(_has_null(node.this), exp.null()).else_(node.copy())


def _distinct(node: exp.Expr) -> exp.Expr:
    return _of_first(node.this, None)


def _except(node: exp.Expr) -> exp.Expr:
    missing = _place_in(node.expression).is_(exp.null())
    return exp.case().when(_is_known(node.expression), _of_first(node.this, missing))


def _intersect(node: exp.Expr) -> exp.Expr:
    one, *others = node.expressions
    there = exp.and_(*(_is_known(_place_in(other)) for other in others))
    return exp.case().when(exp.and_(*map(_is_known, others)), _of_first(one, there))


def _remove(node: exp.Expr) -> exp.Expr:
    element = exp.column(ELEMENT)
    stays = exp.or_(element.is_(exp.null()), exp.NEQ(this=element.copy(), expression=node.expression.copy()))
    return exp.case().when(_is_known(node.expression), _filtered(node.this, _lambda(stays, ELEMENT)))


def _flatten(node: exp.Expr) -> exp.Expr:
    return exp.case().when(exp.not_(exp.paren(_has_null(node.this))), node.copy())


def _sequence(node: exp.Expr) -> exp.Expr:
    """Without a step it counts down where it must."""
    if node.args.get("step"):
        return node
    down = node.copy()
    down.set("step", exp.Literal.number(-1))
    counts_up = exp.LTE(this=node.args["start"].copy(), expression=node.args["end"].copy())
    return exp.case().when(counts_up, node.copy()).else_(down)


def _of_first(values: exp.Expr, condition: exp.Expr | None) -> exp.Expr:
    """The different elements that a condition is true of, in the order in which each comes first."""
    is_first = exp.EQ(this=_place_in(values), expression=exp.column(PLACE))
    return _filtered(values, _lambda(exp.and_(is_first, condition), ELEMENT, PLACE))


def _place_in(values: exp.Expr) -> exp.Expr:
    """The place of an element among values, which may be NULL as the element may; NULL if it is missing."""
    return exp.func("LIST_POSITION", values.copy(), exp.column(ELEMENT))


def _filtered(values: exp.Expr, condition: exp.Expr) -> exp.Expr:
    return exp.func("LIST_FILTER", values.copy(), condition)


def _lambda(body: exp.Expr, *names: str) -> exp.Expr:
    return exp.Lambda(this=body, expressions=[exp.to_identifier(name) for name in names])


def _is_any(values: exp.Expr) -> exp.Expr:
    return exp.paren(exp.GT(this=exp.func("LEN", values), expression=ZERO.copy()))


def _has_null(values: exp.Expr) -> exp.Expr:
    return exp.NEQ(this=exp.func("LEN", values.copy()), expression=exp.func("LIST_COUNT", values.copy()))


def _is_known(value: exp.Expr) -> exp.Expr:
    return exp.not_(exp.paren(value.copy()).is_(exp.null()))


REWRITES: dict[type[exp.Expr], Callable[[exp.Expr], exp.Expr]] = {
    exp.Exists: _exists,
    exp.ArraySort: _sorted,
    exp.ArrayAgg: _collected,
    exp.ArrayUniqueAgg: _collected,
    exp.Filter: _collected,
    exp.Window: _collected,
    exp.ArrayPosition: _position,
    exp.ArrayContains: _contains,
    exp.ArrayDistinct: _distinct,
    exp.ArrayExcept: _except,
    exp.ArrayIntersect: _intersect,
    exp.ArrayRemove: _remove,
    exp.Flatten: _flatten,
    exp.GenerateSeries: _sequence,
}
