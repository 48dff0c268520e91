"""Contacts and issues by hand: what repeats, what switches, what a transfer belongs to, and what effort it adds up to."""

from __future__ import annotations

from typing import Any

import pytest

from streamer.definitions import default_text
from streamer.journeys.contacts import CONTACT_IDS_MAX
from tests.journeys_support import BASE_MS, Story

HOUR = 3600
DAY = 24 * HOUR
MS = 0.001


def story(scope: str = "issue") -> Story:
    return Story(default_text().replace('scope = "issue"', f'scope = "{scope}"'))


def totals(one: Story, *names: str) -> list[int]:
    return [one.run.total(name) for name in names]


# --- What an event is about ------------------------------------------------------------------------------------------------------


def test_what_names_only_its_contact_is_about_what_the_contact_was_told_to_be_about() -> None:
    one = story()
    one.event("contact.started", 0, issue_id="i1", contact_id="x1", reason="bill")
    one.event("contact.transferred", 60, contact_id="x1", handoff_kind="cold")
    one.event("contact.ended", 120, contact_id="x1", resolved=True)
    one.event("contact.started", DAY, issue_id="i1", contact_id="x2", reason="bill")
    assert totals(one, "CONTACTS", "ISSUES", "CONTACTS_TRANSFERRED", "REPEAT_CONTACTS") == [2, 1, 1, 1]
    assert one.run.total("EFFORT_TENTHS") == 50, "a cold transfer and a repetition, of one issue"


@pytest.mark.parametrize(
    ("first", "later", "issues"),
    [
        ({"issue_id": "i1"}, {"contact_id": "x1"}, 1),
        ({"case_id": "k1"}, {"contact_id": "x1"}, 1),
        ({"reason": "bill"}, {"contact_id": "x1"}, 1),
        ({"issue_id": "i1"}, {"contact_id": "x1", "reason": "bill"}, 1),  # an id goes before a reason
        ({"reason": "bill"}, {"contact_id": "x1", "reason": "delivery"}, 2),  # its own goes before the contact's
        ({"issue_id": "i1"}, {"contact_id": "x1", "issue_id": "i2"}, 2),
        ({"issue_id": "i1"}, {"contact_id": "x2"}, 2),
        ({}, {"contact_id": "x1"}, 1),
        ({"issue_id": "i1"}, {}, 2),
    ],
)
def test_what_a_contact_is_about_is_told_by_any_of_its_events(first: dict[str, Any], later: dict[str, Any], issues: int) -> None:
    one = story()
    one.event("contact.started", 0, contact_id="x1", **first)
    one.event("contact.transferred", 60, **later)
    assert totals(one, "ISSUES") == [issues]


def test_a_contact_is_about_what_was_told_last_and_not_too_long_ago() -> None:
    one = story()
    one.event("contact.started", 0, contact_id="x1", issue_id="i1")
    one.event("contact.transferred", 60, contact_id="x1", issue_id="i2")
    one.event("contact.transferred", 120, contact_id="x1")
    assert totals(one, "ISSUES", "CONTACTS_TRANSFERRED") == [2, 1], (
        "both transfers are of the contact that the second issue's first stood for"
    )
    for gap, issues in ((3 * DAY - MS, 1), (3 * DAY, 2)):
        one = story()
        one.event("contact.started", 0, contact_id="x1", issue_id="i1")
        one.event("contact.transferred", gap, contact_id="x1")
        assert totals(one, "ISSUES") == [issues], gap
    one = story()
    one.event("contact.started", 0, contact_id="x1", issue_id="i1")
    one.event("contact.transferred", 2 * DAY, contact_id="x1")
    one.event("contact.transferred", 4 * DAY, contact_id="x1")
    assert totals(one, "ISSUES") == [2], "only what says it by itself tells it"


def test_of_contacts_the_latest_are_remembered() -> None:
    one = story()
    for number in range(CONTACT_IDS_MAX + 1):
        one.event("contact.started", number, contact_id=f"x{number}", issue_id="i1")
    assert one.run.processor.accounting["cut_contact_ids"] == 1
    one.event("contact.transferred", 60, contact_id="x1")
    assert totals(one, "ISSUES") == [1]
    one.event("contact.transferred", 60, contact_id="x0")
    assert totals(one, "ISSUES") == [2]


# --- Repetitions (E5) ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gap", "repeats"), [(1, 1), (7 * DAY, 1), (7 * DAY + MS, 0)])
def test_a_contact_repeats_until_exactly_seven_days_after_the_resolution(gap: float, repeats: int) -> None:
    one = story()
    one.event("contact.started", 0, reason="bill", channel="phone")
    one.event("contact.ended", 60, reason="bill", channel="phone")
    one.event("contact.started", 60 + gap, reason="bill", channel="phone")
    assert totals(one, "CONTACTS", "REPEAT_CONTACTS") == [2, repeats]
    assert one.run.at("REPEAT_CONTACTS", BASE_MS + round((60 + gap) * 1000)) == repeats


@pytest.mark.parametrize(
    ("first", "again", "repeats"),
    [
        ({"reason": "bill"}, {"reason": "bill"}, 1),
        ({"reason": "bill"}, {"reason": "delivery"}, 0),
        ({"reason": "bill", "issue_id": "i1"}, {"reason": "bill", "issue_id": "i2"}, 1),
        ({"issue_id": "i1"}, {"issue_id": "i1"}, 1),
        ({"issue_id": "i1"}, {"issue_id": "i2"}, 0),
        ({"issue_id": "i1"}, {"case_id": "i1"}, 1),
        ({"reason": "bill", "issue_id": "i1"}, {"issue_id": "i1"}, 1),
        ({}, {}, 1),
    ],
)
def test_the_same_issue_or_the_same_reason_repeats(first: dict[str, Any], again: dict[str, Any], repeats: int) -> None:
    one = story()
    one.event("contact.started", 0, **first)
    one.event("contact.ended", 60, **first)
    one.event("contact.started", HOUR, **again)
    assert totals(one, "CONTACTS", "REPEAT_CONTACTS") == [2, repeats]


def test_the_reason_of_an_issue_stands_for_events_that_name_only_the_issue() -> None:
    one = story()
    one.event("contact.started", 0, issue_id="i1", reason="bill")
    one.event("contact.ended", 60, issue_id="i1")
    one.event("contact.started", HOUR, reason="bill")
    assert totals(one, "REPEAT_CONTACTS") == [1]


def test_an_issues_reason_is_the_first_that_any_of_its_events_gave() -> None:
    one = story()
    one.event("contact.started", 0, issue_id="i1")
    one.event("contact.started", 10, issue_id="i1", reason="bill")
    one.event("contact.transferred", 20, issue_id="i1", reason="delivery")
    one.event("contact.ended", 30, issue_id="i1")
    one.event("contact.started", 40, reason="delivery")
    assert totals(one, "REPEAT_CONTACTS") == [0]
    one.event("contact.started", 50, reason="bill")
    assert totals(one, "REPEAT_CONTACTS") == [1]


@pytest.mark.parametrize(("resolved", "repeats"), [(None, 1), (True, 1), (False, 0)])
def test_only_what_was_resolved_can_repeat(resolved: bool | None, repeats: int) -> None:
    one = story()
    one.event("contact.started", 0, reason="bill")
    one.event("contact.ended", 60, reason="bill", resolved=resolved)
    one.event("contact.started", HOUR, reason="bill")
    assert totals(one, "REPEAT_CONTACTS") == [repeats]


def test_a_resolution_without_an_open_issue_a_reason_or_an_id_is_not_remembered() -> None:
    one = story()
    one.event("contact.ended", 0)
    one.event("contact.started", 60)
    assert totals(one, "CONTACTS", "REPEAT_CONTACTS") == [1, 0]


@pytest.mark.parametrize(("days", "repeats"), [(4, 1), (7, 1), (7.0001, 0)])
def test_an_issue_that_is_named_again_repeats_long_after_it_is_over(days: float, repeats: int) -> None:
    one = story()  # an issue ends after 72 h, a contact repeats within 7 days
    one.event("contact.started", 0, issue_id="i1")
    one.event("contact.ended", 60, issue_id="i1")
    one.event("contact.started", 60 + days * 86_400, issue_id="i1")
    assert totals(one, "CONTACTS", "ISSUES", "REPEAT_CONTACTS") == [2, 2, repeats]


def test_a_reopening_is_a_contact_that_repeats_whoever_reopened() -> None:
    one = story()
    one.event("case.reopened", 0, case_id="q1", initiator="company")
    assert totals(one, "CONTACTS", "REPEAT_CONTACTS", "ISSUES") == [1, 1, 1]


def test_an_event_at_the_same_time_as_the_resolution_follows_it_by_its_offset() -> None:
    one = story()
    one.event("contact.started", 0, reason="bill")
    one.event("contact.started", 60, reason="bill")
    one.event("contact.ended", 60, reason="bill")
    one.event("contact.started", 60, reason="bill")
    assert totals(one, "CONTACTS", "REPEAT_CONTACTS") == [3, 1]


@pytest.mark.parametrize("initiator", ["company", "system"])
def test_what_the_company_begins_is_no_contact_switches_nothing_and_begins_no_issue(initiator: str) -> None:
    one = story()
    one.event("contact.started", 0, initiator=initiator, channel="phone")
    assert totals(one, "CONTACTS", "ISSUES", "TOUCHPOINTS") == [0, 0, 1]
    one.event("contact.started", 10, channel="web")
    one.event("contact.started", 20, initiator=initiator, channel="phone")
    one.event("contact.started", 30, channel="web")
    assert totals(one, "CONTACTS", "ISSUES", "CHANNEL_SWITCHES") == [2, 1, 0]


# --- Issues and switches (E1) --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gap", "issues"), [(72 * HOUR - MS, 1), (72 * HOUR, 2)])
def test_an_issue_ends_seventy_two_hours_after_its_last_contact(gap: float, issues: int) -> None:
    one = story()
    one.event("contact.started", 0, issue_id="i1", channel="web")
    one.event("contact.started", 100, issue_id="i1", channel="web")
    one.event("contact.started", 100 + gap, issue_id="i1", channel="phone")
    assert totals(one, "ISSUES", "CONTACTS") == [issues, 3]
    assert totals(one, "CHANNEL_SWITCHES", "ISSUES_SWITCHED") == [2 - issues] * 2


@pytest.mark.parametrize(
    ("channels", "switches", "web_to_phone"),
    [
        (["web", "app"], 0, 0),
        (["web", "phone"], 1, 1),
        (["app", "ivr"], 1, 1),
        (["phone", "web"], 1, 0),
        (["phone", "ivr"], 0, 0),
        (["chat", "bot", "email"], 1, 0),
        (["social", "social", "sms"], 1, 0),
        (["web", "phone", "web", "phone"], 3, 2),
    ],
)
def test_switches_are_between_groups_of_channels(channels: list[str], switches: int, web_to_phone: int) -> None:
    one = story()
    for at, channel in enumerate(channels):
        one.event("contact.started", 60 * at, channel=channel, reason="bill")
    assert totals(one, "CHANNEL_SWITCHES", "WEB_TO_PHONE", "ISSUES_SWITCHED") == [switches, web_to_phone, int(switches > 0)]
    assert one.run.at("ISSUES_SWITCHED", BASE_MS) == int(switches > 0)


def test_a_search_begins_an_issue_and_is_compared_but_is_no_contact() -> None:
    one = story()
    one.event("knowledge.searched", 0, channel="web", reason="bill")
    one.event("contact.started", 60, channel="phone", reason="bill")
    assert totals(one, "ISSUES", "CONTACTS", "CHANNEL_SWITCHES", "WEB_TO_PHONE") == [1, 1, 1, 1]


def test_other_issues_channels_are_not_compared() -> None:
    one = story()
    one.event("contact.started", 0, channel="web", issue_id="i1")
    one.event("contact.started", 60, channel="phone", issue_id="i2")
    assert totals(one, "ISSUES", "CHANNEL_SWITCHES") == [2, 0]


# --- Scope -----------------------------------------------------------------------------------------------------------------------


def test_everything_of_the_customer_is_one_issue_with_scope_customer() -> None:
    one = story("customer")
    one.event("contact.started", 0, channel="web", issue_id="i1")
    one.event("contact.started", 60, channel="phone", reason="bill")
    assert totals(one, "ISSUES", "CHANNEL_SWITCHES") == [1, 1]


def test_the_journey_instance_named_by_an_id_is_the_issue_with_scope_journey() -> None:
    one = story("journey")
    one.event("checkout.started", 0, checkout_id="k1")
    one.event("checkout.started", 0, checkout_id="k2")
    one.event("contact.started", 60, channel="web", checkout_id="k1")
    one.event("contact.started", 70, channel="phone", checkout_id="k2")
    assert totals(one, "ISSUES", "CHANNEL_SWITCHES") == [2, 0]
    one.event("contact.started", 80, channel="phone", checkout_id="k1")
    assert totals(one, "ISSUES", "CHANNEL_SWITCHES") == [2, 1]


# --- Transfers (E4) --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "cold"),
    [
        ({"handoff_kind": "cold", "context_passed": ["account"]}, 1),
        ({"handoff_kind": "warm", "context_passed": []}, 0),
        ({"handoff_kind": "escalation", "context_passed": []}, 1),
        ({"handoff_kind": "escalation", "context_passed": ["account"]}, 0),
        ({"context_passed": []}, 1),
        ({}, 0),
    ],
)
def test_a_transfer_is_cold_if_it_says_so_or_passed_nothing_on(fields: dict[str, Any], cold: int) -> None:
    one = story()
    one.event("contact.started", 0, reason="bill")
    one.event("contact.transferred", 30, reason="bill", **fields)
    assert totals(one, "TRANSFERS", "COLD_TRANSFERS", "CONTACTS", "CONTACTS_TRANSFERRED") == [1, cold, 1, 1]


def test_several_transfers_of_a_contact_count_once_in_its_rate_and_in_the_pane_of_its_start() -> None:
    one = story()
    one.event("contact.started", 0, reason="bill", channel="phone", team="front")
    for at in (30, 60, 90):
        one.event("contact.transferred", at, reason="bill", channel="email", team="back")
    assert totals(one, "CONTACTS", "TRANSFERS", "CONTACTS_TRANSFERRED") == [1, 3, 1]
    assert one.run.at("CONTACTS_TRANSFERRED", BASE_MS) == 1
    assert one.run.total("CONTACTS_TRANSFERRED", channel="phone", team="front") == 1
    assert one.run.total("TRANSFERS", channel="email", team="back") == 3


@pytest.mark.parametrize(
    ("fields", "transfers"),
    [
        ({"channel": "ivr", "to_team": "front"}, 0),
        ({"channel": "phone", "from_team": "ivr", "to_team": "front"}, 0),
        ({"channel": "phone", "from_team": "front", "to_team": "back"}, 1),
        ({"channel": "bot", "to_team": "front"}, 1),
    ],
)
def test_a_machine_that_passes_on_to_the_first_person_is_no_transfer(fields: dict[str, Any], transfers: int) -> None:
    one = story()
    one.event("contact.started", 0, reason="bill", channel="ivr")
    one.event("contact.transferred", 30, reason="bill", handoff_kind="cold", **fields)
    names = ("CONTACTS", "TRANSFERS", "COLD_TRANSFERS", "CONTACTS_TRANSFERRED", "CONTACTS_INFORMED", "ISSUES")
    assert totals(one, *names) == [1, transfers, transfers, transfers, transfers, 1]
    alone = story()
    alone.event("contact.transferred", 30, reason="bill", **fields)
    assert totals(alone, "CONTACTS", "ISSUES") == [transfers, transfers], "nor does it begin an issue, or stand for a contact"


def test_a_transfer_belongs_to_the_latest_contact() -> None:
    one = story()
    one.event("contact.started", 0, reason="bill")
    one.event("contact.transferred", 20, reason="bill")
    one.event("contact.started", 40, reason="bill")
    one.event("contact.transferred", 60, reason="bill")
    assert totals(one, "CONTACTS", "TRANSFERS", "CONTACTS_TRANSFERRED") == [2, 2, 2]
    assert one.run.at("CONTACTS_TRANSFERRED", BASE_MS + 40_000) == 1


def test_a_transfer_without_a_contact_stands_for_one() -> None:
    one = story()
    one.event("contact.transferred", 20, reason="bill", initiator="company")
    one.event("contact.transferred", 40, reason="bill")
    assert totals(one, "ISSUES", "CONTACTS", "TRANSFERS", "CONTACTS_TRANSFERRED") == [1, 1, 2, 1]


# --- The effort index (E7) ---------------------------------------------------------------------------------------------------------

COLD: tuple[str, dict[str, Any]] = ("contact.transferred", {"handoff_kind": "cold"})
WARM: tuple[str, dict[str, Any]] = ("contact.transferred", {"handoff_kind": "warm"})
REPEAT: tuple[str, dict[str, Any]] = ("case.reopened", {})


@pytest.mark.parametrize(
    ("signals", "tenths", "medium", "high"),
    [
        ([WARM], 10, 0, 0),
        ([COLD], 20, 1, 0),
        ([REPEAT, COLD], 50, 1, 0),
        ([REPEAT, COLD, WARM], 60, 0, 1),
        ([REPEAT, REPEAT], 60, 0, 1),
    ],
)
def test_bands_hold_their_bounds_medium_includes_both(signals: list[Any], tenths: int, medium: int, high: int) -> None:
    one = story()
    one.event("contact.started", 0, case_id="q1")
    for at, (kind, fields) in enumerate(signals):
        one.event(kind, 60 + at, case_id="q1", **fields)
    assert totals(one, "EFFORT_TENTHS", "EFFORT_TENTHS_SQUARED") == [tenths, tenths**2]
    assert totals(one, "ISSUES_EFFORT_MEDIUM", "ISSUES_EFFORT_HIGH") == [medium, high]
    assert one.run.at("EFFORT_TENTHS", BASE_MS) == tenths
    assert one.run.total("EFFORT_TENTHS", channel="web") == tenths


def test_a_switch_weighs_one_and_a_half() -> None:
    one = story()
    one.event("contact.started", 0, channel="web")
    one.event("contact.started", 60, channel="phone")
    assert totals(one, "EFFORT_TENTHS", "EFFORT_TENTHS_SQUARED") == [15, 225]


# --- Friction in journeys ----------------------------------------------------------------------------------------------------------


def test_effort_with_an_id_of_the_instance_is_friction_of_it_once_in_the_pane_of_its_start() -> None:
    one = story()
    one.event("checkout.started", 0, checkout_id="k1", channel="app")
    one.event("contact.started", 60, checkout_id="k1", channel="web")
    assert totals(one, "FRICTION_INSTANCES") == [0]
    one.event("contact.started", 70, checkout_id="k1", channel="phone")
    one.event("payment.failed", 80, checkout_id="k1")
    assert one.run.total("FRICTION_INSTANCES", channel="app") == one.run.at("FRICTION_INSTANCES", BASE_MS) == 1


@pytest.mark.parametrize(("ids", "friction"), [({}, 0), ({"checkout_id": "k2"}, 0), ({"session_id": "s1"}, 1)])
def test_friction_belongs_only_where_an_id_says_so(ids: dict[str, Any], friction: int) -> None:
    one = story()
    one.event("checkout.started", 0, checkout_id="k1", session_id="s1")
    one.event("friction.signal", 60, **ids)
    assert totals(one, "FRICTION_INSTANCES") == [friction]


def test_friction_of_another_checkout_in_the_same_session_is_not_this_ones() -> None:
    one = story()
    one.event("checkout.started", 0, checkout_id="k1", session_id="s1")
    one.event("payment.failed", 60, checkout_id="k2", session_id="s1")
    assert totals(one, "FRICTION_INSTANCES") == [0]


def test_a_friction_event_that_fails_the_journey_finds_no_instance() -> None:
    definitions = default_text().replace('fail = ["order.cancelled"]', 'fail = ["payment.failed"]')
    one = Story(definitions)
    one.event("checkout.started", 0, checkout_id="k1")
    one.event("payment.failed", 60, checkout_id="k1")
    assert totals(one, "FAILED", "FRICTION_INSTANCES") == [1, 0]
