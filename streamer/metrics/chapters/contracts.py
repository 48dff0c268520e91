"""Contracts: how many that fall due are renewed (B7)."""

from __future__ import annotations

from typing import Final

from streamer.metrics.counters import Counter
from streamer.metrics.metric import Metric

C = Counter

METRICS: Final = (
    Metric(
        "renewal_rate",
        "cx_renewal_ratio",
        "ratio",
        (C.CONTRACTS_RENEWED,),
        (C.CONTRACTS_DUE,),
        "contracts renewed / contracts due, of those whose grace after the due date ends in the window",
        False,
        "B7; grace [H]",
        at_once=True,
        version=2,
    ),
    Metric(
        "contracts_due",
        "cx_contracts_due",
        "count",
        (C.CONTRACTS_DUE,),
        (),
        "contracts due whose grace after the due date ends in the window",
        False,
        "B7",
        unit="contracts",
    ),
)

SIGNALS: Final = {
    "contracts_undecided": "contracts whose due date is known and that are neither renewed, cancelled, nor past the grace",
    "contracts_due_soon": "of these the ones whose due date is at most `contracts.due_soon` ahead, or past",
}
