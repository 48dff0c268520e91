"""Invariant I6 for what is kept per customer: each limit cuts the oldest as the event is applied, counts it, and leaves the sums whole."""

from __future__ import annotations

import pytest

from streamer.processor import ROW_PREFIX
from tests.journeys_support import BASE_MS, CORE_DEFINITIONS, Story

DAY = 86_400
ROW = ROW_PREFIX + b"c-1"

CORE_TEXT = CORE_DEFINITIONS.read_text(encoding="utf-8")
LIMITS = """
[limits]
events_per_customer = 20
journeys_per_customer = 2
issues_per_customer = 2
cases_per_customer = 2
evidence_per_alert = 3
"""


def story(extra: str = "") -> Story:
    return Story(CORE_TEXT + LIMITS + extra)


def cuts(one: Story) -> dict[str, int]:
    return {kind: n for kind, n in one.run.processor.accounting.items() if kind.startswith("cut_")}


def test_the_instance_longest_without_activity_makes_room_and_leaves_the_stock() -> None:
    one = story()
    one.event("checkout.started", 0, checkout_id="k1")
    one.event("checkout.started", 10, checkout_id="k2")
    one.event("checkout.step_viewed", 20, checkout_id="k1")
    one.event("checkout.started", 30, checkout_id="k3")
    assert cuts(one) == {"cut_journeys": 1}
    assert one.run.total("OPEN") == 2
    assert one.run.at("OPEN", BASE_MS + 30_000) == 0, "the new one in, the old one out, in the pane of the event that needed the room"
    one.clock(DAY)
    assert (one.run.total("OPEN"), one.run.total("ABANDONED")) == (0, 2)
    assert one.run.at("ABANDONED", BASE_MS + 1_820_000) == one.run.at("ABANDONED", BASE_MS + 1_830_000) == 1


def test_an_abandoned_instance_makes_room_without_touching_the_stock_and_its_alert_ends() -> None:
    one = story()
    one.event("checkout.started", 0, checkout_id="k1")
    one.event("payment.failed", 10, checkout_id="k1")
    one.clock(2000)
    assert one.states == ["firing"]
    for at in range(2):
        one.event("checkout.started", 2000 + at, checkout_id=f"k{2 + at}")
    assert (one.run.total("OPEN"), one.run.total("ABANDONED")) == (2, 1)
    assert one.states == ["firing", "resolved"]
    assert cuts(one) == {"cut_journeys": 1}


def test_limits_are_the_same_when_the_event_that_cuts_arrives_out_of_order() -> None:
    one = story()
    one.event("checkout.started", 0, checkout_id="k1")
    one.event("checkout.started", 30, checkout_id="k3")
    one.event("checkout.started", 10, delay=60, checkout_id="k2")
    assert one.run.total("OPEN") == 2
    assert one.run.at("OPEN", BASE_MS + 30_000) == 0
    assert cuts(one) == {"cut_journeys": 1}


def test_issues_are_cut_and_their_alerts_end() -> None:
    one = story()
    for at, channel in enumerate(["web", "phone", "web"]):
        one.event("contact.started", at, issue_id="i1", channel=channel)
    assert one.states == ["firing"]
    one.event("contact.started", 10, issue_id="i2")
    one.event("contact.started", 20, issue_id="i3")
    assert cuts(one) == {"cut_issues": 1}
    assert one.states == ["firing", "resolved"]
    one.event("contact.started", 30, issue_id="i1", channel="phone")
    assert one.run.total("ISSUES") == 4, "an issue that was cut begins anew"
    assert one.run.total("CHANNEL_SWITCHES") == 2


def test_cases_are_cut() -> None:
    one = story()
    for at, (case, owner) in enumerate([("q1", "A"), ("q2", "A"), ("q3", "A"), ("q1", "B"), ("q3", "B")]):
        one.event("case.updated", at, case_id=case, owner=owner)
    assert cuts(one) == {"cut_cases": 2}
    assert (one.run.total("CASES"), one.run.total("HANDOFFS")) == (4, 1)


def test_remembered_resolutions_are_cut() -> None:
    one = story()
    for at, reason in enumerate(["a", "b", "c", "d", "e"]):
        one.event("contact.ended", at, reason=reason)
    one.event("contact.started", 10, reason="a")
    assert one.run.total("REPEAT_CONTACTS") == 0
    one.event("contact.started", 20, reason="e")
    assert one.run.total("REPEAT_CONTACTS") == 1
    assert cuts(one) == {"cut_resolutions": 1}


def test_remembered_repetitions_are_cut() -> None:
    one = story()
    for at in range(25):
        one.event("case.reopened", 60 * at, case_id="q1")
    assert cuts(one)["cut_repeats"] == 5
    assert one.run.alerts[-1].metric.signals == {"repeat_contacts": 20}
    assert one.run.total("REPEAT_CONTACTS") == 25


def test_events_beyond_the_limit_are_folded_away_and_what_comes_before_them_is_late() -> None:
    one = story()
    for at in range(21):
        one.event("page.viewed", at)
    assert cuts(one) == {"cut_events": 16}, "in chunks of 16"
    one.event("page.viewed", 14, delay=7)
    assert one.run.processor.accounting["late"] == 1
    one.event("page.viewed", 15, delay=7)
    assert one.run.processor.accounting["late"] == 1, "at the time of the newest one folded away it is not before it"
    assert one.run.total("TOUCHPOINTS") == 22


@pytest.mark.parametrize("restart", [False, True])
def test_a_duplicate_of_the_newest_event_folded_away_is_still_known(restart: bool) -> None:
    one = story()
    for at in range(21):
        one.event("page.viewed", min(at, 15), id=f"x{at}")
    if restart:
        one.restart()
    one.event("page.viewed", 15, id="x15")
    assert one.run.processor.accounting["duplicate"] == 1
    one.event("page.viewed", 15, id="x99")
    assert one.run.total("TOUCHPOINTS") == 22


def test_a_duplicate_is_known_after_a_change_of_definitions() -> None:
    one = Story(CORE_TEXT)
    one.event("checkout.started", 0, id="x", checkout_id="k1")
    one.run.upgrade(CORE_TEXT.replace("revision = 1", "revision = 2"))
    one.event("page.viewed", 0)
    one.event("checkout.started", 0, id="x", checkout_id="k1")
    assert one.run.total("STARTED") == 1


@pytest.mark.parametrize("restart", [False, True])
def test_a_row_does_not_grow_with_events(restart: bool) -> None:
    one = story()
    sizes = []
    for at in range(200):
        one.event("checkout.started" if at % 7 == 0 else "payment.failed", at, checkout_id=f"k{at // 7 % 5}")
        if restart and at % 10 == 0:
            one.restart()
        sizes.append(len(one.run.changelog[ROW]))
    assert max(sizes[100:]) <= max(sizes[:100]) * 1.1


def test_evidence_is_cut_and_the_count_says_how_much_there_was() -> None:
    one = story()
    one.event("checkout.started", 0, checkout_id="k1")
    for at in range(5):
        one.event("payment.failed", 10 + at, checkout_id="k1")
    one.clock(3000)
    (alert,) = one.run.alerts
    assert len(alert.evidence) <= 4, "the limit, and the last event"
    assert alert.evidence_count == 6


def test_a_customer_in_whom_nothing_can_matter_any_more_leaves_a_tombstone() -> None:
    one = story()
    one.event("page.viewed", 0)
    one.customer = "c-2"
    one.event("page.viewed", 15 * 60)
    assert ROW in one.run.changelog
    one.event("page.viewed", 15 * 60 + 1)
    assert ROW not in one.run.changelog
    assert [key for key in one.run.changelog if key[:1] == ROW_PREFIX] == [ROW_PREFIX + b"c-2"]
    assert set(one.run.processor.rows()) == {b"c-2"}


def test_a_customer_is_forgotten_also_when_a_new_owner_has_only_its_row() -> None:
    one = story()
    one.event("page.viewed", 0)
    one.restart()
    one.customer = "c-2"
    one.event("page.viewed", 15 * 60 + 1)
    assert ROW not in one.run.changelog


@pytest.mark.parametrize("restart", [False, True])
def test_a_customer_whose_last_deadline_was_taken_back_is_forgotten_with_the_last_event(restart: bool) -> None:
    one = Story(CORE_TEXT + LIMITS)
    one.event("checkout.started", 0, checkout_id="k1")
    one.clock(2 * DAY)  # abandoned, and no longer recoverable
    one.event("order.completed", 60, checkout_id="k1", delay=2 * DAY)
    if restart:
        one.restart()
    one.customer = "c-2"
    one.event("page.viewed", 60 + 15 * 60, delay=2 * DAY)
    assert ROW in one.run.changelog
    one.event("page.viewed", 60 + 15 * 60 + 1, delay=2 * DAY)
    assert ROW not in one.run.changelog


def test_a_customer_is_forgotten_under_the_definitions_of_its_events() -> None:
    one = Story(CORE_TEXT)
    one.event("page.viewed", 0, session_id="s1")
    viewed = CORE_TEXT.replace('start = ["checkout.started"]', 'start = ["checkout.started", "page.viewed"]')
    one.run.upgrade(viewed.replace("revision = 1", "revision = 2"))
    one.customer = "c-2"
    one.event("ui.clicked", 15 * 60 + 1)
    assert ROW not in one.run.changelog
    one.customer = "c-1"
    one.event("order.completed", 15 * 60 + 2, session_id="s1")
    assert (one.run.total("STARTED"), one.run.total("OPEN"), one.run.total("COMPLETED")) == (0, 0, 0)


def test_a_customer_with_anything_open_is_kept_until_it_has_ended() -> None:
    one = story()
    one.event("checkout.started", 0, checkout_id="k1")
    one.customer = "c-2"
    end = 1800 + DAY
    one.event("page.viewed", end)
    assert ROW in one.run.changelog
    one.event("page.viewed", end + 15 * 60 + 1)
    assert ROW not in one.run.changelog
    assert one.run.total("ABANDONED") == 1


def test_a_forgotten_customer_who_comes_back_has_new_alert_ids() -> None:
    one = story()
    for life in range(2):
        begin = life * 30 * DAY
        one.event("checkout.started", begin, checkout_id="k1")
        one.event("payment.failed", begin, checkout_id="k1")
        one.clock(begin + 5 * DAY)
        one.event("page.viewed", begin + 20 * DAY)
    assert one.states == ["firing", "resolved"] * 2
    assert len({alert.alert_id for alert in one.run.alerts}) == 4
    assert len({alert.fingerprint for alert in one.run.alerts}) == 1
