"""Journeys: how they end, how many are open, and friction on the way (B1, B2, J1, J4). Always on."""

from __future__ import annotations

from typing import Final

from streamer.metrics.counters import Counter
from streamer.metrics.metric import Metric

C = Counter

METRICS: Final = (
    Metric(
        "abandon_rate",
        "cx_abandon_ratio",
        "ratio",
        (C.ABANDONED,),
        (C.ABANDONED, C.COMPLETED),
        "abandoned / (abandoned + completed), among instances whose deadline has passed or which completed",
        True,
        "B2; GA4's 30 min session default as deadline",
    ),
    Metric(
        "close_rate",
        "cx_close_ratio",
        "ratio",
        (C.COMPLETED,),
        (C.COMPLETED, C.ABANDONED, C.FAILED),
        "won / (won + lost), open excluded; lost = abandoned or failed",
        False,
        "B1; an order that is cancelled stays won, `cancel_rate` has it [H]",
    ),
    Metric(
        "close_odds",
        "cx_close_odds",
        "odds",
        (C.COMPLETED,),
        (C.ABANDONED, C.FAILED),
        "won / lost",
        False,
        "B1, as odds; cancelled orders as above [H]",
    ),
    Metric("journeys_started", "cx_journeys_started", "count", (C.STARTED,), (), "journey instances begun in the window", True, "J1"),
    Metric("journeys_open", "cx_journeys_open", "stock", (C.OPEN,), (), "instances open now", True, "B2"),
    Metric("journeys_completed", "cx_journeys_completed", "count", (C.COMPLETED,), (), "instances completed in the window", False, "B1"),
    Metric(
        "journeys_abandoned",
        "cx_journeys_abandoned",
        "count",
        (C.ABANDONED,),
        (),
        "deadlines passed in the window and not taken back",
        True,
        "B2",
    ),
    Metric(
        "journeys_recovered", "cx_journeys_recovered", "count", (C.RECOVERED,), (), "completed after abandonment, in the window", True, "B2"
    ),
    Metric(
        "friction_rate",
        "cx_friction_ratio",
        "ratio",
        (C.FRICTION_INSTANCES,),
        (C.STARTED,),
        "instances begun in the window with at least one friction signal / begun",
        True,
        "J4 [H]",
    ),
    Metric("touchpoints", "cx_touchpoints", "count", (C.TOUCHPOINTS,), (), "touchpoints in the window", True, "J1"),
)
