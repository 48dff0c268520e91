"""Analytics consent: refused, the customer counts in aggregates and no alert is about them."""

from __future__ import annotations

from typing import Any

import pytest

from streamer.alerts.times import rfc3339
from streamer.definitions import default_text
from tests.journeys_support import BASE_MS, SECOND, Story, raised, record

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
    time_moves(story, 400 * 86_400)
    story.event("case.reopened", 400 * 86_400, case_id="q1")
    story.event("case.reopened", 400 * 86_400, case_id="q1")
    assert story.states == []


HOURS_LATER = 20_000


def time_moves(story: Story, seconds: float) -> None:
    """Somebody else does something."""
    story.customer, before = "c-2", story.customer
    story.event("page.viewed", seconds)
    story.customer = before


def told_late(story: Story, happened: float, **fields: Any) -> None:
    """A statement that comes long after it was made, when time has moved on."""
    time_moves(story, HOURS_LATER)
    story.event("consent.changed", happened, delay=HOURS_LATER - happened, **fields)


def test_a_refusal_told_late_counts_from_then_on() -> None:
    story = Story(default_text())
    story.event("case.reopened", 0, case_id="q1")
    told_late(story, 5, analytics_consent=False)
    assert story.run.processor.accounting["late"] == story.run.processor.accounting["late_consents"] == 1
    told = len(story.states)
    for at in range(3):
        story.event("case.reopened", HOURS_LATER + 10 + at, case_id="q1")
    assert story.states[told:] == []
    assert story.run.total("REPEAT_CONTACTS") == 4, "counters go on"


def test_a_refusal_told_late_resolves_what_is_in_force_at_the_clock() -> None:
    story = Story(default_text())
    for at in range(3):
        story.event("case.reopened", 10 + at, case_id="q1")
    assert "repeated-contacts" in {alert.rule.id for alert in story.run.in_force}
    told_late(story, 5, analytics_consent=False)
    assert story.run.in_force == []
    assert "retracted" not in story.states
    assert story.run.alerts[-1].event_time == rfc3339(BASE_MS + HOURS_LATER * SECOND), "nothing is taken back: it was true when it was told"


def test_a_refusal_told_late_of_somebody_not_known_counts_also_after_a_restart() -> None:
    story = Story(default_text())
    told_late(story, 5, analytics_consent=False)
    story.restart()
    for at in range(3):
        story.event("case.reopened", HOURS_LATER + 10 + at, case_id="q1")
    assert story.states == []


def test_a_consent_told_late_of_somebody_not_known_keeps_nobody() -> None:
    story = Story(default_text())
    told_late(story, 5, analytics_consent=True)
    assert story.customer.encode() not in story.run.processor.rows()


@pytest.mark.parametrize("restart", [False, True])
def test_what_was_said_last_counts_whatever_is_told_last(*, restart: bool) -> None:
    story = Story(default_text())
    story.event("contact.started", 0, case_id="q1")
    story.event("consent.changed", 100, analytics_consent=True)
    told_late(story, 50, analytics_consent=False)
    assert "late_consents" not in story.run.processor.accounting, "he has changed his mind since"
    told_late(story, 150, analytics_consent=False)
    told_late(story, 120, analytics_consent=True)
    if restart:
        story.restart()
    for at in range(3):
        story.event("case.reopened", HOURS_LATER + 10 + at, case_id="q1")
    assert story.states == []
    assert story.run.processor.accounting["late_consents"] == 1


def test_a_statement_within_the_lateness_that_was_made_after_one_told_late_overtakes_it() -> None:
    story = Story(default_text())
    story.event("case.reopened", 0, case_id="q1")
    told_late(story, 5, analytics_consent=False)
    story.event("consent.changed", HOURS_LATER - 600, delay=600, analytics_consent=True)
    for at in range(3):
        story.event("case.reopened", HOURS_LATER + 10 + at, case_id="q1")
    assert "repeated-contacts" in {alert.rule.id for alert in story.run.in_force}


def test_a_late_completion_that_also_refuses_does_both() -> None:
    story = with_alert()
    time_moves(story, 5000)
    story.event("order.completed", 60, delay=4940, checkout_id="k1", analytics_consent=False)
    assert story.run.total("RECOVERED") == 1
    assert story.states == ["firing", "resolved"]
    assert {kind: n for kind, n in story.run.processor.accounting.items() if kind.startswith("late_")} == {
        "late_consents": 1, "late_recoveries": 1,
    }  # fmt: skip


def test_a_late_statement_leaves_alone_what_it_would_have_completed_in_time() -> None:
    """Only what is abandoned when it comes is recovered; it is kept for what it says of consent."""
    story = Story(default_text())
    story.event("checkout.started", 4000, checkout_id="k1")
    time_moves(story, 5000)
    story.event("order.completed", 4010, delay=990, checkout_id="k1", analytics_consent=False)
    assert story.run.total("COMPLETED") == 0
    story.clock(4000 + ABANDONED)
    assert story.run.total("ABANDONED") == 1


@pytest.mark.parametrize("upgraded", [False, True])
def test_a_refusal_counts_though_what_is_folded_is_ahead_of_the_clock(*, upgraded: bool) -> None:
    """New definitions fold what is there; the latest event is of a producer whose clock is four minutes ahead."""
    story = Story(default_text())
    story.event("contact.started", 0, case_id="q1")
    ahead = {"type": "page.viewed", "id": "ahead", "source": "/test", "channel": "web", "customer": "c-1", "time": BASE_MS + 340 * SECOND}
    story.send([record({**ahead, "offset": story.offset, "arrival": BASE_MS + 100 * SECOND})])
    if upgraded:
        story.run.upgrade(raised(default_text()))
    story.event("page.viewed", 105)
    story.event("consent.changed", 110, analytics_consent=False)
    for at in range(3):
        story.event("case.reopened", 400 + at, case_id="q1")
    assert story.states == []


def test_a_consent_told_late_does_not_undo_a_refusal_that_does_not_say_when_it_was() -> None:
    """As of a row that an older build wrote."""
    story = Story(default_text())
    story.event("contact.started", 0, case_id="q1")
    story.event("consent.changed", 100, analytics_consent=False)
    customer = story.run.processor._customers.get(b"c-1")
    assert customer is not None
    assert customer.state is not None
    customer.settle(story.run.processor._fold, customer.state)
    customer.state.consent_at = 0
    told_late(story, 50, analytics_consent=True)
    assert customer.state.refused
    told_late(story, 40, analytics_consent=False)
    assert customer.state.refused


@pytest.mark.parametrize("happened", [-BASE_MS / 1000, -BASE_MS / 1000 - 1])
def test_a_late_statement_of_no_time_after_the_epoch_is_late_and_no_more(happened: float) -> None:
    story = Story(default_text())
    told_late(story, happened, analytics_consent=False)
    assert story.run.processor.accounting["late"] == 1
    assert "late_consents" not in story.run.processor.accounting
    assert story.run.total("TOUCHPOINTS") == 1
    assert story.customer.encode() not in story.run.processor.rows()
