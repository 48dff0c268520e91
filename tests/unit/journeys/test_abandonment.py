"""Abandonment as the design fixes it, sentence by sentence, at equality of times too: net counts per pane, and what consumers are told.

The deadline is 30 min after the last activity, recoverable for 24 h, as in the default definitions. Seconds are after the beginning.
"""

from __future__ import annotations

from typing import Any

import pytest

from streamer.definitions import default_text
from tests.journeys_support import BASE_MS, Story, raised

DEADLINE = 1800
RECOVERABLE = 86_400
MS = 0.001
PASSED = DEADLINE + 60  # a clock at which a deadline of 30 min after the beginning has fired

RULE = """
[[rule]]
id = "any-abandoned"
on = "journey"
when = "abandoned"
"""


def started(definitions: str = "") -> Story:
    """A checkout that began at 0."""
    story = Story(definitions or default_text() + RULE)
    story.event("checkout.started", 0, checkout_id="k1")
    return story


def ms(seconds: float) -> int:
    return BASE_MS + round(seconds * 1000)


def counts(story: Story) -> dict[str, int]:
    """Net counts over all panes, without the zeros."""
    names = ("STARTED", "OPEN", "COMPLETED", "ABANDONED", "RECOVERED", "FAILED", "SUPPRESSED")
    return {name: n for name in names if (n := story.run.total(name))}


def states(story: Story) -> list[str]:
    return [alert.state for alert in story.run.alerts if alert.rule.id == "any-abandoned"]


def abandon(story: Story) -> None:
    story.clock(PASSED)
    assert counts(story) == {"STARTED": 1, "ABANDONED": 1}
    assert states(story) == ["firing"]


def test_events_that_put_off_another_deadline_do_not_put_off_the_journeys() -> None:
    story = Story(default_text() + RULE)
    story.event("ui.clicked", -900)  # of a session that ends 30 min after its last event
    story.event("checkout.started", 0, checkout_id="k1")
    for seconds in (300, 600, DEADLINE - 1):
        story.event("ui.clicked", seconds)
    story.clock(DEADLINE - MS)
    assert (counts(story), states(story)) == ({"STARTED": 1, "OPEN": 1}, [])
    story.clock(DEADLINE)
    assert (counts(story), states(story)) == ({"STARTED": 1, "ABANDONED": 1}, ["firing"])


# --- At d: abandoned +1 and stock open -1 in pane(d) --------------------------------------------------------------------------


def test_one_millisecond_before_the_deadline_the_instance_is_open() -> None:
    story = started()
    story.clock(DEADLINE - MS)
    assert counts(story) == {"STARTED": 1, "OPEN": 1}
    assert states(story) == []


def test_when_the_clock_is_exactly_the_deadline_it_has_fired_without_any_event() -> None:
    story = started()
    story.clock(DEADLINE)
    assert counts(story) == {"STARTED": 1, "ABANDONED": 1}
    assert states(story) == ["firing"]


def test_abandonment_counts_in_the_pane_of_the_deadline_however_late_it_is_noticed() -> None:
    story = started()
    story.clock(10 * DEADLINE)
    assert story.run.at("ABANDONED", ms(DEADLINE)) == 1
    assert story.run.at("OPEN", ms(DEADLINE)) == -1
    assert story.run.at("OPEN", ms(0)) == 1


def test_a_deadline_fires_with_its_own_tick_and_time() -> None:
    story = started()
    story.clock(DEADLINE + 100)
    assert {tick for ((name, _, _), tick), n in story.run.tick_sums.items() if name == "ABANDONED" and n} == {ms(DEADLINE) // 1000}
    (alert,) = story.run.alerts
    assert alert.event_time == alert.detected_at == "2026-11-21T10:45:00.000Z"


def test_a_deadline_fires_once_whatever_the_clock_does_afterwards() -> None:
    story = started()
    for seconds in (DEADLINE, DEADLINE, DEADLINE + 1, DEADLINE - 5, DEADLINE + 900):
        story.clock(seconds)
    story.event("page.viewed", DEADLINE + 1000)
    assert counts(story) == {"STARTED": 1, "ABANDONED": 1}
    assert states(story) == ["firing"]


def test_each_activity_moves_the_deadline() -> None:
    story = started()
    story.event("checkout.step_viewed", 600, checkout_id="k1")
    story.clock(600 + DEADLINE - MS)
    assert counts(story) == {"STARTED": 1, "OPEN": 1}
    story.clock(600 + DEADLINE)
    assert story.run.at("ABANDONED", ms(600 + DEADLINE)) == 1


def test_activity_one_millisecond_before_the_deadline_still_moves_it() -> None:
    story = started()
    story.event("checkout.step_viewed", DEADLINE - MS, checkout_id="k1")
    assert counts(story) == {"STARTED": 1, "OPEN": 1}
    assert states(story) == []


@pytest.mark.parametrize("restarts", [[0], [0, 1]])
def test_deadlines_fire_once_also_after_a_restart(restarts: list[int]) -> None:
    story = started()
    if 0 in restarts:
        story.restart()
    story.clock(DEADLINE)
    if 1 in restarts:
        story.restart()
    story.clock(DEADLINE + 60)
    assert counts(story) == {"STARTED": 1, "ABANDONED": 1}
    assert states(story) == ["firing"]


def test_another_customers_event_moves_the_clock_and_fires_the_deadline_before_itself() -> None:
    story = started()
    story.customer = "c-2"
    story.event("checkout.started", DEADLINE, checkout_id="k2")
    assert counts(story) == {"STARTED": 2, "OPEN": 1, "ABANDONED": 1}


# --- A completion at t >= d within recoverable_for ----------------------------------------------------------------------------


@pytest.mark.parametrize("t", [DEADLINE, DEADLINE + MS, DEADLINE + 3600, DEADLINE + RECOVERABLE - MS])
def test_a_completion_after_the_deadline_recovers(t: float) -> None:
    story = started()
    abandon(story)
    story.event("order.completed", t, checkout_id="k1", delay=max(0, PASSED - t))
    assert counts(story) == {"STARTED": 1, "COMPLETED": 1, "RECOVERED": 1}
    assert story.run.at("RECOVERED", ms(t)) == story.run.at("COMPLETED", ms(t)) == 1
    assert story.run.at("ABANDONED", ms(DEADLINE)) == 0
    assert story.run.at("OPEN", ms(DEADLINE)) == -1
    assert states(story) == ["firing", "resolved"]


def test_a_completion_at_exactly_the_deadline_comes_after_it_also_when_it_moves_the_clock() -> None:
    story = started()
    story.event("order.completed", DEADLINE, checkout_id="k1")
    assert counts(story) == {"STARTED": 1, "COMPLETED": 1, "RECOVERED": 1}
    assert states(story) == ["firing", "resolved"]


@pytest.mark.parametrize("t", [DEADLINE + RECOVERABLE, DEADLINE + RECOVERABLE + 60])
def test_a_completion_at_the_end_of_recoverability_comes_too_late(t: float) -> None:
    story = started()
    abandon(story)
    story.event("order.completed", t, checkout_id="k1")
    assert counts(story) == {"STARTED": 1, "ABANDONED": 1}
    assert story.run.total("TOUCHPOINTS") == 2


def test_an_alert_ends_with_recoverability() -> None:
    story = started()
    abandon(story)
    story.clock(DEADLINE + RECOVERABLE - MS)
    assert states(story) == ["firing"]
    story.clock(DEADLINE + RECOVERABLE)
    assert states(story) == ["firing", "resolved"]
    assert story.run.alerts[-1].event_time == "2026-11-22T10:45:00.000Z"


# --- A completion (or activity) at t < d that arrives after d fired: as if it never happened ------------------------------------


@pytest.mark.parametrize("t", [1, DEADLINE - MS])
def test_a_completion_from_before_the_deadline_that_arrives_after_it_retracts(t: float) -> None:
    story = started()
    story.clock(PASSED)
    story.event("order.completed", t, checkout_id="k1", delay=PASSED - t)
    assert counts(story) == {"STARTED": 1, "COMPLETED": 1}
    assert story.run.at("ABANDONED", ms(DEADLINE)) == story.run.at("OPEN", ms(DEADLINE)) == 0
    assert story.run.at("COMPLETED", ms(t)) == 1
    assert states(story) == ["firing", "retracted"]


@pytest.mark.parametrize("t", [600, DEADLINE - MS])
def test_activity_from_before_the_deadline_that_arrives_after_it_retracts_and_sets_a_new_deadline(t: float) -> None:
    story = started()
    story.clock(PASSED)
    story.event("checkout.step_viewed", t, checkout_id="k1", delay=PASSED - t)
    assert counts(story) == {"STARTED": 1, "OPEN": 1}
    assert story.run.at("ABANDONED", ms(DEADLINE)) == story.run.at("OPEN", ms(DEADLINE)) == 0
    assert states(story) == ["firing", "retracted"]
    story.clock(t + DEADLINE)
    assert story.run.at("ABANDONED", ms(t + DEADLINE)) == 1
    assert states(story) == ["firing", "retracted", "firing"]


def test_a_new_deadline_that_has_already_passed_fires_at_once() -> None:
    story = started()
    story.clock(PASSED)
    story.event("checkout.step_viewed", 30, checkout_id="k1", delay=PASSED - 30)
    assert counts(story) == {"STARTED": 1, "ABANDONED": 1}
    assert story.run.at("ABANDONED", ms(DEADLINE + 30)) == 1
    assert story.run.at("ABANDONED", ms(DEADLINE)) == 0


def test_a_retraction_is_the_same_after_a_restart() -> None:
    story = started()
    story.clock(PASSED)
    story.restart()
    story.event("order.completed", DEADLINE - MS, checkout_id="k1", delay=PASSED - DEADLINE + MS)
    assert counts(story) == {"STARTED": 1, "COMPLETED": 1}
    assert states(story) == ["firing", "retracted"]


def test_a_retraction_is_not_told_as_resolved_because_another_alert_has_ended() -> None:
    story = Story(default_text() + RULE)
    story.event("checkout.started", 0, checkout_id="k1")
    story.event("checkout.started", 60, checkout_id="k2")
    story.clock(60 + PASSED)
    story.event("order.completed", 60 + PASSED, checkout_id="k1")
    story.event("order.completed", 60 + DEADLINE - 1, checkout_id="k2", delay=100)
    assert states(story) == ["firing", "firing", "resolved", "retracted"]


# --- Other activity at t >= d within recoverable_for reopens -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["checkout.step_viewed", "checkout.started", "payment.failed"])
@pytest.mark.parametrize("t", [DEADLINE, DEADLINE + 3600, DEADLINE + RECOVERABLE - MS])
def test_activity_after_the_deadline_reopens(kind: str, t: float) -> None:
    story = started()
    story.clock(max(DEADLINE, t - 1))
    story.event(kind, t, checkout_id="k1")
    assert counts(story) == {"STARTED": 1, "OPEN": 1}
    assert story.run.at("ABANDONED", ms(DEADLINE)) == 0
    assert states(story) == ["firing", "resolved"]
    story.clock(t + DEADLINE - MS)
    assert counts(story) == {"STARTED": 1, "OPEN": 1}
    story.clock(t + DEADLINE)
    assert counts(story) == {"STARTED": 1, "ABANDONED": 1}
    assert story.run.at("ABANDONED", ms(t + DEADLINE)) == 1
    assert states(story) == ["firing", "resolved", "firing"]


def test_a_start_at_the_end_of_recoverability_begins_another_instance() -> None:
    story = started()
    story.clock(DEADLINE + RECOVERABLE)
    story.event("checkout.started", DEADLINE + RECOVERABLE, checkout_id="k1")
    assert counts(story) == {"STARTED": 2, "ABANDONED": 1, "OPEN": 1}


# --- The rest of the table -----------------------------------------------------------------------------------------------------


def test_a_completion_in_time() -> None:
    story = started()
    story.event("order.completed", 60, checkout_id="k1")
    story.clock(2 * RECOVERABLE)
    assert counts(story) == {"STARTED": 1, "COMPLETED": 1}
    assert states(story) == []


def test_a_failure_in_time_is_lost_and_after_the_deadline_stays_abandoned() -> None:
    story = started()
    story.event("order.cancelled", 60, checkout_id="k1")
    assert counts(story) == {"STARTED": 1, "FAILED": 1}
    story = started()
    abandon(story)
    story.event("order.cancelled", PASSED, checkout_id="k1")
    assert counts(story) == {"STARTED": 1, "ABANDONED": 1}
    assert states(story) == ["firing", "resolved"]
    story.event("order.completed", PASSED + 1, checkout_id="k1")
    assert counts(story) == {"STARTED": 1, "ABANDONED": 1}


@pytest.mark.parametrize("kind", ["order.completed", "order.cancelled", "checkout.step_viewed"])
def test_what_was_never_begun_is_neither_won_nor_lost(kind: str) -> None:
    story = Story(default_text())
    story.event(kind, 0, checkout_id="k1")
    assert counts(story) == {}
    assert story.run.total("TOUCHPOINTS", journey="checkout") == 1


def test_an_identity_link_suppresses_open_instances_only() -> None:
    story = started()
    story.event("checkout.started", 600, checkout_id="k2")
    story.clock(PASSED)
    story.event("identity.linked", PASSED)
    assert counts(story) == {"STARTED": 2, "ABANDONED": 1, "SUPPRESSED": 1}
    assert story.run.at("SUPPRESSED", ms(PASSED)) == 1
    assert story.run.at("OPEN", ms(PASSED)) == -1
    story.clock(2 * RECOVERABLE)
    assert counts(story) == {"STARTED": 2, "ABANDONED": 1, "SUPPRESSED": 1}


def test_everything_counts_with_the_dimensions_of_the_event_that_began_the_instance() -> None:
    story = Story(default_text())
    story.event("checkout.started", 0, checkout_id="k1", channel="app", platform="ios")
    story.clock(DEADLINE)
    story.event("order.completed", DEADLINE + 5, checkout_id="k1", channel="store", platform="till")
    for name in ("STARTED", "COMPLETED", "RECOVERED"):
        assert story.run.total(name) == story.run.total(name, journey="checkout", channel="app", platform="ios") == 1


def test_an_instance_keeps_the_deadline_it_started_under() -> None:
    story = started(default_text())
    shorter = raised(default_text().replace('deadline = "30m"', 'deadline = "1m"'))
    story.run.upgrade(shorter)
    story.event("checkout.started", 10, checkout_id="k2")
    story.clock(70)
    assert counts(story) == {"STARTED": 2, "OPEN": 1, "ABANDONED": 1}
    story.clock(DEADLINE - MS)
    assert counts(story) == {"STARTED": 2, "OPEN": 1, "ABANDONED": 1}
    story.clock(DEADLINE)
    assert counts(story) == {"STARTED": 2, "ABANDONED": 2}


# --- Late completions ----------------------------------------------------------------------------------------------------------


def late_completion(t: float, clock: float, **fields: str) -> Story:
    """An abandoned checkout, and a completion of time `t` that arrives at `clock`, when its time is behind the watermark."""
    story = started()
    story.event("page.viewed", clock)
    story.event("order.completed", t, delay=clock - t, **{"checkout_id": "k1", **fields})
    return story


def test_a_late_completion_recovers_at_the_clock_and_changes_no_pane_of_its_own() -> None:
    clock = DEADLINE + 3600
    story = late_completion(60, clock)
    assert counts(story) == {"STARTED": 1, "COMPLETED": 1, "RECOVERED": 1}
    assert story.run.at("RECOVERED", ms(clock)) == story.run.at("COMPLETED", ms(clock)) == 1
    assert story.run.at("COMPLETED", ms(60)) == 0
    assert states(story) == ["firing", "resolved"]
    assert story.run.total("TOUCHPOINTS") == 2
    assert story.run.processor.accounting["late"] == 1
    assert [output.topic for output in story.run.put_aside] == ["late"]


def test_a_late_completion_sent_again_recovers_nothing_more() -> None:
    story = late_completion(60, DEADLINE + 3600)
    story.event("order.completed", 60, id="e2", checkout_id="k1")
    assert counts(story) == {"STARTED": 1, "COMPLETED": 1, "RECOVERED": 1}
    accounting = story.run.processor.accounting
    assert accounting["late"] + accounting["duplicate"] == 2


def test_a_late_completion_of_an_open_instance_changes_nothing() -> None:
    story = started()
    story.event("checkout.step_viewed", 1000, checkout_id="k1")
    story.event("order.completed", 60, delay=940, checkout_id="k1")
    assert counts(story) == {"STARTED": 1, "OPEN": 1}
    assert story.run.processor.accounting["late"] == 1


def test_late_activity_and_completions_of_something_else_change_nothing() -> None:
    story = late_completion(60, DEADLINE + 3600, checkout_id="k2")
    story.event("checkout.step_viewed", 61, checkout_id="k1")
    assert counts(story) == {"STARTED": 1, "ABANDONED": 1}
    assert states(story) == ["firing"]
    assert story.run.processor.accounting["late"] == 2


def test_a_late_completion_after_a_restart() -> None:
    story = started()
    story.event("page.viewed", DEADLINE + 3600)
    story.restart()
    story.event("order.completed", 60, checkout_id="k1")
    assert counts(story) == {"STARTED": 1, "COMPLETED": 1, "RECOVERED": 1}
    assert states(story) == ["firing", "resolved"]


@pytest.mark.parametrize(("began_ahead", "recovered"), [(MS, 0), (0, 1)])
@pytest.mark.parametrize("ids", [{"cart_id": "cart"}, {"session_id": "s1"}, {}])
def test_a_late_completion_recovers_nothing_that_began_after_it(ids: dict[str, Any], began_ahead: float, recovered: int) -> None:
    """Such as the event of an order sent again, after another checkout with the same cart."""
    story = Story(default_text())
    story.event("checkout.started", 0, **ids)
    story.event("order.completed", 60, **ids)
    story.event("checkout.started", 300 + began_ahead, **ids)
    story.event("page.viewed", DEADLINE + 3600)
    assert counts(story) == {"STARTED": 2, "COMPLETED": 1, "ABANDONED": 1}
    story.event("order.completed", 300, **ids)
    assert story.run.processor.accounting["late"] == 1
    assert story.run.total("RECOVERED") == recovered
    assert counts(story) == {"STARTED": 2, "COMPLETED": 1 + recovered} | ({"RECOVERED": 1} if recovered else {"ABANDONED": 1})


@pytest.mark.parametrize("restart", [False, True])
def test_when_a_late_completion_happened_is_known_also_when_it_is_folded_again(restart: bool) -> None:
    story = Story(default_text().replace('deadline = "30m"', 'deadline = "1m"'))
    story.event("checkout.started", 0, checkout_id="k1", cart_id="cart")
    story.event("page.viewed", 5400)
    story.event("order.completed", 60, cart_id="cart")
    assert counts(story) == {"STARTED": 1, "COMPLETED": 1, "RECOVERED": 1}
    if restart:
        story.restart()
    story.event("order.completed", 4800, checkout_id="k1")
    story.event("checkout.started", 4810, checkout_id="k2", cart_id="cart")
    assert counts(story) == {"STARTED": 2, "COMPLETED": 1, "RECOVERED": 1, "ABANDONED": 1}
    assert story.run.at("RECOVERED", ms(4800)) == 1
