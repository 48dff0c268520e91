"""What decides a rule: its single conditions with how far each is from turning over, and the nearest number that would have changed all.

Pure; compile an `Explainer` once per rule and ask it for each set of values.

    >>> explainer = Explainer("abandoned and friction >= 2", frozenset({"abandoned", "friction"}))
    >>> explainer.counterfactual({"abandoned": True, "friction": 3})
    'It would not have fired with `friction` at 1 or less (it was 3).'
"""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from streamer.rules import language
from streamer.rules.language import Expression, Value
from streamer.rules.roots import Curve, curve_of, difference, roots

Env = Mapping[str, Value]

# The user's expression has no value for these numbers (a division by zero, a word compared with a number, a name without a value).
NO_VALUE: Final = (KeyError, *language.NO_VALUE)

_OPERATORS: Final[dict[type[ast.cmpop], tuple[str, str, str]]] = {  # as written, turned over, with its sides exchanged
    ast.Lt: ("<", ">=", ">"), ast.LtE: ("<=", ">", ">="), ast.Gt: (">", "<=", "<"), ast.GtE: (">=", "<", "<="),
    ast.Eq: ("==", "!=", "=="), ast.NotEq: ("!=", "==", "!="),
}  # fmt: skip
# Steps beyond a bound, relative to it: the smallest that the rounding of the expression's arithmetic lets through is taken.
_STEPS: Final = (1e-15, 1e-12, 1e-9, 1e-6)
# Sentences that are remembered, per rule.
_TOLD_MAX: Final = 1_000
# Integers beyond are not told apart by floating point.
_WHOLE_MAX: Final = 2.0**53


class Condition(NamedTuple):
    """One comparison (or one name that is true or false) of a rule.

    text: with `not` worked into it. holds: False also if it has no value. value: the side with the names; threshold: the other side, 0
    of a number taken as true or false. distance: between these two, None if they are no numbers.
    """

    text: str
    holds: bool
    value: Value | None
    threshold: Value | None
    distance: float | None


class Change(NamedTuple):
    """One number that would turn the whole over. to: a value that does; bound: the one it lies at or beyond; where: in words."""

    name: str
    value: float
    to: float
    bound: float
    where: str

    @property
    def size(self) -> tuple[float, float]:
        """By which changes are compared: relative to the greater of the two numbers, then absolute."""
        apart = abs(self.to - self.value)
        return apart / max(abs(self.to), abs(self.value)), apart


class _Leaf(NamedTuple):
    """A condition, compiled."""

    text: str
    negated: bool
    test: Expression
    left: Expression
    right: Expression | None


class _Branch(NamedTuple):
    kind: Literal["and", "or"]
    parts: tuple[_Branch | int, ...]  # an int is the place of a leaf


class Explainer:
    """Explains one expression of the rule language. Raises DefinitionsError as `language.compile_expression` does."""

    def __init__(self, text: str, names: frozenset[str]) -> None:
        self.text = text
        self._names = names
        self._holds = language.compile_expression(text, names)
        self._leaves: list[_Leaf] = []
        self._curves: list[tuple[frozenset[str], Curve]] = []  # each changes its sign where a condition turns over; and the names in it
        body = ast.parse(text.strip(), mode="eval").body
        self._tree = self._grow(body, negated=False)
        self._numbers = sorted(_names(body))
        self._told: dict[tuple[tuple[type, Value], ...], str] = {}

    def holds(self, env: Env) -> bool:
        """Whether the expression holds; one without a value does not."""
        try:
            return bool(self._holds(env))
        except NO_VALUE:
            return False

    def conditions(self, env: Env) -> list[Condition]:
        """The single conditions in the order of the text."""
        return [_condition(leaf, env) for leaf in self._leaves]

    def nearest(self, env: Env) -> Change | None:
        """The least change of one number that turns the whole over, relative to the number; None if no single one does.

        Whole numbers stay whole and do not go below 0; true, false and text stay as they are.
        """
        changes = [change for name in self._numbers if (change := self._change(env, name)) is not None]
        return min(changes, key=lambda change: (*change.size, change.name), default=None)

    def decisive(self, env: Env) -> list[Condition]:
        """The fewest conditions that must turn over together so that the whole does; in the order of the text."""
        conditions = self.conditions(env)
        holding = self.holds(env)
        wanted = _to_turn(self._tree, [condition.holds for condition in conditions], holding=holding)
        return [conditions[place] for place in wanted] or [condition for condition in conditions if condition.value is None]

    def counterfactual(self, env: Env) -> str:
        """One sentence: what would have had to be different for it not to fire, or, if it does not hold, for it to fire."""
        # Customers meet a rule with few different numbers, and the search for the nearest change takes as long as folding an event.
        # With the types, because 1, 1.0 and True are equal and told differently.
        key = tuple([(type(env[name]), env[name]) for name in self._numbers if name in env])
        known = self._told.get(key)
        if known is None:
            if len(self._told) >= _TOLD_MAX:
                self._told.clear()
            known = self._told[key] = self.counterfactual_over({"": env})
        return known

    def counterfactual_over(self, windows: Mapping[str, Env]) -> str:
        """The same of a rule that fires while its expression holds in all windows; keys are what the sentence calls them."""
        failing = {name: env for name, env in windows.items() if not self.holds(env)}
        if failing:
            return _sentence("It would have fired", [(name, self.nearest(env), self.decisive(env)) for name, env in failing.items()])
        found = [(name, self.nearest(env), self.decisive(env)) for name, env in windows.items()]
        return _sentence("It would not have fired", [min(found, key=_effort)] if found else [])

    def _grow(self, node: ast.expr, *, negated: bool) -> _Branch | int:
        """The tree of and / or over conditions, negations worked into the leaves."""
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self._grow(operand, negated=not negated)
            case ast.BoolOp(op=op, values=values):
                kind: Literal["and", "or"] = "and" if isinstance(op, ast.And) is not negated else "or"
                return _Branch(kind, tuple([self._grow(value, negated=negated) for value in values]))
            case ast.Compare(left=left, ops=ops, comparators=rights):
                terms = [left, *rights]
                self._watch(node)
                leaves = [self._compare(a, op, b, negated=negated) for op, a, b in zip(ops, terms, rights, strict=False)]
                return leaves[0] if len(leaves) == 1 else _Branch("or" if negated else "and", tuple(leaves))
        text = ast.unparse(node)
        number = self._compiled(node)
        self._watch(node)
        self._curves.append((_names(node), self._curve(node)))
        return self._add(_Leaf(f"not {text}" if negated else text, negated, number, number, None))

    def _compare(self, left: ast.expr, op: ast.cmpop, right: ast.expr, *, negated: bool) -> int:
        written, turned, exchanged = _OPERATORS[type(op)]
        test = self._compiled(ast.Compare(left, [op], [right]))
        if _names(right) and not _names(left):  # 5 <= contacts
            left, right, written = right, left, exchanged
            turned = next(entry[1] for entry in _OPERATORS.values() if entry[0] == written)
        text = f"{ast.unparse(left)} {turned if negated else written} {ast.unparse(right)}"
        return self._add(_Leaf(text, negated, test, self._compiled(left), self._compiled(right)))

    def _add(self, leaf: _Leaf) -> int:
        self._leaves.append(leaf)
        return len(self._leaves) - 1

    def _watch(self, node: ast.expr) -> None:
        """Note where the comparisons in it turn over, also those among summands."""
        for part in ast.walk(node):
            if isinstance(part, ast.Compare):
                for left, right in itertools.pairwise([part.left, *part.comparators]):
                    self._curves.append((_names(left) | _names(right), difference(self._curve(left), self._curve(right))))

    def _compiled(self, node: ast.expr) -> Expression:
        return language.compile_expression(ast.unparse(node), self._names)

    def _curve(self, node: ast.expr) -> Curve:
        return curve_of(node, self._compiled)

    def _change(self, env: Env, name: str) -> Change | None:
        """The nearest value of one name that turns the whole over."""
        value = env.get(name)
        if value is None or isinstance(value, (bool, str)) or not -_WHOLE_MAX < value < _WHOLE_MAX:
            return None
        around = _whole_around if isinstance(value, int) else _around
        least = 0.0 if isinstance(value, int) and value >= 0 else -math.inf
        bound_of = {to: bound for bound in sorted(set(self._bounds(env, name))) for to in around(bound) if to >= least}
        holding = self.holds(env)
        found = []
        for side in (sorted(to for to in bound_of if to > value), sorted((to for to in bound_of if to < value), reverse=True)):
            turned = [self.holds({**env, name: to}) is not holding for to in side]
            if True in turned:
                first = turned.index(True)
                to = side[first]
                found.append(Change(name, value, to, bound_of[to], _where(value, to, bound_of[to], open_ended=all(turned[first:]))))
        return min(found, key=lambda change: change.size, default=None)

    def _bounds(self, env: Env, name: str) -> Iterator[float]:
        for names, curve in self._curves:
            if name in names:
                try:
                    found = list(roots(curve(env, name)))
                except (*NO_VALUE, ValueError):
                    continue
                yield from (root for root in found if math.isfinite(root) and abs(root) < _WHOLE_MAX)


@lru_cache(maxsize=4_096)
def explainer_of(text: str, names: frozenset[str]) -> Explainer:
    """The explainer of an expression, made when it is asked for first: that takes longer than all the rest of a rule."""
    return Explainer(text, names)


def _names(node: ast.expr) -> frozenset[str]:
    return frozenset(part.id for part in ast.walk(node) if isinstance(part, ast.Name))


def _condition(leaf: _Leaf, env: Env) -> Condition:
    try:
        value = leaf.left(env)
        threshold = leaf.right(env) if leaf.right is not None else None if isinstance(value, (bool, str)) else 0
        holds = bool(leaf.test(env)) is not leaf.negated
        distance = None if isinstance(value, (bool, str)) or threshold is None or isinstance(threshold, (bool, str)) else value - threshold
    except NO_VALUE:
        return Condition(leaf.text, holds=False, value=None, threshold=None, distance=None)
    return Condition(leaf.text, holds, value, threshold, None if distance is None else abs(distance))


def _to_turn(tree: _Branch | int, holds: Sequence[bool], *, holding: bool) -> list[int]:
    """Places of the fewest conditions to turn over, so that a tree that is `holding` is not, or the other way round."""
    if isinstance(tree, int):
        return [tree] if holds[tree] is holding else []
    parts = [_to_turn(part, holds, holding=holding) for part in tree.parts]
    if (tree.kind == "and") is holding:  # one part decides
        return min(parts, key=lambda part: (len(part), part))
    return sorted({place for part in parts for place in part})


def _around(bound: float) -> Iterator[float]:
    yield bound + 0.0
    for direction in (-1, 1):
        yield math.nextafter(bound, direction * math.inf)
        for step in _STEPS:
            yield bound + direction * step * max(abs(bound), 1.0)


def _whole_around(bound: float) -> range:
    return range(math.floor(bound) - 1, math.ceil(bound) + 2)


def _where(value: float, to: float, bound: float, *, open_ended: bool) -> str:
    up = to > value
    if isinstance(value, int) or to == bound:
        further = "" if not open_ended or (to == 0 and isinstance(value, int)) else " or more" if up else " or less"
        return f"at {show(to, value)}{further}"
    return f"{'' if open_ended else 'just '}{'above' if to > bound else 'below'} {show(bound, value)}"


def show(value: Value, other: Value | None = None) -> str:
    """A value for people, numbers with as few digits as tell it from another one."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, float):
        return str(value)
    for digits in (4, 6, 9, 12):
        text = f"{value:.{digits}g}"
        if other is None or value == other or isinstance(other, (bool, str)) or text != f"{other:.{digits}g}":
            return text
    return repr(value)


_Found = tuple[str, Change | None, list[Condition]]  # the window's name, the nearest change, the conditions that decide


def _effort(found: _Found) -> tuple[float, ...]:
    _, change, decisive = found
    return (0, *change.size) if change is not None else (1, len(decisive))


def _sentence(would: str, found: Sequence[_Found]) -> str:
    """would: it would (not) have fired."""
    if all(change is not None for _, change, _ in found):
        told = [
            f"`{change.name}`{_over(window)} {change.where} (it was {show(change.value, change.bound)})"
            for window, change, _ in found
            if change is not None
        ]
        return f"{would} with {_listed(told)}."
    tense = "had" if would.endswith("would have fired") else "had not"
    told = [
        f"`{condition.text}`{_over(window)} ({'without a value' if condition.value is None else f'it was {show(condition.value)}'})"
        for window, _, decisive in found
        for condition in decisive
    ]
    return f"No single number decides it: {would[0].lower()}{would[1:]} if {_listed(told)} {tense} held."


def _over(window: str) -> str:
    return f" over {window}" if window else ""


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1] if parts else "nothing"
