"""The timeline of a customer: deadlines come before the event that brings their time, and a moment has what happened at it."""

from __future__ import annotations

import json

from streamer.definitions import parse
from streamer.explain.customer import CustomerStory, Happened
from streamer.processor import LogRecord
from streamer.replay.pipeline import Shape
from streamer.touchpoints.times import milliseconds
from tests import history_support
from tests.history_support import event

RULES = parse(history_support.RULES)
MINUTE = 60_000
T0 = milliseconds("2026-03-02T08:00:00Z")


def story(*events: dict[str, object], until_ms: int | None = None, delay_ms: int = 0) -> CustomerStory:
    """Of anna, alone in her partition; each event arrives `delay_ms` after it happened."""
    found = CustomerStory(RULES, Shape(), 3, b"anna", until_ms)
    records = [LogRecord(n, milliseconds(str(one["time"])) + delay_ms, b"anna", json.dumps(one).encode()) for n, one in enumerate(events)]
    found.take(records, [])
    return found


def kinds(found: CustomerStory) -> list[tuple[str, float, str]]:
    def what(one: Happened) -> str:
        return one.told.state if one.told else one.event.type if one.event else ""

    return [(one.kind, (one.time_ms - T0) / MINUTE, what(one)) for one in found.happened]


STARTED = event(0, "anna", "checkout.started", commerce={"checkout_id": "k"})
ERROR = event(1, "anna", "form.error", commerce={"checkout_id": "k"})


def test_deadlines_stand_before_the_event_that_brings_their_time() -> None:
    found = story(STARTED, ERROR, event(50, "anna", "page.viewed"))
    assert kinds(found) == [
        ("event", 0, "checkout.started"),
        ("event", 1, "form.error"),
        ("deadline", 30, ""),
        ("alert", 30, "firing"),
        ("event", 50, "page.viewed"),
    ]
    [change] = found.happened[2].changes
    assert change.signals == {"abandoned": (False, True)}
    assert found.happened[4].changes == []


def test_a_moment_has_the_event_of_that_moment_and_nothing_later() -> None:
    for delay_ms in (0, 5_000):  # as in a file, and as over a network
        found = story(STARTED, ERROR, event(2, "anna", "page.viewed"), until_ms=T0 + MINUTE, delay_ms=delay_ms)
        assert [what for _, _, what in kinds(found)] == ["checkout.started", "form.error"]


def test_time_that_passes_without_events_lets_deadlines_fall_due() -> None:
    found = story(STARTED, ERROR)
    assert [verdict.status for verdict in found.verdicts() if verdict.rule.id == "left-after-friction"] == ["not firing"]
    found.finish(T0 + 30 * MINUTE)
    assert kinds(found)[-2:] == [("deadline", 30, ""), ("alert", 30, "firing")]
    [verdict] = [verdict for verdict in found.verdicts() if verdict.rule.id == "left-after-friction"]
    assert (verdict.status, verdict.since_ms) == ("firing", T0 + 30 * MINUTE)


def test_an_event_out_of_order_is_told_when_it_comes_with_what_it_takes_back() -> None:
    bought = event(20, "anna", "order.completed", commerce={"checkout_id": "k"})
    late = [STARTED, ERROR, event(31, "anna", "page.viewed"), bought]
    found = CustomerStory(RULES, Shape(), 3, b"anna")
    found.take([LogRecord(n, T0 + 31 * MINUTE + n, b"anna", json.dumps(one).encode()) for n, one in enumerate(late)], [])
    assert kinds(found)[-2:] == [("event", 20, "order.completed"), ("alert", 20, "retracted")]
    assert [(change.entity, change.what) for change in found.happened[-2].changes] == [("journey:checkout:k", "ends")]


def test_who_refuses_analytics_gets_no_alert_and_it_is_said() -> None:
    refusing = event(2, "anna", "consent.changed", consent={"categories": {"analytics": False}})
    found = story(STARTED, ERROR, refusing)
    found.finish(T0 + 30 * MINUTE)
    assert found.state.refused
    assert [kind for kind, _, _ in kinds(found)] == ["event", "event", "event", "deadline"]
    [verdict] = [verdict for verdict in found.verdicts() if verdict.rule.id == "left-after-friction"]
    assert verdict.status == "holds"


def test_a_rule_that_cools_down_says_until_when() -> None:
    again = event(31, "anna", "checkout.step_viewed", commerce={"checkout_id": "k"})
    found = story(STARTED, ERROR, again)
    [verdict] = [verdict for verdict in found.verdicts() if verdict.rule.id == "left-after-friction"]
    assert (verdict.status, verdict.until_ms) == ("cooling down", T0 + (30 + 24 * 60) * MINUTE)


def test_of_whom_nothing_is_known_rules_are_as_of_a_customer_without_events() -> None:
    found = story()
    assert [(verdict.rule.id, verdict.status) for verdict in found.verdicts()] == [("heavy-effort", "not firing")]
