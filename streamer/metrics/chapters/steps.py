"""Steps: where on the way instances are lost, wait and meet friction, and which way they go (B2 per step, J1-J4)."""

from __future__ import annotations

from typing import Final

from streamer.metrics.counters import Counter
from streamer.metrics.metric import Metric

C = Counter

# The upper bounds of the stays that are counted together, in seconds; the last has none.
STAYS: Final = (
    C.STEP_TIME_10S, C.STEP_TIME_30S, C.STEP_TIME_1M, C.STEP_TIME_2M, C.STEP_TIME_5M, C.STEP_TIME_10M, C.STEP_TIME_30M,
    C.STEP_TIME_1H, C.STEP_TIME_6H, C.STEP_TIME_1D, C.STEP_TIME_7D, C.STEP_TIME_LONGER,
)  # fmt: skip
STAY_EDGES: Final = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0)


def _stay(name: str, words: str, quantile: float) -> Metric:
    return Metric(
        f"step_time_{name}",
        f"cx_step_time_{name}_seconds",
        "quantile",
        STAYS,
        (),
        f"{words} of the times that instances stayed on a step, of the stays that ended in the window",
        True,
        "J3; buckets [H]",
        unit="seconds",
        edges=STAY_EDGES,
        quantile=quantile,
    )


METRICS: Final = (
    Metric(
        "abandoned_at_step",
        "cx_abandoned_at_step_ratio",
        "ratio",
        (C.STEPS_ABANDONED,),
        (C.STEPS_ABANDONED, *STAYS),
        "instances abandoned on the step in the window / these and stays on it that ended in the window, with another step, completion or"
        " failure",
        True,
        "B2, per step; dimensions of the first coming to the step [H]",
        version=2,
    ),
    Metric(
        "touchpoints_per_journey",
        "cx_touchpoints_per_journey",
        "mean",
        (C.JOURNEY_TOUCHPOINTS,),
        (C.JOURNEYS_WALKED,),
        "events of the instances begun in the window / these instances",
        True,
        "J1",
        squares=C.JOURNEY_TOUCHPOINTS_SQUARED,
        unit="touchpoints",
    ),
    Metric(
        "journey_progress",
        "cx_journey_progress_percent",
        "mean",
        (C.JOURNEY_PROGRESS,),
        (C.JOURNEYS_WITH_STEPS,),
        "share of a journey's named steps that lie behind the furthest one reached, all of them once completed; mean of the instances begun"
        " in the window, in percent",
        True,
        "J1; progress by the furthest step [H]",
        squares=C.JOURNEY_PROGRESS_SQUARED,
        scale=10,
        unit="percent",
    ),
    Metric(
        "step_transitions",
        "cx_step_transitions",
        "count",
        (C.STEP_TRANSITIONS,),
        (),
        "goings of instances from one step (`previous_step`) directly to another (`step`), in the window",
        True,
        "J2 directly-follows graph (van der Aalst 2016)",
    ),
    _stay("median", "median", 0.5),
    _stay("p90", "90th percentile", 0.9),
    _stay("p95", "95th percentile", 0.95),
    Metric(
        "step_stalls",
        "cx_step_stalls",
        "count",
        (C.STEP_STALLS,),
        (),
        "open instances that had been on one step for `stall_after`, at that moment in the window",
        True,
        "J3; a fixed time, to be set by `step_time_p95`, in place of the P95 [H]",
    ),
    Metric(
        "step_friction_rate",
        "cx_step_friction_ratio",
        "ratio",
        (C.STEPS_FRICTION,),
        (C.STEPS_REACHED,),
        "instances with at least one friction signal while on the step / instances that came to it in the window",
        True,
        "J4; abandonment is no friction here but abandoned_at_step [H]",
    ),
)

SIGNALS: Final = {
    "stalled": "the customer's journey instances that are open and have been on one step for longer than `stall_after`",
}
