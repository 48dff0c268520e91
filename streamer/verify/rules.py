"""Conditions of entity rules as SQL over the tables of `sql/entity_signals.sql`."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streamer.metrics.catalogue import PATTERN_PREFIX, chapter_of_signal
from streamer.verify.held_back import Run, firings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from streamer.definitions import Rule

_BINARY: Final[dict[type[ast.operator], str]] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_COMPARE: Final[dict[type[ast.cmpop], str]] = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "=", ast.NotEq: "<>"}
# What only the customer's issues change: of a journey's rules only those that name it are looked at with them.
_OF_ISSUES: Final = frozenset({"customer_contacts", "customer_switches"})
# The part of the signals on customers that is no chapter's and no pattern.
_CORE: Final = "core"
_PROGRESS: Final = frozenset({"step", "value"})
# The moments of one entity in their order, which of them are events', and when the last one's signals end, twice its milliseconds.
_BY_EVENT: Final = {"issue": "true", "customer": "phase > 4", "journey": "by_event"}
_LIFE: Final = {
    "issue": "PARTITION BY issue ORDER BY place",
    "customer": "PARTITION BY key ORDER BY t, phase > 4, place, phase",
    "journey": "PARTITION BY key, journey, instance ORDER BY nth",
}
_AT_LAST: Final = {"issue": "2 * ends", "customer": "9223372036854775807", "journey": "9223372036854775807"}
# What only an effort signal changes: without one an issue's rules that name nothing else are not looked at.
_EFFORT: Final = frozenset({"channel_switches", "recent_switches", "repeat_contacts", "transfers", "cold_transfers", "effort_index"})
_ENTITY: Final = {"issue": "'', name", "customer": "'', ''", "journey": "journey, name"}


def obstacle(rule: Rule) -> str:
    """Why an entity rule cannot be recounted, empty if it can."""
    if rule.mode == "off":
        return "a rule that is off is not evaluated"
    return ""


class Holding(NamedTuple):
    """A moment at which a rule's condition holds: of whom, when, with which signals.

    looked_at: the rule is evaluated then. since, until: from when until when the signals are these; what is held back until a time is
    looked at between its deadlines and its events, so that these are twice the milliseconds, and one more at an event.
    """

    key: str
    journey: str
    name: str
    time_ms: int
    signals: dict[str, Any]
    looked_at: bool = True
    since: int = 0
    until: int = 0


class Spell(NamedTuple):
    """From a rule's firing until it ends; None: it has not ended. held_back: it held before already.

    signals: at its end, None if the entity ended: then they are those last told. told, taken_back: only the processors' side has these.
    """

    key: str
    journey: str
    name: str
    time_ms: int
    until_ms: int | None
    held_back: bool = False
    signals: Mapping[str, Any] | None = None
    told: Mapping[str, Any] | None = None
    taken_back: bool = False


class Refusal(NamedTuple):
    """From when a customer refuses analytics until when, None if still at the end."""

    since_ms: int
    until_ms: int | None

    def has(self, time_ms: int) -> bool:
        """Whether it is in force before and after a moment."""
        return self.since_ms < time_ms and (self.until_ms is None or time_ms < self.until_ms)


def refusals(fetched: Callable[[str], Iterable[tuple[Any, ...]]]) -> dict[str, list[Refusal]]:
    """By customer. Of what was said that is newest which was said last, whenever it was heard."""
    found: dict[str, list[Refusal]] = {}
    newest: dict[str, tuple[int, int]] = {}
    for key, time_ms, consents, *said in fetched("SELECT key, t, analytics, happened, off FROM consents ORDER BY t, place, off"):
        if tuple(said) < newest.get(key, (-1, -1)):
            continue
        newest[key] = (said[0], said[1])
        spans = found.setdefault(key, [])
        refuses = bool(spans) and spans[-1].until_ms is None
        if refuses and consents:
            spans[-1] = Refusal(spans[-1].since_ms, time_ms)
        elif not refuses and not consents:
            spans.append(Refusal(time_ms, None))
    return {key: spans for key, spans in found.items() if spans}


def names_of(rule: Rule) -> list[str]:
    """The signals that an alert of the rule carries."""
    return sorted(in_condition(rule) | set(rule.show))


def in_condition(rule: Rule) -> set[str]:
    """The signals that its condition names: an alert is amended when one of them changes."""
    return {node.id for node in ast.walk(_condition(rule)) if isinstance(node, ast.Name)}


def _condition(rule: Rule) -> ast.expr:
    return ast.parse(rule.when.strip(), mode="eval").body


def _evaluated(rule: Rule) -> str:
    kind, names = rule.entity or "customer", in_condition(rule)
    if kind == "issue":
        return "has_effort" if names <= _EFFORT else "true"
    if kind == "journey":
        goes_on = " OR goes_on" if names & _PROGRESS else ""
        return f"NOT coalesce(ends_it, false) AND (looked_at{goes_on})" + ("" if names & _OF_ISSUES else " AND NOT of_issues")
    parts = sorted({chapter_of_signal(name) or _CORE for name in names_of(rule)} or {_CORE})
    # Of whom nothing is known that it names, nothing holds.
    known = "least(" + ", ".join(f"first_looks['{part}']" for part in parts) + ") <= place"
    # A repetition that leaves its window changes nothing that chapters and patterns say.
    return f"looked_at AND {known}" + ("" if _CORE in parts else " AND phase <> 2")


def holdings(rule: Rule, fetched: Callable[[str], Iterable[tuple[Any, ...]]]) -> list[Holding]:
    """Every moment at which the rule holds, in the order of time."""
    kind, names = rule.entity or "customer", names_of(rule)
    condition = as_sql(_condition(rule))
    columns = ", ".join([_ENTITY[kind], "key", "t", *(f'"{name}"' for name in names)])
    moments = (
        f"SELECT *, ({_evaluated(rule)}) AND NOT refused AS is_looked_at, 2 * t + ({_BY_EVENT[kind]})::INT AS since,"  # noqa: S608
        f" coalesce(lead(since) OVER life, {_AT_LAST[kind]}) AS until, row_number() OVER life AS in_life{_patterns(names)}"
        f" FROM {kind}_moments WINDOW life AS ({_LIFE[kind]})"
    )
    query = (
        f"SELECT {columns}, is_looked_at, since, until FROM ({moments})"  # noqa: S608
        f" WHERE {condition} ORDER BY t, place, in_life"
    )
    return [
        Holding(key, journey, name, t, dict(zip(names, values, strict=True)), looked_at, since, until)
        for journey, name, key, t, *values, looked_at, since, until in fetched(query)
    ]


def _patterns(names: Iterable[str]) -> str:
    return "".join(
        f", coalesce(patterns['pattern {name.removeprefix(PATTERN_PREFIX)}'], 0) AS \"{name}\""
        for name in names
        if name.startswith(PATTERN_PREFIX)
    )


def spells(rule: Rule, timezone: str, fetched: Callable[[str], Iterable[tuple[Any, ...]]]) -> list[Spell]:
    """Every firing of the rule and its end: while it holds without a break, but not before nothing holds it back."""
    kind = rule.entity or "customer"
    condition, names = as_sql(_condition(rule)), names_of(rule)
    columns = "".join(f', "{name}"' for name in names)
    moments = f"SELECT *{_patterns(names)} FROM {kind}_lives WHERE over OR {_evaluated(rule)}"  # noqa: S608
    judged = f"SELECT *, coalesce(({condition}) AND NOT refused AND NOT over, false) AS holds FROM ({moments})"  # noqa: S608
    query = (
        f"SELECT key, {_ENTITY[kind]}, t, by_event, holds, before, over, life{columns}"  # noqa: S608
        f" FROM (SELECT *, lag(holds, 1, false) OVER of_one AS held, lag(t) OVER of_one AS before FROM ({judged})"
        " WINDOW of_one AS (PARTITION BY key, journey, life ORDER BY nth))"
        " WHERE holds <> held ORDER BY key, journey, life, nth"
    )
    runs: dict[tuple[str, str, str], list[Run]] = {}
    for key, journey, name, t, by_event, holds, before, over, _, *values in fetched(query):
        of_entity = runs.setdefault((key, journey, name), [])
        if holds:
            of_entity.append(Run(t, None, looked_at=t))
        else:
            signals = None if over else dict(zip(names, values, strict=True))
            of_entity[-1] = Run(of_entity[-1].begin, t, t if by_event else before, signals)
    [(clock_ms,)] = fetched("SELECT clock FROM settings")
    return [
        Spell(key, journey, name, at, run.end, at > run.begin, run.signals)
        for (key, journey, name), several in runs.items()
        for at, run in firings(several, rule, timezone, clock_ms)
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
