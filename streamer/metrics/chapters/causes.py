"""Causes: what goes wrong, and for how many customers (J5)."""

from __future__ import annotations

from typing import Final

from streamer.metrics.counters import Counter
from streamer.metrics.metric import Metric

C = Counter

# Within these spans a customer counts as having the cause, each with its stock.
SPANS_MS: Final = (3_600_000, 86_400_000)
CUSTOMERS: Final = (C.CAUSE_CUSTOMERS_HOUR, C.CAUSE_CUSTOMERS_DAY)

METRICS: Final = (
    Metric("cause_signals", "cx_cause_signals", "count", (C.CAUSES,), (), "friction signals with a cause, in the window", True, "J5"),
    Metric(
        "cause_customers_hour",
        "cx_cause_customers_hour",
        "stock",
        (C.CAUSE_CUSTOMERS_HOUR,),
        (),
        "distinct customers who met the cause within the last hour",
        True,
        "J5; the step is a dimension of its own [H]",
        unit="customers",
    ),
    Metric(
        "cause_customers_day",
        "cx_cause_customers_day",
        "stock",
        (C.CAUSE_CUSTOMERS_DAY,),
        (),
        "distinct customers who met the cause within the last day",
        True,
        "J5; the step is a dimension of its own [H]",
        unit="customers",
    ),
)

SIGNALS: Final = {
    "repeated_cause": "how often the customer has met the same cause in a row of signals never further apart than a day, the most of any",
}
