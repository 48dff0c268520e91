"""Conditions of entity rules as SQL over the tables of `sql/entity_signals.sql`."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streamer.metrics.catalogue import PATTERN_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from streamer.definitions import Rule

_BINARY: Final[dict[type[ast.operator], str]] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_COMPARE: Final[dict[type[ast.cmpop], str]] = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "=", ast.NotEq: "<>"}
# Which rows of a table of moments a rule is evaluated at, besides that analytics is not refused.
_EVALUATED: Final = {"issue": "true", "customer": "looked_at", "journey": "NOT coalesce(ends_it, false)"}
# Until the next moment nothing changes.
_UNTIL: Final = {"customer": "lead(t, 1, 9223372036854775807) OVER (PARTITION BY key ORDER BY t, phase > 4, place, phase)"}
_ENTITY: Final = {"issue": "'', name", "customer": "'', ''", "journey": "journey, name"}


def obstacle(rule: Rule) -> str:
    """Why an entity rule cannot be recounted, empty if it can."""
    if rule.mode == "off":
        return "a rule that is off is not evaluated"
    if rule.quiet or rule.max_per_day:
        return "the recount does not know quiet hours and daily maxima"
    return ""


class Holding(NamedTuple):
    """A moment at which a rule's condition holds: of whom, when, with which signals, and of customers until when nothing changes."""

    key: str
    journey: str
    name: str
    time_ms: int
    signals: dict[str, Any]
    until_ms: int = 0


def names_of(rule: Rule) -> list[str]:
    """The signals that an alert of the rule carries."""
    named = {node.id for node in ast.walk(ast.parse(rule.when.strip(), mode="eval")) if isinstance(node, ast.Name)}
    return sorted(named | set(rule.show))


def holdings(rule: Rule, fetched: Callable[[str], Iterable[tuple[Any, ...]]]) -> list[Holding]:
    """Every moment at which the rule holds, in the order of time."""
    kind, names = rule.entity or "customer", names_of(rule)
    condition = as_sql(ast.parse(rule.when.strip(), mode="eval").body)
    columns = ", ".join([_ENTITY[kind], "key", "t", *(f'"{name}"' for name in names)])
    patterns = "".join(
        f", coalesce(patterns['pattern {name.removeprefix(PATTERN_PREFIX)}'], 0) AS \"{name}\""
        for name in names
        if name.startswith(PATTERN_PREFIX)
    )
    query = (
        f"SELECT {columns}, until FROM (SELECT *, {_UNTIL.get(kind, '0')} AS until{patterns} FROM {kind}_moments WHERE {_EVALUATED[kind]})"  # noqa: S608
        f" WHERE ({condition}) AND NOT refused ORDER BY t, place"
    )
    return [
        Holding(key, journey, name, t, dict(zip(names, values, strict=True)), until)
        for journey, name, key, t, *values, until in fetched(query)
    ]


def as_sql(node: ast.expr) -> str:
    """The condition; the definitions file has been checked to hold nothing else. A division by zero is no value: it does not hold."""
    match node:
        case ast.Constant(value=bool(value)):
            return str(value).lower()
        case ast.Constant(value=str(text)):
            return "'" + text.replace("'", "''") + "'"
        case ast.Constant(value=value):
            return repr(value)
        case ast.Name(id=name):
            return f'"{name}"'
        case ast.BoolOp(op=op, values=values):
            return "(" + (" AND " if isinstance(op, ast.And) else " OR ").join(as_sql(value) for value in values) + ")"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return f"(NOT {as_sql(operand)})"
        case ast.UnaryOp(operand=operand):
            return f"(-{as_sql(operand)})"
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return f"({as_sql(left)} / nullif({as_sql(right)}, 0))"
        case ast.BinOp(left=left, op=binary, right=right):
            return f"({as_sql(left)} {_BINARY[type(binary)]} {as_sql(right)})"
        case ast.Compare(left=first, ops=ops, comparators=others):
            sides = [as_sql(side) for side in (first, *others)]
            return "(" + " AND ".join(f"{a} {_COMPARE[type(op)]} {b}" for a, op, b in zip(sides, ops, sides[1:], strict=False)) + ")"
        case _:
            raise AssertionError(f"no condition has this: {ast.dump(node)}")
