"""Handoffs: how long they wait for somebody, how many nobody takes, and what goes along (H1, H3)."""

from __future__ import annotations

from typing import Final

from streamer.metrics.counters import Counter
from streamer.metrics.metric import Metric

C = Counter

# The upper bounds of the latencies that are counted together, in seconds; the last has none.
LATENCIES: Final = (
    C.HANDOFF_TIME_30S, C.HANDOFF_TIME_1M, C.HANDOFF_TIME_2M, C.HANDOFF_TIME_5M, C.HANDOFF_TIME_15M, C.HANDOFF_TIME_1H,
    C.HANDOFF_TIME_4H, C.HANDOFF_TIME_1D, C.HANDOFF_TIME_3D, C.HANDOFF_TIME_LONGER,
)  # fmt: skip
LATENCY_EDGES: Final = (30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0, 259_200.0)


def _latency(name: str, words: str, quantile: float) -> Metric:
    return Metric(
        f"handoff_latency_{name}",
        f"cx_handoff_latency_{name}_seconds",
        "quantile",
        LATENCIES,
        (),
        f"{words} of the times from initiation to acceptance, of the handoffs accepted in the window, also of those accepted too late",
        True,
        "H1; buckets [H]",
        unit="seconds",
        edges=LATENCY_EDGES,
        quantile=quantile,
    )


METRICS: Final = (
    _latency("median", "median", 0.5),
    _latency("p90", "90th percentile", 0.9),
    Metric(
        "handoff_failure_rate",
        "cx_handoff_failure_ratio",
        "ratio",
        (C.HANDOFFS_FAILED,),
        (C.HANDOFFS_DECIDED,),
        "handoffs not accepted in time, rejected, or initiated again before anybody answered / these and those accepted in time,"
        " decided in the window",
        True,
        "H1; initiated again [H]",
        version=2,
    ),
    Metric(
        "handoff_completeness",
        "cx_handoff_completeness_ratio",
        "ratio",
        (C.HANDOFFS_COMPLETE,),
        (C.HANDOFFS_REQUIRING,),
        "handoffs with all the context they need / handoffs that say what they need, initiated in the window",
        True,
        "H3",
        at_once=True,
    ),
    Metric(
        "handoff_cold_share",
        "cx_handoff_cold_ratio",
        "ratio",
        (C.HANDOFFS_COLD,),
        (C.HANDOFFS_INITIATED,),
        "handoffs of kind cold, or of neither kind with an empty context / initiated in the window",
        True,
        "H3",
    ),
)

SIGNALS: Final = {
    "handoffs_waiting": "the customer's handoffs that nobody has answered and that are still in time",
    "handoffs_failed": "the customer's handoffs that have failed, and nobody has accepted nor initiated again since",
}
