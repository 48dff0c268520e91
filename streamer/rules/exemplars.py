"""Which events are evidence of an aggregate rule: those its metric counts against somebody.

A rule that fires when a rate is high means what the numerator counts; one that fires when it is low, the sample without the numerator. Of
scores like NPS that is the side that speaks against it; of a level, what has raised it and is still in it. Where the condition does not
say which side it is on, or the sample's events do not tell which of them the numerator counts too, there is no evidence.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from streamer.metrics.counters import Counter
from streamer.metrics.metric import Metric

# What a condition may compare that goes up and down with the metric.
_MEASURED: Final = frozenset({"value", "lower", "upper", "k", "delta"})
_UP: Final = (ast.Gt, ast.GtE)
_DOWN: Final = (ast.Lt, ast.LtE)


class Evidenced(NamedTuple):
    """counted: counters whose events are evidence, unless the same event counts in one of `but_not`, too."""

    counted: tuple[int, ...] = ()
    but_not: tuple[int, ...] = ()

    @property
    def counters(self) -> tuple[int, ...]:
        """All of them."""
        return self.counted + self.but_not


def evidence_of(metric: Metric, when: str) -> Evidenced:
    """What is evidence of a rule with the condition `when`."""
    side = side_of(when)
    if side is None or (metric.kind == "stock" and side == "low"):  # a level is low because of what is not there
        return Evidenced()
    if metric.kind == "mean":
        return Evidenced(_numbers(metric.denominator if metric.sample is None else (metric.sample,)))
    if side == "high" or metric.kind in ("count", "quantile"):
        return Evidenced(_numbers(metric.numerator))
    if metric.kind == "difference":
        return Evidenced(_numbers(metric.minus))
    rest = _numbers(metric.denominator, metric.numerator)
    if metric.kind == "odds" or set(metric.numerator) <= set(metric.denominator):
        return Evidenced(rest)
    return Evidenced(rest, _numbers(metric.numerator)) if metric.at_once else Evidenced()


@lru_cache(maxsize=1_024)
def side_of(when: str) -> Literal["high", "low"] | None:
    """Whether a condition asks for a high or a low metric, None if for both or neither."""
    sides = set()
    for node in ast.walk(ast.parse(when, mode="eval")):
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], (*_UP, *_DOWN)):
            rises = _direction(node.left) - _direction(node.comparators[0])
            if rises:
                sides.add((rises > 0) == isinstance(node.ops[0], _UP))
    if len(sides) != 1:
        return None
    return "high" if sides.pop() else "low"


def _direction(node: ast.AST) -> int:
    """1 if the part of an expression rises with the metric, -1 if it falls, 0 if it does not depend on it."""
    if isinstance(node, ast.Name):
        return int(node.id in _MEASURED)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_direction(node.operand)
    if isinstance(node, ast.BinOp):
        left, right = _direction(node.left), _direction(node.right)
        falls = isinstance(node.op, (ast.Sub, ast.Div))
        return max(-1, min(1, left - right if falls else left + right))
    return 0


def _numbers(counters: tuple[Counter, ...], without: tuple[Counter, ...] = ()) -> tuple[int, ...]:
    return tuple(int(counter) for counter in counters if counter not in without)
