"""Cases and their owners (H1, H2). Always on."""

from __future__ import annotations

from typing import Final

from streamer.metrics.counters import Counter
from streamer.metrics.metric import Metric

C = Counter

METRICS: Final = (
    Metric("cases", "cx_cases", "count", (C.CASES,), (), "cases begun in the window", True, "H2"),
    Metric("handoffs", "cx_handoffs", "count", (C.HANDOFFS,), (), "owner changes in the window", True, "H2"),
    Metric(
        "handoff_rate",
        "cx_handoff_ratio",
        "ratio",
        (C.CASES_HANDED_OFF,),
        (C.CASES,),
        "cases begun in the window that changed owner / cases begun",
        True,
        "H1",
    ),
    Metric(
        "ping_pong_rate",
        "cx_ping_pong_ratio",
        "ratio",
        (C.CASES_PING_PONG,),
        (C.CASES,),
        "cases begun in the window whose owners went A, B, A / cases begun",
        True,
        "H2",
    ),
)
