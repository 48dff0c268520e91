"""Browsing: sessions that look at much and take nothing (B8)."""

from __future__ import annotations

from typing import Final

from streamer.metrics.counters import Counter
from streamer.metrics.metric import Metric

METRICS: Final = (
    Metric(
        "hesitation_rate",
        "cx_hesitation_ratio",
        "ratio",
        (Counter.SESSIONS_HESITATED,),
        (Counter.SESSIONS_BROWSED,),
        "sessions that ended in the window with many products viewed or long dwell and nothing in the cart / with any product viewed",
        True,
        "B8 [H]",
    ),
)

SIGNALS: Final = {
    "product_views": "products viewed in the customer's open session, if nothing is in the cart; the most of several sessions",
}
