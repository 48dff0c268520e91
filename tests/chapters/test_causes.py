"""The chapter causes: J5."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streamer.metrics.chapters.causes import METRICS
from streamer.metrics.metric import counters_of
from tests.chapters.support import (
    RECOUNTED,
    SLICES,
    Histories,
    assert_recount_is_equal,
)
from tests.journeys_support import HOUR, Story

if TYPE_CHECKING:
    from random import Random

DEFINITIONS = (
    SLICES
    + """
[[slice]]
by = ["cause"]
[[slice]]
by = ["cause", "step"]
[causes]
types = ["payment.failed", "form.error", "friction.*", "contact.started"]
[[rule]]
id = "again"
on = "customer"
when = "repeated_cause >= 3"
"""
)
COUNTERS = {counter.name for metric in METRICS for counter in counters_of(metric)}


def event(random: Random, _customer: str, _time_ms: int) -> dict[str, Any]:
    kinds = [
        "payment.failed",
        "payment.failed",
        "form.error",
        "friction.signal",
        "friction.of.another.kind",
        "contact.started",
        "page.viewed",
    ]
    fields: dict[str, Any] = {"type": random.choice(kinds)}
    if friction := random.choice([{}, {"kind": "rage_click"}, {"code": "declined"}, {"kind": "k" * 70, "code": "c" * 70}]):
        fields["friction"] = friction
    if random.random() < 0.3:
        fields["issue"] = {"reason": random.choice(["billing", "delivery"])}
    if random.random() < 0.3:
        fields["step"] = "payment"
    return fields


HISTORIES = (Histories(DEFINITIONS, event),)


@pytest.mark.parametrize("after_ms", [HOUR // 2, 2 * HOUR, 30 * HOUR])
def test_the_recount_is_equal(after_ms: int) -> None:
    assert_recount_is_equal(DEFINITIONS, event, RECOUNTED, COUNTERS, after_ms)


def fail(one: Story, seconds: float, code: str = "declined", **fields: Any) -> int:
    return one.event("payment.failed", seconds, friction={"code": code}, **fields)


def test_a_cause_is_the_kind_else_the_type_with_the_code_else_the_reason() -> None:
    one = Story(DEFINITIONS)
    fail(one, 0, reason="billing")
    one.event("friction.signal", 1, friction={"kind": "rage_click"})
    one.event("form.error", 2, reason="address")
    one.event("form.error", 3)
    names = {dict(cell)["cause"] for counter, cell, _ in one.run.sums if counter == "CAUSES"}
    assert names == {"payment.failed:declined", "rage_click", "form.error:address", "form.error"}


def test_a_customer_counts_once_until_the_span_after_his_latest_signal() -> None:
    one = Story(DEFINITIONS)
    fail(one, 0)
    fail(one, 1800, step="payment")
    assert one.run.total("CAUSES") == 2
    assert one.run.total("CAUSE_CUSTOMERS_HOUR", cause="payment.failed:declined") == 1
    one.clock(1800 + 3599)
    assert one.run.total("CAUSE_CUSTOMERS_HOUR") == 1
    one.clock(1800 + 3600)
    assert one.run.total("CAUSE_CUSTOMERS_HOUR") == 0
    assert one.run.total("CAUSE_CUSTOMERS_DAY") == 1
    one.clock(1800 + 86400)
    assert one.run.total("CAUSE_CUSTOMERS_DAY") == 0


def test_a_signal_at_exactly_the_end_comes_after_it() -> None:
    one = Story(DEFINITIONS)
    fail(one, 0)
    fail(one, 3600, step="payment")
    assert one.run.total("CAUSE_CUSTOMERS_HOUR") == one.run.total("CAUSE_CUSTOMERS_HOUR", step="payment") == 1
    assert one.run.total("CAUSE_CUSTOMERS_DAY", step="payment") == 0, "in that stock he has been all the time"


def test_causes_of_one_customer_are_apart() -> None:
    one = Story(DEFINITIONS)
    fail(one, 0)
    fail(one, 1, "expired")
    assert one.run.total("CAUSE_CUSTOMERS_HOUR") == 2
    assert one.run.total("CAUSE_CUSTOMERS_HOUR", cause="payment.failed:expired") == 1


def test_the_alert_on_a_repeated_cause_ends_with_the_day() -> None:
    one = Story(DEFINITIONS)
    for seconds in (0, 10):
        fail(one, seconds)
    fail(one, 15, "expired")
    assert one.states == []
    fail(one, 20)
    assert one.states == ["firing"]
    assert one.run.alerts[0].metric.signals == {"repeated_cause": 3}
    one.clock(20 + 86400)
    assert one.states == ["firing", "resolved"]


def test_the_cause_longest_ago_makes_room_and_leaves_the_stocks() -> None:
    one = Story(DEFINITIONS.replace("[causes]", "[causes]\ncauses_per_customer = 2"))
    for seconds, code in enumerate(("a", "b", "a", "c")):
        fail(one, seconds, code)
    assert one.run.processor.accounting["cut_causes"] == 1
    assert one.run.total("CAUSE_CUSTOMERS_DAY", cause="payment.failed:b") == 0
    assert one.run.total("CAUSE_CUSTOMERS_DAY") == one.run.total("CAUSE_CUSTOMERS_HOUR") == 2
