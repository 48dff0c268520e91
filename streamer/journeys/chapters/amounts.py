"""What of an order is counted: amounts in hundredths of the reporting currency's unit, categories, quantities, prices."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from streamer.metrics.chapters import commerce
from streamer.metrics.counters import Counter
from streamer.touchpoints.money import exponent_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamer.touchpoints.details import OrderLine
    from streamer.touchpoints.touchpoint import Touchpoint

_UNITS: Final = int(Counter.UNITS_ORDERED)
_PREMIUM: Final = int(Counter.PRICE_PREMIUM)
_REFERENCE: Final = int(Counter.PRICE_REFERENCE)
# Plain integers: an enumeration's members cost twice. (orders, revenue, squares), by whether several categories were bought.
_PLAIN: Final = (int(Counter.ORDERS_PLAIN), int(Counter.REVENUE_PLAIN), int(Counter.SQUARES_PLAIN))
_CROSS: Final = (int(Counter.ORDERS_CROSS_SOLD), int(Counter.REVENUE_CROSS_SOLD), int(Counter.SQUARES_CROSS_SOLD))
_BUCKETS: Final = tuple(int(counter) for counter in commerce.BUCKETS)
_EDGES: Final = [int(edge) * commerce.HUNDREDTHS for edge in commerce.EDGES]


def hundredths(minor: int, currency: str) -> int:
    """An amount that is not negative, in hundredths of its currency's unit; halves up where the currency has smaller ones."""
    exponent = exponent_of(currency)
    if exponent == 2:
        return minor
    if exponent == 0:
        return minor * 100
    return (minor + 5) // 10 if exponent == 3 else (minor + 50) // 100


def changes_of(amount: int, event: Touchpoint, largest: int) -> list[int]:
    """What an order of `amount` hundredths counts as: counter, n, counter, n, ...; `largest`: no sum of prices may exceed it."""
    lines = _lines(event)
    orders, revenue, squares = _CROSS if len({line.category for line in lines if line.category}) > 1 else _PLAIN
    square = (amount * amount + commerce.SQUARE // 2) // commerce.SQUARE
    units = sum(line.quantity for line in lines) if lines else 1
    changes = [orders, 1, revenue, amount, squares, square, _BUCKETS[bisect_left(_EDGES, amount)], 1, _UNITS, units]
    paid, reference = 0, 0
    for line in lines:
        price, list_price = line.price_minor, line.list_price_minor
        if price is not None and list_price is not None and price >= 0 and list_price > 0:
            paid += price * line.quantity
            reference += list_price * line.quantity
    paid, reference = hundredths(paid, event.currency), hundredths(reference, event.currency)
    if 0 < reference <= largest and paid <= largest:
        changes += [_PREMIUM, paid - reference, _REFERENCE, reference]
    return changes


def attached_to(event: Touchpoint, attach: Mapping[str, frozenset[str]]) -> list[list[object]]:
    """[base category, whether one attached to it is in the order, too], of each base in the order."""
    bought = {line.category for line in _lines(event)}
    return [[base, not bought.isdisjoint(others)] for base, others in attach.items() if base in bought]


def _lines(event: Touchpoint) -> list[OrderLine]:
    return [] if event.details is None else event.details.lines
