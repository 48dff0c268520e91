"""The chapter handoffs: H1, H3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streamer.definitions import parse
from streamer.metrics.chapters.handoffs import LATENCIES, METRICS
from streamer.metrics.metric import counters_of
from tests.chapters.support import (
    RECOUNTED,
    SLICES,
    Histories,
    assert_recount_is_equal,
    in_seconds,
)
from tests.journeys_support import HOUR, MINUTE, Story

if TYPE_CHECKING:
    from random import Random

DEFINITIONS = (
    SLICES
    + """
[[slice]]
by = ["team", "partner"]
[handoffs]
accept_within = "10m"
partner_accept_within = "40m"
forget_after = "30m"
[[rule]]
id = "failed"
on = "customer"
when = "handoffs_failed >= 1"
show = ["handoffs_waiting"]
"""
)
# The second meets deadlines at the very moment.
COUNTERS = {counter.name for metric in METRICS for counter in counters_of(metric)}
# Longer than anybody is waited for in these tests.
TOO_LONG = {counter.name for counter in LATENCIES[-4:]}


def event(random: Random, _customer: str, _time_ms: int) -> dict[str, Any]:
    kind = random.choice(["initiated", "initiated", "accepted", "accepted", "rejected"])
    fields: dict[str, Any] = {"type": f"handoff.{kind}"}
    if issue := random.choice([{}, {"case_id": "k1"}, {"issue_id": "k1"}, {"contact_id": "k2"}, {"case_id": "k1", "issue_id": "k3"}]):
        fields["issue"] = issue
    handoff: dict[str, Any] = {}
    if kind == "initiated":
        if to_team := random.choice(["", "billing", "claims"]):
            handoff["to_team"] = to_team
        if random.random() < 0.2:
            handoff["partner"] = "acme"
        if warmth := random.choice(["", "warm", "cold"]):
            handoff["kind"] = warmth
        if random.random() < 0.6:
            handoff["required_context"] = random.choice([[], ["a"], ["a", "b"]])
        if random.random() < 0.8:
            handoff["context_passed"] = random.choice([True, False, [], ["a"], ["b", "a", "c"]])
    if handoff:
        fields["handoff"] = handoff
    if random.random() < 0.3:
        fields["actor"] = {"team": random.choice(["desk", "billing"])}
    return fields


HISTORIES = (Histories(DEFINITIONS, event), Histories(in_seconds(DEFINITIONS), event, 4 * MINUTE))


def test_the_recount_is_equal() -> None:
    assert_recount_is_equal(DEFINITIONS, event, RECOUNTED, COUNTERS - TOO_LONG)


def test_the_recount_is_equal_while_some_still_wait() -> None:
    assert_recount_is_equal(DEFINITIONS, event, RECOUNTED, {"HANDOFFS_FAILED"}, after_ms=3 * MINUTE)


@pytest.mark.parametrize("after_ms", [3_500, HOUR])
def test_the_recount_is_equal_where_moments_collide(after_ms: int) -> None:
    expected = {"HANDOFFS_FAILED", "HANDOFF_TIME_30S", "HANDOFF_TIME_1M"}
    assert_recount_is_equal(in_seconds(DEFINITIONS), event, RECOUNTED, expected, after_ms, span_ms=4 * MINUTE)


def initiate(one: Story, seconds: float, case: str = "k1", **fields: Any) -> int:
    return one.event("handoff.initiated", seconds, case_id=case, **fields)


def test_an_acceptance_in_time_is_no_failure_and_has_a_latency() -> None:
    one = Story(DEFINITIONS)
    initiate(one, 0)
    accepted = one.event("handoff.accepted", 45, case_id="k1")
    one.clock(9000)
    assert one.run.total("HANDOFFS_INITIATED") == 1
    assert one.run.total("HANDOFFS_FAILED") == 0
    assert one.run.at("HANDOFFS_DECIDED", accepted) == one.run.at("HANDOFF_TIME_1M", accepted) == 1
    assert one.states == []


@pytest.mark.parametrize(("seconds", "failed"), [(599.999, 0), (600, 1)])
def test_an_acceptance_at_exactly_the_deadline_is_too_late(seconds: float, failed: int) -> None:
    one = Story(DEFINITIONS)
    initiate(one, 0)
    accepted = one.event("handoff.accepted", seconds, case_id="k1")
    assert one.run.at("HANDOFFS_FAILED", accepted) == one.run.total("HANDOFFS_FAILED") == failed
    assert one.run.total("HANDOFFS_DECIDED") == 1, "once, however it was"
    assert one.run.total("HANDOFF_TIME_15M") == 1, "its latency counts all the same"


def test_a_partner_has_longer() -> None:
    one = Story(DEFINITIONS)
    initiate(one, 0, handoff_kind="warm", partner="acme")
    one.event("handoff.initiated", 0, case_id="k2")
    one.clock(600)
    assert one.run.total("HANDOFFS_FAILED") == 1


def test_a_rejection_is_a_failure_and_ends_the_waiting() -> None:
    one = Story(DEFINITIONS)
    initiate(one, 0)
    rejected = one.event("handoff.rejected", 30, case_id="k1")
    assert one.run.at("HANDOFFS_FAILED", rejected) == one.run.at("HANDOFFS_DECIDED", rejected) == 1
    one.event("handoff.accepted", 40, case_id="k1")
    one.clock(9000)
    assert one.run.total("HANDOFFS_FAILED") == 1
    assert sum(one.run.total(counter.name) for counter in LATENCIES) == 0, "it was answered already"


def test_initiating_again_before_an_answer_fails_the_first() -> None:
    one = Story(DEFINITIONS)
    initiate(one, 0)
    again = initiate(one, 60)
    one.event("handoff.accepted", 70, case_id="k1")
    assert one.run.at("HANDOFFS_FAILED", again) == one.run.total("HANDOFFS_FAILED") == 1
    assert one.run.total("HANDOFFS_DECIDED") == 2
    assert one.run.total("HANDOFF_TIME_30S") == 1


def test_an_answer_to_nothing_is_nothing() -> None:
    one = Story(DEFINITIONS)
    one.event("handoff.accepted", 0, case_id="k1")
    initiate(one, 10)
    one.event("handoff.accepted", 20, case_id="k2")
    assert one.run.total("HANDOFF_TIME_30S") == 0
    one.clock(9000)
    assert one.run.total("HANDOFFS_FAILED") == 1


def test_what_was_forgotten_is_not_answered() -> None:
    one = Story(DEFINITIONS)
    initiate(one, 0)
    one.event("handoff.accepted", 600 + 1800, case_id="k1")
    assert sum(one.run.total(counter.name) for counter in LATENCIES) == 0


def test_the_alert_fires_at_the_deadline_and_ends_when_somebody_accepts() -> None:
    one = Story(DEFINITIONS)
    initiate(one, 0)
    initiate(one, 60, case="k2")
    one.clock(599)
    assert one.states == []
    one.clock(600)
    assert one.states == ["firing"]
    assert one.run.alerts[0].metric.signals == {"handoffs_failed": 1, "handoffs_waiting": 1}
    one.event("handoff.accepted", 620, case_id="k1")
    assert one.states == ["firing", "resolved"]


def test_the_alert_ends_when_the_handoff_is_forgotten() -> None:
    one = Story(DEFINITIONS)
    initiate(one, 0)
    one.event("handoff.rejected", 10, case_id="k1")
    one.clock(600 + 1799)
    assert one.states == ["firing"]
    one.clock(600 + 1800)
    assert one.states == ["firing", "resolved"]


def test_a_handoff_counts_for_the_team_it_is_for() -> None:
    one = Story(DEFINITIONS)
    initiate(one, 0, team="desk", to_team="billing")
    one.clock(9000)
    assert one.run.total("HANDOFFS_FAILED", team="billing") == 1


def test_cold_is_what_the_kind_says_else_an_empty_context() -> None:
    one = Story(DEFINITIONS)
    initiate(one, 0, "k1", handoff_kind="cold", context_passed=["a"])
    initiate(one, 10, "k2", handoff_kind="warm", context_passed=[])
    initiate(one, 20, "k3", context_passed=[])
    initiate(one, 30, "k4")
    assert one.run.total("HANDOFFS_COLD") == 2


def test_the_handoff_longest_ago_makes_room() -> None:
    one = Story(DEFINITIONS + "[limits]\ncases_per_customer = 1\n")
    initiate(one, 0)
    initiate(one, 10, "k2")
    one.clock(9000)
    assert one.run.total("HANDOFFS_FAILED") == 1
    assert one.run.processor.accounting["cut_handoffs"] == 1


def test_a_finished_history_is_waited_for_until_the_last_deadline() -> None:
    assert parse(DEFINITIONS.replace('"40m"', '"4000h"')).longest_deadline_ms == 4000 * HOUR + 30 * MINUTE + 2 * 7 * 24 * HOUR
