"""What an analysis says: a headline, tables, notes, the same as JSON, and a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.figure import Figure


class Table(NamedTuple):
    """Rows of cells that are ready to be read."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Report(NamedTuple):
    """headline: the finding in a sentence. notes: what it does not say, what was left out. result: everything, as JSON has it.

    draw: the picture, on an empty figure.
    """

    headline: str
    tables: Sequence[Table]
    notes: Sequence[str]
    result: dict[str, Any]
    draw: Callable[[Figure], None]


def money(amount: float, currency: str) -> str:
    """For people."""
    return f"{amount:,.2f} {currency}".rstrip()


def percent(share: float, digits: int = 1) -> str:
    """For people."""
    return f"{100 * share:.{digits}f} %"


def signed(number: float, digits: int = 0) -> str:
    """For people: with its sign, a minus that is as wide as a plus."""
    text = f"{number:+,.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}") if text.strip("+-0.") else text[1:]


def between(low: float, high: float, digits: int = 2) -> str:
    """An interval for people."""
    return f"{low:,.{digits}f} to {high:,.{digits}f}"


def counted(n: int, one: str, many: str = "") -> str:
    """`1 answer`, `2 answers`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"
