"""The chapter surveys: S0-S4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streamer.metrics.chapters.surveys import METRICS
from streamer.rollup.estimates import counters_of
from tests.chapters.support import SLICES, assert_crashes_change_nothing, assert_order_changes_nothing, assert_recount_is_equal

if TYPE_CHECKING:
    from random import Random

DEFINITIONS = (
    SLICES
    + """
[surveys]
latest_within = "2h"
[[rule]]
id = "detractor"
on = "customer"
when = "nps_lowest <= 6"
"""
)
SEEDS = range(12)


def answer(random: Random, _customer: str, _time_ms: int) -> dict[str, Any]:
    survey: dict[str, Any] = {
        "instrument": random.choice(["nps", "nps", "nps", "csat"]),
        "score": random.choice([0, 3, 6, 7, 9, 10, 11, 8.5]),
    }
    if scope := random.choice(["", "experience", "relationship", "benchmark", "other"]):
        survey["scope"] = scope
    return {"type": "survey.responded", "survey": survey}


@pytest.mark.parametrize("seed", SEEDS)
def test_crashes_and_batches_change_nothing(seed: int) -> None:
    assert_crashes_change_nothing(DEFINITIONS, answer, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_arrival_changes_nothing(seed: int) -> None:
    assert_order_changes_nothing(DEFINITIONS, answer, seed)


def test_the_recount_is_equal() -> None:
    assert_recount_is_equal(DEFINITIONS, answer, SEEDS, {counter.name for metric in METRICS for counter in counters_of(metric)})
