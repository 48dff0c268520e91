"""The chapter value: C1, V1-V3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streamer.metrics.chapters.value import METRICS
from streamer.metrics.metric import counters_of
from streamer.processor import LogRecord
from tests.chapters.support import (
    RECOUNTED,
    SLICES,
    Histories,
    assert_recount_is_equal,
    event_at,
    single_pass,
)
from tests.journeys_support import BASE_MS, HOUR, MINUTE

if TYPE_CHECKING:
    from random import Random

CHAPTER = """
[value]
sacrifice_within = "1h"
goal_within = "40m"
[commerce]
horizon = "20m"
correct_within = "40m"
"""
JOURNEYS = """
[[slice]]
by = ["product_category", "cause"]
[[slice]]
by = ["stage", "team"]
[[journey]]
id = "checkout"
start = ["checkout.started"]
complete = ["order.completed"]
fail = ["order.cancelled"]
activity = ["checkout.*"]
identified_by = ["checkout_id", "session"]
deadline = "20m"
recoverable_for = "30m"
[[journey]]
id = "onboarding"
start = ["checkout.started", "journey.started"]
complete = ["journey.completed"]
activity = ["page.viewed"]
deadline = "10m"
recoverable_for = "0s"
"""
RULES = """
[[rule]]
id = "sacrifice"
on = "customer"
when = "sacrifice_index >= 0.5 and preferences_stated >= 2"
"""
DEFINITIONS = SLICES + CHAPTER + JOURNEYS + RULES
# Orders are in the middle of another journey, too.
BUYING = (
    DEFINITIONS
    + """
[[journey]]
id = "visit"
start = ["journey.started"]
activity = ["checkout.step_viewed", "order.completed"]
complete = []
identified_by = ["checkout_id"]
deadline = "10m"
recoverable_for = "5m"
"""
)
COUNTERS = {counter.name for metric in METRICS for counter in counters_of(metric)}
TAGS: dict[str, list[Any]] = {
    "value_level": ["functional", "personal", "catalytic", "spiritual", None],
    "product_category": ["shoes", ""],
    "stage": ["prove", ""],
    "journey": ["onboarding", ""],
}
WISHES: list[Any] = [None, 1, 1.0, "red", ["a", {"b": 1, "c": None}], ["a", {"c": None, "b": 1}], {}, [], {"x": {}}]


def live(random: Random, _customer: str, _time_ms: int) -> dict[str, Any]:
    tags: dict[str, Any] = {name: random.choice(choices) for name, choices in TAGS.items()}
    tags["actor"] = {"team": random.choice(["a", ""])}
    match random.randrange(5):
        case 0:
            stated: dict[str, Any] = {"attribute": random.choice(["", "colour", "date"])}
            if random.random() < 0.5:
                stated["distance"] = random.choice([0, "0.5", 1, 0.3335, 1.2, -1, None])
            if random.random() < 0.5:
                stated["weight"] = random.choice([1, "2.5", 0, -1, 1000, "1000.001", 0.0004, None])
            if random.random() < 0.8:
                stated |= {"ideal": random.choice(WISHES), "received": random.choice(WISHES)}
            return {"type": "preference.stated", "preference": stated, **tags}
        case 1:
            kind = random.choice(["set", "set", "progressed", "reached"])
            return {"type": f"goal.{kind}", "goal": {"goal_id": random.choice(["g1", "g2", ""])}, **tags}
    kinds = ["checkout.started", "checkout.started", "checkout.step_viewed", "order.completed", "order.cancelled", "page.viewed",
             "journey.started", "journey.completed", "identity.linked"]  # fmt: skip
    return {"type": random.choice(kinds), "commerce": {"checkout_id": random.choice(["k1", "k2", ""])}, **tags}


def buying(random: Random, customer: str, time_ms: int) -> dict[str, Any]:
    """Checkouts whose touchpoints have levels, with orders that are paid above and below the list price."""
    kinds = ["checkout.started"] * 4 + ["checkout.step_viewed"] * 4 + ["order.completed"] * 4 + ["order.cancelled"]
    if random.random() < 0.2:
        return live(random, customer, time_ms)
    if random.random() < 0.2:
        return {"type": "journey.started", "journey": "visit", "commerce": {"checkout_id": random.choice(["k1", "k2"])}}
    commerce: dict[str, Any] = {"checkout_id": random.choice(["k1", "k2", ""]), "order_id": f"{customer}-{random.randrange(9)}"}
    commerce |= {"revenue": random.choice([None, "20.00", 30, 40]), "acquisition_source": random.choice(["referral", "search"])}
    lines = [{"price": random.choice(["9.99", 12]), "list_price": random.choice([None, 10, 10])} for _ in range(random.randrange(4))]
    tags = {name: random.choice(choices) for name, choices in TAGS.items()}
    return {"type": random.choice(kinds), "commerce": {**commerce, "lines": lines}, **tags}


HISTORIES = (Histories(DEFINITIONS, live), Histories(BUYING, buying, HOUR))


def test_the_recount_is_equal() -> None:
    assert_recount_is_equal(DEFINITIONS, live, RECOUNTED, {name for name in COUNTERS if not name.startswith("LEVEL_")})


@pytest.mark.parametrize("after_ms", [0, 2 * HOUR])
def test_so_is_what_orders_count_for_levels(after_ms: int) -> None:
    of_levels = {name for name in COUNTERS if name.startswith("LEVEL_")}
    assert_recount_is_equal(BUYING, buying, RECOUNTED, of_levels, after_ms, span_ms=HOUR)


def log_of(*events: tuple[int, str, dict[str, Any]]) -> list[LogRecord]:
    return [
        LogRecord(n, BASE_MS + at * MINUTE, b"c", event_at(BASE_MS + at * MINUTE, "c", n, {"type": type_, **fields}))
        for n, (at, type_, fields) in enumerate(events)
    ]


def totals(*events: tuple[int, str, dict[str, Any]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for (counter, _, _), n in single_pass(DEFINITIONS, log_of(*events), 3 * HOUR).sums.items():
        found[counter] = found.get(counter, 0) + n
    return {name.lower(): n for name, n in found.items() if n and name in COUNTERS}


def checkout(level: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"commerce": {"checkout_id": "k"}, "value_level": level, **fields}


def test_an_instance_counts_once_for_each_level() -> None:
    told = totals(
        (0, "checkout.started", checkout("functional")),
        (1, "checkout.step_viewed", checkout("functional")),
        (2, "order.completed", checkout("personal")),
    )
    # Two journeys begin with it; only one of them has the steps.
    assert told == {
        "functional_touchpoints": 2, "personal_touchpoints": 1, "journeys": 2, "functional_journeys": 2, "personal_journeys": 1,
    }  # fmt: skip


def test_a_touchpoint_after_the_end_is_of_no_journey() -> None:
    told = totals(
        (0, "checkout.started", checkout()), (1, "order.completed", checkout()), (2, "checkout.step_viewed", checkout("catalytic"))
    )
    assert told == {"journeys": 2, "catalytic_touchpoints": 1}


def test_a_touchpoint_while_it_may_recover_is_of_the_journey() -> None:
    told = totals((0, "checkout.started", checkout()), (25, "checkout.step_viewed", checkout("catalytic")))
    assert told == {"journeys": 2, "catalytic_touchpoints": 1, "catalytic_journeys": 1}


def bought(minute: int, level: str | None = None, **more: Any) -> tuple[int, str, dict[str, Any]]:
    commerce = {"checkout_id": "k", "revenue": "12.00", "lines": [{"price": "12.00", "list_price": "10.00"}], **more}
    return minute, "order.completed", {"commerce": commerce, "value_level": level}


def of_level(*events: tuple[int, str, dict[str, Any]], definitions: str = DEFINITIONS) -> dict[str, dict[str, int]]:
    """By level, what orders have counted for it."""
    found: dict[str, dict[str, int]] = {}
    for (counter, cell, _), n in single_pass(definitions, log_of(*events), 3 * HOUR).sums.items():
        if counter.startswith("LEVEL_"):
            counts = found.setdefault(dict(cell)["cause"], {})
            counts[counter] = counts.get(counter, 0) + n
    return found


def test_an_order_counts_for_every_level_its_journeys_have_been_touched_on_by_then() -> None:
    told = of_level(
        (0, "checkout.started", checkout("functional")),
        (1, "checkout.step_viewed", checkout("personal")),
        bought(2, "personal", acquisition_source="referral"),
        (3, "checkout.step_viewed", checkout("catalytic")),
    )
    counts = {"LEVEL_ORDERS": 1, "LEVEL_REFERRAL_ORDERS": 1, "LEVEL_PRICE_PREMIUM": 200, "LEVEL_PRICE_REFERENCE": 1000}
    assert told == {"functional": counts, "personal": counts}


def test_an_order_of_two_journeys_counts_once_for_each_of_their_levels() -> None:
    told = of_level(
        (0, "checkout.started", checkout("functional")),
        (1, "journey.started", checkout("catalytic", journey="visit")),
        (2, "checkout.step_viewed", checkout("personal")),
        bought(3, "personal"),
        definitions=BUYING,
    )
    assert {level: counts["LEVEL_ORDERS"] for level, counts in told.items()} == {"functional": 1, "personal": 1, "catalytic": 1}


def test_an_order_of_no_journey_has_no_level() -> None:
    assert of_level(bought(0, "personal")) == {}


def test_a_later_order_of_the_customer_has_the_levels_of_its_own_journey() -> None:
    told = of_level(
        (0, "checkout.started", checkout("functional")),
        bought(1),
        (20, "checkout.started", checkout("catalytic")),
        bought(21),
    )
    assert {level: counts["LEVEL_ORDERS"] for level, counts in told.items()} == {"functional": 1, "catalytic": 1}


def test_a_cancelled_order_is_taken_back_from_its_levels() -> None:
    cancel = (9, "order.cancelled", {"commerce": {"order_id": "o"}})
    assert of_level((0, "checkout.started", checkout("functional")), bought(2, order_id="o"), cancel) == {}


def test_without_the_chapter_orders_have_no_levels() -> None:
    log = log_of((0, "checkout.started", checkout("functional")), bought(1))
    run = single_pass(SLICES + "[commerce]\n" + JOURNEYS, log, HOUR)
    assert run.total("ORDERS_PLAIN") == 1
    assert run.total("LEVEL_ORDERS") == 0


def wish(distance: Any, weight: Any = None, **fields: Any) -> dict[str, Any]:
    return {"preference": {"attribute": "colour", "distance": distance, "weight": weight, **fields}}


def test_sums_are_weighted_and_not() -> None:
    told = totals((0, "preference.stated", wish(0.5, 3)), (1, "preference.stated", wish(1)))
    assert told == {
        "preferences": 2, "sacrifice_weighted": 2_500_000, "sacrifice_weight": 4000, "sacrifice": 1500, "sacrifice_squared": 1_250_000,
    }  # fmt: skip


def test_what_is_out_of_scale_does_not_count() -> None:
    assert totals(*((0, "preference.stated", wish(*pair)) for pair in ((1.001, 1), (-0.001, 1), (1, 0), (1, -1), (1, "1000.001")))) == {}


@pytest.mark.parametrize(
    ("ideal", "received", "distance"),
    [("red", "red", 0), ("red", "blue", 1000), ({"a": 1, "b": 2}, {"b": 2, "a": 1}, 0), ([1, 2], [2, 1], 1000), (1, "1", 1000)],
)
def test_what_was_wanted_and_received_are_compared_as_json(ideal: Any, received: Any, distance: int) -> None:
    told = totals((0, "preference.stated", wish(None, ideal=ideal, received=received)))
    assert told["preferences"] == 1
    assert told.get("sacrifice", 0) == distance


def test_what_was_not_told_is_no_sacrifice() -> None:
    assert totals((0, "preference.stated", wish(None, ideal="red", received=None))) == {}


def goal(id_: str = "g") -> dict[str, Any]:
    return {"goal": {"goal_id": id_}}


def test_a_goal_that_is_reached_has_progressed() -> None:
    assert totals((0, "goal.set", goal()), (1, "goal.reached", goal())) == {"goals": 1, "goals_progressed": 1, "goals_reached": 1}


def test_a_goal_set_again_is_the_same_until_it_is_reached() -> None:
    told = totals((0, "goal.set", goal()), (1, "goal.set", goal()), (2, "goal.reached", goal()), (3, "goal.set", goal()))
    assert told == {"goals": 2, "goals_progressed": 1, "goals_reached": 1}


def test_progress_of_a_goal_that_is_not_known_is_none() -> None:
    assert totals((0, "goal.progressed", goal()), (1, "goal.set", goal("other")), (2, "goal.reached", goal())) == {"goals": 1}


def test_a_goal_is_forgotten_after_its_last_event() -> None:
    kept = totals((0, "goal.set", goal()), (39, "goal.progressed", goal()), (78, "goal.reached", goal()))
    assert kept == {"goals": 1, "goals_progressed": 1, "goals_reached": 1}
    assert totals((0, "goal.set", goal()), (40, "goal.reached", goal())) == {"goals": 1}


def test_an_alert_when_a_customer_settles_for_too_much_and_its_end_when_that_is_old() -> None:
    events = [(0, "preference.stated", wish(0.2)), (10, "preference.stated", wish(0.9, 2))]
    run = single_pass(DEFINITIONS, log_of(*events), 55 * MINUTE)
    assert [(alert.state, dict(alert.metric.signals)) for alert in run.alerts] == [
        ("firing", {"preferences_stated": 2, "sacrifice_index": pytest.approx(2.0 / 3)}),
        ("resolved", {"preferences_stated": 1, "sacrifice_index": 0.9}),
    ]
