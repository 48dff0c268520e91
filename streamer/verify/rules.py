"""Conditions of entity rules as SQL over the tables of `sql/entity_signals.sql`."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streamer.metrics.catalogue import PATTERN_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from streamer.definitions import Rule

_BINARY: Final[dict[type[ast.operator], str]] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_COMPARE: Final[dict[type[ast.cmpop], str]] = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "=", ast.NotEq: "<>"}
# Which rows of a table of moments a rule is evaluated at, besides that analytics is not refused.
_EVALUATED: Final = {"issue": "true", "customer": "looked_at", "journey": "NOT coalesce(ends_it, false)"}
# Until the next moment nothing changes.
_UNTIL: Final = {"customer": "lead(t, 1, 9223372036854775807) OVER (PARTITION BY key ORDER BY t, phase > 4, place, phase)"}
# What only an effort signal changes: without one an issue's rules that name nothing else are not looked at.
_EFFORT: Final = frozenset({"channel_switches", "recent_switches", "repeat_contacts", "transfers", "cold_transfers", "effort_index"})
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


class Spell(NamedTuple):
    """From a rule's firing until it ends; None: it has not ended."""

    key: str
    journey: str
    name: str
    time_ms: int
    until_ms: int | None


def names_of(rule: Rule) -> list[str]:
    """The signals that an alert of the rule carries."""
    return sorted(_in_condition(rule) | set(rule.show))


def _in_condition(rule: Rule) -> set[str]:
    return {node.id for node in ast.walk(_condition(rule)) if isinstance(node, ast.Name)}


def _condition(rule: Rule) -> ast.expr:
    return ast.parse(rule.when.strip(), mode="eval").body


def _evaluated(rule: Rule) -> str:
    kind = rule.entity or "customer"
    return "has_effort" if kind == "issue" and _in_condition(rule) <= _EFFORT else _EVALUATED[kind]


def holdings(rule: Rule, fetched: Callable[[str], Iterable[tuple[Any, ...]]]) -> list[Holding]:
    """Every moment at which the rule holds, in the order of time."""
    kind, names = rule.entity or "customer", names_of(rule)
    condition = as_sql(_condition(rule))
    columns = ", ".join([_ENTITY[kind], "key", "t", *(f'"{name}"' for name in names)])
    moments = f"SELECT *, {_UNTIL.get(kind, '0')} AS until{_patterns(names)} FROM {kind}_moments WHERE {_evaluated(rule)}"  # noqa: S608
    query = f"SELECT {columns}, until FROM ({moments}) WHERE ({condition}) AND NOT refused ORDER BY t, place"  # noqa: S608
    return [
        Holding(key, journey, name, t, dict(zip(names, values, strict=True)), until)
        for journey, name, key, t, *values, until in fetched(query)
    ]


def _patterns(names: Iterable[str]) -> str:
    return "".join(
        f", coalesce(patterns['pattern {name.removeprefix(PATTERN_PREFIX)}'], 0) AS \"{name}\""
        for name in names
        if name.startswith(PATTERN_PREFIX)
    )


def spells(rule: Rule, fetched: Callable[[str], Iterable[tuple[Any, ...]]]) -> list[Spell]:
    """Every firing of the rule and its end: while it holds without a break, but not before the cooldown since the one before is over."""
    kind = rule.entity or "customer"
    condition = as_sql(_condition(rule))
    moments = f"SELECT *{_patterns(names_of(rule))} FROM {kind}_lives WHERE over OR {_evaluated(rule)}"  # noqa: S608
    judged = f"SELECT *, coalesce(({condition}) AND NOT refused AND NOT over, false) AS holds FROM ({moments})"  # noqa: S608
    query = (
        f"SELECT key, {_ENTITY[kind]}, t, by_event, holds, life"  # noqa: S608
        f" FROM (SELECT *, lag(holds, 1, false) OVER (PARTITION BY key, journey, life ORDER BY nth) AS held FROM ({judged}))"
        " WHERE holds <> held ORDER BY key, journey, life, nth"
    )
    runs: dict[tuple[str, str, str], list[_Run]] = {}
    for key, journey, name, t, by_event, holds, _ in fetched(query):
        of_entity = runs.setdefault((key, journey, name), [])
        if holds:
            of_entity.append(_Run(t, None, ends_by_event=False))
        else:
            of_entity[-1] = _Run(of_entity[-1].begin, t, ends_by_event=by_event)
    [(clock_ms,)] = fetched("SELECT clock FROM settings")
    return [
        Spell(key, journey, name, begin, end)
        for (key, journey, name), several in runs.items()
        for begin, end in _allowed(several, rule.cooldown, clock_ms)
    ]


class _Run(NamedTuple):
    """From the moment at which a condition comes true until that at which it no longer holds, None if that has not come."""

    begin: int
    end: int | None
    ends_by_event: bool


def _allowed(runs: Iterable[_Run], cooldown_ms: int, clock_ms: int) -> Iterator[tuple[int, int | None]]:
    """What was held back is looked at again after the deadlines of the moment that allows it, and before its events."""
    allowed = 0
    for run in sorted(runs, key=lambda run: run.begin):
        at = max(run.begin, allowed)
        holds = run.end is None or at < run.end or (at == run.end and run.ends_by_event)
        if at == run.begin or (holds and at <= clock_ms):
            yield at, run.end
            allowed = at + cooldown_ms


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
