"""The expression language of rules: arithmetic, comparison, and / or / not over a documented set of names.

Python's parser reads the text, a white-list of syntax compiles it once into closures; nothing is ever evaluated as Python.
"""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable, Mapping
from typing import Final

from streamer.errors import DefinitionsError
from streamer.metrics.catalogue import CHAPTER_OF_SIGNAL, PATTERN_PREFIX
from streamer.metrics.counters import DIMENSIONS

Value = float | int | bool | str
Expression = Callable[[Mapping[str, Value]], Value]

_SIGNALS: Final = frozenset({"channel_switches", "repeat_contacts", "transfers", "cold_transfers", "effort_index"})
_WHO: Final = frozenset({"journey", "channel", "platform", "segment", "region"})

# What an entity rule may name. friction: signals in the instance (design section 6); value: revenue in major units; recent_switches:
# channel switches of the burst going on (`contacts.switch_within`); customer_*: over all open issues of the journey's customer;
# pattern_*: `pattern_` and the id of a [[pattern]] of the file.
ENTITY_NAMES: Final[dict[str, frozenset[str]]] = {
    "journey": _SIGNALS | _WHO | {"abandoned", "friction", "value", "step", "customer_contacts", "customer_switches"},
    "issue": _SIGNALS | (_WHO - {"journey"}) | {"contacts", "recent_switches", "severity", "reason"},
    "customer": _SIGNALS | {"contacts", "recent_switches", "handoffs", "ping_pongs", PATTERN_PREFIX + "*"} | frozenset(CHAPTER_OF_SIGNAL),
}
# What only an aggregate rule with a `baseline` may name: what is usual, and the value's distance from it.
BASELINE_NAMES: Final = frozenset({"baseline", "delta"})
# What an aggregate rule may name: the estimate, its interval, its sample, and the slice's labels.
AGGREGATE_NAMES: Final = frozenset({"value", "lower", "upper", "n", "k", *DIMENSIONS}) | BASELINE_NAMES

_BINARY: Final[dict[type[ast.operator], Callable[..., Value]]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip
_COMPARE: Final[dict[type[ast.cmpop], Callable[..., bool]]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip


def compile_expression(text: str, names: frozenset[str]) -> Expression:
    """A function from names to the expression's value. Raises DefinitionsError naming what is not understood."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as exc:
        raise DefinitionsError(f"cannot read the expression {text!r}: {exc}") from exc
    return _compile(tree.body, text, names)


def knows(names: frozenset[str], name: str) -> bool:
    """Whether a name is one of `names`."""
    return name in names or (name.startswith(PATTERN_PREFIX) and PATTERN_PREFIX + "*" in names)


def _compile(node: ast.expr, text: str, names: frozenset[str]) -> Expression:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return lambda env: value
        case ast.Name(id=name):
            if not knows(names, name):
                close = difflib.get_close_matches(name, names, 1)
                hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(names))}"
                raise DefinitionsError(f"unknown name {name!r} in {text!r}: {hint}")
            return lambda env: env[name]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _compile(operand, text, names)
            return lambda env: not inner(env)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _compile(operand, text, names)
            return lambda env: operator.neg(inner(env))  # type: ignore[arg-type]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            first, second, apply = _compile(left, text, names), _compile(right, text, names), _BINARY[type(op)]
            return lambda env: apply(first(env), second(env))
        case ast.BoolOp(op=op, values=values):
            parts = [_compile(value, text, names) for value in values]
            return _every(parts) if isinstance(op, ast.And) else _some(parts)
        case ast.Compare(left=left, ops=ops, comparators=rights) if all(type(op) in _COMPARE for op in ops):
            terms = [_compile(term, text, names) for term in [left, *rights]]
            steps = [_step(_COMPARE[type(op)], a, b) for op, a, b in zip(ops, terms, terms[1:], strict=False)]
            return steps[0] if len(steps) == 1 else _every(steps)
        case _:
            raise DefinitionsError(
                f"{ast.unparse(node)!r} in {text!r} is not part of the rule language (numbers, names, + - * /, comparisons, and, or, not)"
            )


def _step(test: Callable[..., bool], left: Expression, right: Expression) -> Expression:
    return lambda env: test(left(env), right(env))


def _every(parts: list[Expression]) -> Expression:
    # A plain loop: rules are evaluated at every change of a signal, and a generator would cost as much as the comparison.
    def every(env: Mapping[str, Value]) -> bool:
        for part in parts:  # noqa: SIM110
            if not part(env):
                return False
        return True

    return every


def _some(parts: list[Expression]) -> Expression:
    def some(env: Mapping[str, Value]) -> bool:
        for part in parts:  # noqa: SIM110
            if part(env):
                return True
        return False

    return some


def names_in(text: str) -> frozenset[str]:
    """The names an expression uses. `text` must have been compiled."""
    return frozenset(node.id for node in ast.walk(ast.parse(text.strip(), mode="eval")) if isinstance(node, ast.Name))
