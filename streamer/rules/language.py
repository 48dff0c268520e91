"""The expression language of rules: arithmetic, comparison, and / or / not over a documented set of names.

Python's parser reads the text, a white-list of syntax compiles it once into closures; nothing is ever evaluated as Python.
An expression is small: its length, depth and constants are limited, and arithmetic is for numbers, so that none can take
memory or time that matters.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final, Protocol

from streamer.errors import DefinitionsError
from streamer.metrics.catalogue import CHAPTER_OF_SIGNAL, PATTERN_PREFIX
from streamer.metrics.counters import DIMENSIONS
from streamer.suggestions import hint, quoted

Value = float | int | bool | str


class Readable(Protocol):
    """What names stand for: a dictionary, or what looks a value up when it is asked for one."""

    def __getitem__(self, name: str, /) -> Value:
        """The value of a name."""
        ...


Expression = Callable[[Readable], Value]
# None: it depends on what is not known yet.
Foreseen = Callable[[Readable], Value | None]

_SIGNALS: Final = frozenset({"channel_switches", "repeat_contacts", "transfers", "cold_transfers", "effort_index"})
_WHO: Final = frozenset({"journey", "channel", "platform", "segment", "region"})

# What an entity rule may name. friction: signals in the instance (design section 6); value: revenue in major units; recent_switches:
# channel switches of the burst going on (`contacts.switch_within`); customer_*: over all open issues of the journey's customer;
# pattern_*: `pattern_` and the id of a [[pattern]] of the file.
ENTITY_NAMES: Final[dict[str, frozenset[str]]] = {
    "journey": _SIGNALS | _WHO | {"abandoned", "friction", "value", "step", "customer_contacts", "customer_switches"},
    "issue": _SIGNALS | (_WHO - {"journey"}) | {"contacts", "recent_switches", "severity", "reason"},
    "customer": (
        _SIGNALS
        | {"contacts", "recent_switches", "handoffs", "ping_pongs", "ping_pongs_of_case", PATTERN_PREFIX + "*"}
        | frozenset(CHAPTER_OF_SIGNAL)
    ),
}
# What only an aggregate rule with a `baseline` may name: what is usual, and the value's distance from it.
BASELINE_NAMES: Final = frozenset({"baseline", "delta"})
# What an aggregate rule may name: the estimate, its interval, its sample, and the slice's labels.
AGGREGATE_NAMES: Final = frozenset({"value", "lower", "upper", "n", "k", *DIMENSIONS}) | BASELINE_NAMES

# What an expression may be at most. The default rules have up to 60 characters, 4 levels and numbers below 10,000.
LENGTH_MAX: Final = 1_000
DEPTH_MAX: Final = 30
NUMBER_MAX: Final = 10**15
# An expression has no value for these numbers: a division by zero, a text compared with a number, a number beyond all bounds.
NO_VALUE: Final = (TypeError, ZeroDivisionError, OverflowError)

SYNTAX: Final = "numbers, texts, names, + - * /, comparisons, and, or, not"


def _of_numbers(apply: Callable[..., Value]) -> Callable[..., Value]:
    """Arithmetic: `'a' * 10` is a mistake, and could take all the memory there is."""

    def applied(left: Value, right: Value) -> Value:
        if isinstance(left, str) or isinstance(right, str):
            raise TypeError("arithmetic is for numbers")
        return apply(left, right)

    return applied


def _negated(value: Value) -> Value:
    if isinstance(value, str):
        raise TypeError("arithmetic is for numbers")
    return -value


_BINARY: Final[dict[type[ast.operator], Callable[..., Value]]] = {
    ast.Add: _of_numbers(operator.add), ast.Sub: _of_numbers(operator.sub), ast.Mult: _of_numbers(operator.mul),
    ast.Div: _of_numbers(operator.truediv),
}  # fmt: skip
_COMPARE: Final[dict[type[ast.cmpop], Callable[..., bool]]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip


# The same few texts are compiled again by every owner of a partition and at every reload.
@lru_cache(maxsize=4_096)
def compile_expression(text: str, names: frozenset[str]) -> Expression:
    """A function from names to the expression's value, which may raise `NO_VALUE` and nothing else if all names have values.

    Raises DefinitionsError naming everything that is not understood.
    """
    found = list(faults(text, names))
    if found:
        raise DefinitionsError("; ".join(found))
    return _compile(parse(text))


@lru_cache(maxsize=4_096)
def foresee(text: str, known: frozenset[str]) -> Foreseen:
    """As `compile_expression`, of these names alone. `text` must have been compiled."""
    return _foreseen(parse(text), known)


def faults(text: str, names: frozenset[str]) -> Iterator[str]:
    """Everything that is wrong with an expression, a sentence each."""
    try:
        tree = parse(text)
    except DefinitionsError as exc:
        yield str(exc)
        return
    unknown = set()
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        fault = _fault(node)
        if fault is not None:
            yield f"{fault} in {quoted(text.strip())}"
            continue
        if isinstance(node, ast.Name) and node.id not in unknown and not knows(names, node.id):
            unknown.add(node.id)
            yield f"unknown name {quoted(node.id)} in {quoted(text.strip())}: {hint(node.id, names, 'docs/how-to/write-rules.md')}"
        nodes += reversed(_operands(node))


def parse(text: str) -> ast.expr:
    """The syntax tree of an expression that is not too large. Raises DefinitionsError."""
    if len(text) > LENGTH_MAX:
        raise DefinitionsError(f"the expression has {len(text)} characters, at most {LENGTH_MAX} are allowed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what Python merely warns about, as `1or 2`, is an error here
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as exc:
        reason = exc.msg if isinstance(exc, SyntaxError) else str(exc)
        raise DefinitionsError(f"cannot read the expression {quoted(text.strip())}: {reason or 'it is nested too deeply'}") from exc
    if _depth(tree) > DEPTH_MAX:
        raise DefinitionsError(f"the expression {quoted(text.strip())} is nested more than {DEPTH_MAX} levels deep")
    return tree


def knows(names: frozenset[str], name: str) -> bool:
    """Whether a name is one of `names`."""
    return name in names or (name.startswith(PATTERN_PREFIX) and PATTERN_PREFIX + "*" in names)


def _depth(tree: ast.expr) -> int:
    """Level by level, because what is too deep cannot be walked by recursion."""
    depth, level = 0, [tree]
    while level and depth <= DEPTH_MAX:
        depth += 1
        level = [child for node in level for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    return depth


def _operands(node: ast.expr) -> list[ast.expr]:
    return [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]


def _fault(node: ast.expr) -> str | None:
    """What is wrong with a node itself."""
    match node:
        case ast.Constant(value=bool() | str()) | ast.Name() | ast.BoolOp() | ast.UnaryOp(op=ast.Not() | ast.USub()):
            return None
        case ast.Constant(value=int() | float() as value):
            return None if math.isfinite(value) and abs(value) <= NUMBER_MAX else f"a number beyond {NUMBER_MAX:.0e}"
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            texts = [part for part in (left, right) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
            return "arithmetic with a text" if texts else None
        case ast.Compare(ops=ops) if all(type(op) in _COMPARE for op in ops):
            return None
        case _:
            return f"{quoted(ast.unparse(node))} is not part of the rule language ({SYNTAX})"


def _compile(node: ast.expr) -> Expression:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return lambda env: value
        case ast.Name(id=name):
            return lambda env: env[name]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _compile(operand)
            return lambda env: not inner(env)
        case ast.UnaryOp(operand=operand):
            inner = _compile(operand)
            return lambda env: _negated(inner(env))
        case ast.BinOp(left=left, op=op, right=right):
            first, second, apply = _compile(left), _compile(right), _BINARY[type(op)]
            return lambda env: apply(first(env), second(env))
        case ast.BoolOp(op=op, values=values):
            parts = [_compile(value) for value in values]
            return _every(parts) if isinstance(op, ast.And) else _some(parts)
        case ast.Compare(left=left, ops=ops, comparators=rights):
            terms = [_compile(term) for term in [left, *rights]]
            steps = [_step(_COMPARE[type(op)], a, b) for op, a, b in zip(ops, terms, terms[1:], strict=False)]
            return steps[0] if len(steps) == 1 else _every(steps)
        case _:
            raise AssertionError(f"{node} was not looked at by `faults`")


def _step(test: Callable[..., bool], left: Expression, right: Expression) -> Expression:
    return lambda env: test(left(env), right(env))


def _every(parts: list[Expression]) -> Expression:
    # A plain loop: rules are evaluated at every change of a signal, and a generator would cost as much as the comparison.
    def every(env: Readable) -> bool:
        for part in parts:  # noqa: SIM110
            if not part(env):
                return False
        return True

    return every


def _some(parts: list[Expression]) -> Expression:
    def some(env: Readable) -> bool:
        for part in parts:  # noqa: SIM110
            if part(env):
                return True
        return False

    return some


def _foreseen(node: ast.expr, known: frozenset[str]) -> Foreseen:
    match node:
        case ast.BoolOp(op=op, values=values):
            return _decided([_foreseen(value, known) for value in values], decisive=isinstance(op, ast.Or))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _foreseen(operand, known)
            return lambda env: None if (value := inner(env)) is None else not value
        case _:
            return _if_it_has_one(_compile(node)) if _names(node) <= known else lambda env: None


def _decided(parts: list[Foreseen], *, decisive: bool) -> Foreseen:
    """One false part decides `and`, one true part `or`, wherever it stands."""

    def decided(env: Readable) -> bool | None:
        values = [part(env) for part in parts]
        if any(value is not None and bool(value) is decisive for value in values):
            return decisive
        return None if None in values else not decisive

    return decided


def _if_it_has_one(expression: Expression) -> Foreseen:
    def value(env: Readable) -> Value | None:
        try:
            return expression(env)
        except NO_VALUE:
            return None

    return value


@lru_cache(maxsize=4_096)
def names_in(text: str) -> frozenset[str]:
    """The names an expression uses. `text` must have been compiled."""
    return _names(parse(text))


def _names(tree: ast.expr) -> frozenset[str]:
    return frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
