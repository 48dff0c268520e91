"""Invariant I5, asserted at every checkpoint: whatever was consumed is accounted for, or nothing of it is committed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.metrics.families import CONSUMED, OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Mapping


class AccountingError(Exception):
    """A processor has lost count of its records: a fault of the program, and what it would commit cannot be trusted."""


def balanced(partition: int, accounting: Mapping[str, int]) -> dict[str, int]:
    """A copy of a partition's accounting, if it adds up.

    Raises:
        AccountingError: with the numbers.
    """
    parts = {outcome: accounting.get(outcome, 0) for outcome in OUTCOMES}
    if sum(parts.values()) != accounting[CONSUMED]:
        told = " + ".join(f"{outcome} {number}" for outcome, number in parts.items())
        raise AccountingError(f"partition {partition} has consumed {accounting[CONSUMED]} records and accounts for {told}")
    return dict(accounting)
