"""Where a rule's numbers change sides: the roots of an arithmetic expression in one of its names, the others being as they are.

An expression in one name is a fraction of two polynomials; what lies beyond the second degree is not solved.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from streamer.rules.language import Expression, Value

Polynomial = tuple[float, ...]  # coefficients, the constant first
_DEGREE_MAX: Final = 2


class Fraction(NamedTuple):
    """Above over below, both polynomials in the one name."""

    above: Polynomial
    below: Polynomial = (1,)


Curve = Callable[[Mapping[str, Value], str], Fraction]


def curve_of(node: ast.expr, compiled: Callable[[ast.expr], Expression]) -> Curve:
    """A function from the names' values and one name to the expression as a fraction in that name.

    compiled: gives the value of parts that are no arithmetic (a comparison among the summands); they count as they are. The function
    raises ValueError for text among the numbers and for too high a degree.
    """
    match node:
        case ast.Name(id=name):
            return lambda env, x: Fraction((0, 1)) if name == x else _constant(env[name])
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = curve_of(operand, compiled)
            return lambda env, x: _times(inner(env, x), Fraction((-1,)))
        case ast.BinOp(left=left, op=op, right=right):
            combine = _COMBINE[type(op)]
            first, second = curve_of(left, compiled), curve_of(right, compiled)
            return lambda env, x: combine(first(env, x), second(env, x))
    value = compiled(node)
    return lambda env, x: _constant(value(env))


def difference(left: Curve, right: Curve) -> Curve:
    """One curve less another: its roots are where the two meet."""
    return lambda env, x: _minus(left(env, x), right(env, x))


def roots(fraction: Fraction) -> Iterator[float]:
    """Where the fraction may change its sign: zeros above and below."""
    for polynomial in fraction:
        yield from _zeros(_trimmed(polynomial))


def _constant(value: Value) -> Fraction:
    if isinstance(value, str):
        raise ValueError("text has no place among numbers")
    return Fraction((value,))


def _plus(a: Fraction, b: Fraction) -> Fraction:
    if a.below == b.below:
        return Fraction(_sum(a.above, b.above), a.below)
    return Fraction(_sum(_product(a.above, b.below), _product(b.above, a.below)), _product(a.below, b.below))


def _minus(a: Fraction, b: Fraction) -> Fraction:
    return _plus(a, _times(b, Fraction((-1,))))


def _times(a: Fraction, b: Fraction) -> Fraction:
    return Fraction(_product(a.above, b.above), _product(a.below, b.below))


def _over(a: Fraction, b: Fraction) -> Fraction:
    return Fraction(_product(a.above, b.below), _product(a.below, b.above))


_COMBINE: Final[dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]]] = {
    ast.Add: _plus, ast.Sub: _minus, ast.Mult: _times, ast.Div: _over,
}  # fmt: skip


def _sum(a: Polynomial, b: Polynomial) -> Polynomial:
    short, long = sorted((a, b), key=len)
    return tuple(c + (short[i] if i < len(short) else 0) for i, c in enumerate(long))


def _product(a: Polynomial, b: Polynomial) -> Polynomial:
    found = [0.0 * 0] * (len(a) + len(b) - 1)
    for i, first in enumerate(a):
        for j, second in enumerate(b):
            found[i + j] += first * second
    product = _trimmed(tuple(found))
    if len(product) > _DEGREE_MAX + 1:
        raise ValueError("the degree is too high")
    return product


def _trimmed(polynomial: Polynomial) -> Polynomial:
    end = len(polynomial)
    while end > 1 and polynomial[end - 1] == 0:
        end -= 1
    return polynomial[:end]


def _zeros(polynomial: Polynomial) -> Iterator[float]:
    if len(polynomial) == 2:
        c, b = polynomial
        yield -c / b
    elif len(polynomial) == 3:
        c, b, a = polynomial
        inside = b * b - 4 * a * c
        if inside >= 0:
            # The one without cancellation first, the other by Vieta's product.
            q = -(b + math.copysign(math.sqrt(inside), b)) / 2
            yield q / a
            if q:
                yield c / q
