"""Value: what customers had to give up (C1), which level of value journeys touch (V1-V3), and whether customers reach their goals."""

from __future__ import annotations

from typing import Final

from streamer.metrics.counters import Counter
from streamer.metrics.metric import Metric

C = Counter

# level -> (row, touchpoints, journeys, in words)
LEVELS: Final = {
    "functional": ("V1", C.FUNCTIONAL_TOUCHPOINTS, C.FUNCTIONAL_JOURNEYS, "the task gets done"),
    "personal": ("V2", C.PERSONAL_TOUCHPOINTS, C.PERSONAL_JOURNEYS, "it fits the customer's needs and identity"),
    "catalytic": ("V3", C.CATALYTIC_TOUCHPOINTS, C.CATALYTIC_JOURNEYS, "it helps the customer change or reach a goal"),
}


def _touchpoints(level: str) -> Metric:
    row, touchpoints, _, words = LEVELS[level]
    return Metric(
        f"{level}_touchpoints",
        f"cx_{level}_touchpoints",
        "count",
        (touchpoints,),
        (),
        f"touchpoints in the window tagged `{level}`: {words}",
        True,
        f"{row} [H]",
    )


def _share(level: str) -> Metric:
    row, _, journeys, words = LEVELS[level]
    return Metric(
        f"{level}_journey_share",
        f"cx_{level}_journeys_ratio",
        "ratio",
        (journeys,),
        (C.JOURNEYS,),
        f"journey instances begun in the window with at least one touchpoint tagged `{level}` ({words}) / begun",
        True,
        f"{row} [H]",
    )


METRICS: Final = (
    Metric(
        "sacrifice_index",
        "cx_sacrifice_index",
        "mean",
        (C.SACRIFICE_WEIGHTED,),
        (C.SACRIFICE_WEIGHT,),
        "weighted mean distance (0-1) between what customers wanted and what they received, of what was stated in the window",
        True,
        "C1 Pine & Gilmore; the index is ours [H]",
        scale=1000,
        sample=C.PREFERENCES,
    ),
    Metric(
        "sacrifice_mean",
        "cx_sacrifice_mean",
        "mean",
        (C.SACRIFICE,),
        (C.PREFERENCES,),
        "the same without weights, with an interval for rules",
        True,
        "C1 [H]",
        C.SACRIFICE_SQUARED,
        1000,
    ),
    *(_touchpoints(level) for level in LEVELS),
    *(_share(level) for level in LEVELS),
    Metric(
        "level_price_premium",
        "cx_level_price_premium",
        "mean",
        (C.LEVEL_PRICE_PREMIUM,),
        (C.LEVEL_PRICE_REFERENCE,),
        "price_premium of the orders of journeys touched on a level of value until then; slice by `cause`, which is the level:"
        " otherwise an order counts once for each of its levels",
        False,
        "V1-V3 with B10 [H]; needs [commerce]",
        unit="share",
    ),
    Metric(
        "level_referral_share",
        "cx_level_referral_order_ratio",
        "ratio",
        (C.LEVEL_REFERRAL_ORDERS,),
        (C.LEVEL_ORDERS,),
        "orders by referral / orders, of journeys touched on a level of value until then; slice by `cause`, which is the level:"
        " otherwise an order counts once for each of its levels",
        False,
        "V1-V3 with B9 [H]; needs [commerce]",
    ),
    Metric("goals_set", "cx_goals_set", "count", (C.GOALS,), (), "goals set in the window", True, "V3 [H]"),
    Metric(
        "goal_progress_rate",
        "cx_goal_progress_ratio",
        "ratio",
        (C.GOALS_PROGRESSED,),
        (C.GOALS,),
        "goals set in the window with progress since, or reached / goals set",
        True,
        "V3 [H]",
    ),
    Metric(
        "goal_reach_rate",
        "cx_goal_reach_ratio",
        "ratio",
        (C.GOALS_REACHED,),
        (C.GOALS,),
        "goals set in the window and reached since / goals set",
        False,
        "V3 [H]",
    ),
)

SIGNALS: Final = {
    "sacrifice_index": "the customer's own index over what he stated within `value.sacrifice_within`, 0 without any",
    "preferences_stated": "how many statements that is of",
}
