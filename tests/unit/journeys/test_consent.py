"""Analytics consent: refused, the customer counts in aggregates and no alert is about them."""

from __future__ import annotations

from streamer.definitions import default_text
from tests.journeys_support import Story

ABANDONED = 1800


def with_alert() -> Story:
    """A checkout abandoned with friction, and its alert in force."""
    story = Story(default_text())
    story.event("checkout.started", 0, checkout_id="k1")
    story.event("payment.failed", 10, checkout_id="k1")
    story.clock(10 + ABANDONED)
    assert story.states == ["firing"]
    return story


def test_refused_before_nothing_fires_and_counters_go_on() -> None:
    story = Story(default_text())
    story.event("checkout.started", 0, checkout_id="k1", analytics_consent=False)
    story.event("payment.failed", 10, checkout_id="k1")
    for at in range(3):
        story.event("case.reopened", 20 + at, case_id="q1")
    story.clock(10 + ABANDONED)
    assert story.states == []
    assert story.run.total("ABANDONED") == story.run.total("FRICTION_INSTANCES") == 1
    assert story.run.total("REPEAT_CONTACTS") == 3


def test_the_event_that_refuses_fires_nothing_itself() -> None:
    story = Story(default_text())
    story.event("case.reopened", 0, case_id="q1")
    story.event("case.reopened", 10, case_id="q1", analytics_consent=False)
    assert story.states == []


def test_a_refusal_resolves_what_is_in_force_and_it_stays_so() -> None:
    story = with_alert()
    story.event("consent.changed", 2000, analytics_consent=False)
    assert story.states == ["firing", "resolved"]
    story.event("payment.failed", 2010, checkout_id="k1")
    story.clock(2010 + ABANDONED)
    assert story.states == ["firing", "resolved"]
    assert story.run.total("ABANDONED") == 1


def test_events_that_say_nothing_of_consent_leave_it_as_it_was_also_after_a_restart() -> None:
    story = with_alert()
    story.event("consent.changed", 2000, analytics_consent=False)
    story.restart()
    story.event("checkout.started", 3000, checkout_id="k2")
    story.event("payment.failed", 3010, checkout_id="k2")
    story.clock(3010 + ABANDONED)
    assert story.states == ["firing", "resolved"]


def test_consent_given_again_lets_alerts_fire_from_there_on() -> None:
    story = Story(default_text())
    story.event("checkout.started", 0, checkout_id="k1", analytics_consent=False)
    story.event("payment.failed", 10, checkout_id="k1")
    story.event("consent.changed", 20, analytics_consent=True)
    assert story.states == []
    story.clock(10 + ABANDONED)
    assert story.states == ["firing"]


def test_a_refusal_that_arrives_late_in_order_ends_what_fired_after_it() -> None:
    story = with_alert()
    story.event("consent.changed", 1200, delay=700, analytics_consent=False)
    assert story.states == ["firing", "retracted"]


def test_another_customers_refusal_is_their_own() -> None:
    story = with_alert()
    story.customer = "c-2"
    story.event("consent.changed", 2000, analytics_consent=False)
    assert story.states == ["firing"]


def test_who_refused_is_not_forgotten_while_silent() -> None:
    story = Story(default_text())
    story.event("consent.changed", 0, analytics_consent=False)
    story.customer = "c-2"
    story.event("page.viewed", 400 * 86_400)
    story.customer = "c-1"
    story.event("case.reopened", 400 * 86_400, case_id="q1")
    story.event("case.reopened", 400 * 86_400, case_id="q1")
    assert story.states == []
