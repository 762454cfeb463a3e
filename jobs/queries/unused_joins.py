"""Leave out of a view the joins of which a query names no column: Spark skips them, DuckDB runs them."""

from __future__ import annotations

from collections.abc import Set

from sqlglot import exp

Names = frozenset[str]


def named(query: exp.Query) -> Names | None:
    """Every name in a query, in lower case, also those of its columns; None if it may take columns without naming them.

    So it may by a star, by NATURAL, or by naming a table where a column could stand.
    """
    stars = [star for star in query.find_all(exp.Star) if not isinstance(star.parent, exp.Count)]
    natural = any(join.args.get("method") for join in query.find_all(exp.Join))
    tables = {table.alias_or_name.lower() for table in query.find_all(exp.Table)}
    columns = {column.name.lower() for column in query.find_all(exp.Column)}
    if stars or natural or tables & columns:
        return None
    return frozenset(identifier.name.lower() for identifier in query.find_all(exp.Identifier))


def without_unused(view: exp.Select, used: Set[str]) -> exp.Select:
    """A view's query, with NULL for what it takes from joins of whose columns none is used.

    Such a join must not change the number of rows: it is a left join with a query that is grouped by what
    it is joined on.
    """
    view = view.copy()
    for join in reversed([*(view.args.get("joins") or [])]):  # a later one may be joined on columns of an earlier one
        alias = join.alias_or_name
        given = [selected for selected in view.selects if _mentions(selected, alias)]
        elsewhere = [part for part in view.iter_expressions() if part not in (*view.selects, join)]
        is_used = any(selected.alias_or_name.lower() in used for selected in given)
        if is_used or not _gives_one_row(join, alias) or any(_mentions(part, alias) for part in elsewhere):
            continue
        for selected in given:
            selected.replace(exp.alias_(exp.null(), selected.alias_or_name, quoted=True))
        join.pop()
    return view


def _mentions(part: exp.Expr, alias: str) -> bool:
    return any(column.table == alias for column in part.find_all(exp.Column))


def _gives_one_row(join: exp.Join, alias: str) -> bool:
    """Whether a left join gives at most one row of its query for each row before it."""
    query, on = join.this.unnest(), join.args.get("on")
    if (join.side, join.kind) != ("LEFT", "") or not isinstance(query, exp.Select) or on is None:
        return False
    grouped = group.expressions if (group := query.args.get("group")) else []
    keys = {column.name for column in grouped if isinstance(column, exp.Column)}
    equal = on.flatten() if isinstance(on, exp.And) else [on]
    joined = {
        side.name
        for each in equal
        if isinstance(each, exp.EQ)
        for side in (each.this, each.expression)
        if isinstance(side, exp.Column) and side.table == alias
    }
    return bool(keys) and len(keys) == len(grouped) and keys <= joined
