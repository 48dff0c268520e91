"""Evidence of rules on customers: the events that their condition is about, and how many there are."""

from __future__ import annotations

from typing import Any

import pytest

from streamer.alerts.alert import Alert
from streamer.definitions import default_text
from tests.journeys_support import Story

HOUR = 3_600
DAY = 24 * HOUR
MS = 0.001
BARE = default_text()[: default_text().index("[[rule]]")]


def ruled(when: str, **settings: Any) -> Story:
    """A story with this one rule, and every chapter of the default definitions."""
    more = "".join(f"{name} = {value}\n" for name, value in settings.items())
    return Story(f'{BARE}\n[[rule]]\nid = "r"\non = "customer"\nwhen = """{when}"""\n{more}')


def events(alert: Alert) -> list[str]:
    return [one.event_id for one in alert.evidence]


def test_repeated_contacts_carry_the_contacts_and_nothing_else_that_the_customer_did() -> None:
    story = Story(default_text())
    for at in range(25):
        story.event("order.completed", at * HOUR, order_id=f"o{at}", revenue="10.00", currency="EUR")
    story.event("survey.responded", 26 * HOUR, survey={"instrument": "nps", "score": 9})
    for at in (30, 31):
        story.event("contact.started", at * HOUR, reason="bill", id=f"contact-{at}")
        story.event("contact.ended", at * HOUR + 60, reason="bill")
    story.event("contact.started", 32 * HOUR, reason="bill", id="contact-32")
    (alert,) = [one for one in story.run.alerts if one.rule.id == "repeated-contacts"]
    assert (events(alert), alert.evidence_count) == (["contact-30", "contact-31", "contact-32"], 3)


def test_a_chapter_that_the_condition_names_gives_its_events_and_no_contacts() -> None:
    story = Story(default_text())
    story.event("contact.started", 0, reason="bill")
    story.event("order.completed", 60, order_id="o1", revenue="10.00", currency="EUR")
    story.event("survey.responded", 120, survey={"instrument": "nps", "score": 2}, id="answer")
    (alert,) = [one for one in story.run.alerts if one.rule.id == "detractor"]
    assert (events(alert), alert.evidence_count) == (["answer"], 1)


def test_a_condition_on_contacts_and_a_chapter_has_the_events_of_both_in_their_order() -> None:
    story = ruled("orders >= 1 and contacts >= 2", show='["nps_lowest"]')
    story.event("contact.started", 0, reason="bill", id="first")
    story.event("order.completed", 60, order_id="o1", revenue="10.00", currency="EUR", id="order")
    story.event("survey.responded", 90, survey={"instrument": "nps", "score": 2})
    story.event("contact.started", 120, reason="parcel", id="second")
    (alert,) = story.run.alerts
    assert (events(alert), alert.evidence_count) == (["first", "order", "second"], 3)


def test_contacts_that_repeat_nothing_are_evidence_of_a_rule_on_their_number() -> None:
    for on in ("customer", "issue"):
        story = Story(f'{BARE}\n[[rule]]\nid = "r"\non = "{on}"\nwhen = "contacts >= 2"\n')
        for at in range(3):
            story.event("contact.started", at * 60, reason="bill", id=f"contact-{at}")
            story.event("contact.ended", at * 60 + 30, reason="bill", resolved=False)
        fired, amended = story.run.alerts
        assert (events(fired), fired.evidence_count) == (["contact-0", "contact-1"], 2)
        assert (events(amended), amended.evidence_count) == (["contact-0", "contact-1", "contact-2"], 3)


def test_contacts_that_no_rule_counts_take_no_place_of_what_rules_count() -> None:
    for on in ("customer", "issue"):
        story = Story(f'{BARE}\n[[rule]]\nid = "r"\non = "{on}"\nwhen = "transfers >= 3"\n')
        for at in range(22):
            story.event("contact.started", at * 60, reason="bill", id=f"contact-{at}")
        for at in range(3):
            story.event("contact.transferred", 1400 + at * 60, reason="bill", channel="phone", id=f"transfer-{at}")
        (alert,) = story.run.alerts
        assert (events(alert), alert.evidence_count) == (["contact-0", "transfer-0", "transfer-1", "transfer-2"], 4)


def test_what_a_rule_only_shows_is_no_evidence() -> None:
    story = ruled("contacts >= 1", show='["orders"]')
    story.event("order.completed", 0, order_id="o1", revenue="10.00", currency="EUR")
    story.event("contact.started", 60, reason="bill", id="contact")
    (alert,) = story.run.alerts
    assert alert.metric.signals == {"contacts": 1, "orders": 1}
    assert (events(alert), alert.evidence_count) == (["contact"], 1)


def test_an_event_of_a_chapter_that_is_effort_of_the_issue_too_counts_once() -> None:
    story = ruled("captures_of_field >= 3 and effort_index >= 1")
    story.event("contact.started", 0, reason="bill", issue_id="i1", id="contact")
    for at in range(3):
        story.event("info.captured", 60 + at, issue_id="i1", info={"field": "account"}, id=f"captured-{at}")
    fired = story.run.alerts[0]
    assert events(fired)[-3:] == ["captured-0", "captured-1", "captured-2"]
    assert (len(set(events(fired))), fired.evidence_count) == (4, 4)


def test_beyond_the_limit_the_latest_are_listed_and_all_are_counted() -> None:
    story = ruled("contacts >= 1 and orders >= 25", show='["nps_lowest"]')
    for at in range(25):
        story.event("order.completed", at * 60, order_id=f"o{at}", revenue="10.00", currency="EUR")
    story.event("survey.responded", HOUR - 1, survey={"instrument": "nps", "score": 2})
    story.event("contact.started", HOUR, reason="bill", id="contact")
    (alert,) = story.run.alerts
    assert (len(alert.evidence), events(alert)[-1], alert.evidence_count) == (20, "contact", 26)


@pytest.mark.parametrize("restart", [False, True])
def test_a_ping_pong_carries_the_changes_of_owner_also_without_a_contact_and_after_a_restart(restart: bool) -> None:
    story = Story(default_text())
    story.event("contact.started", 0, reason="another matter")
    for at, owner in enumerate(["anna", "bob", "bob", "anna", "bob"]):
        story.event("case.updated", 60 + at, case_id="k1", owner=owner, id=f"{owner}-{at}")
        if restart:
            story.restart()
    (alert,) = [one for one in story.run.alerts if one.rule.id == "ping-pong"]
    assert (events(alert), alert.evidence_count) == (["bob-1", "anna-3", "bob-4"], 3)


def test_without_a_rule_on_them_changes_of_owner_are_not_kept() -> None:
    story = ruled("contacts >= 1", show='["handoffs"]')
    for at, owner in enumerate(["anna", "bob"]):
        story.event("case.updated", at, case_id="k1", owner=owner, id=f"owner-{at}")
    assert b"owner-1" not in story.run.rows[b"c-1"].state


def test_an_amendment_after_the_issue_is_over_still_says_what_the_alert_came_of() -> None:
    story = ruled("repeat_contacts >= 1")
    story.event("contact.started", 0, reason="bill")
    for at in (1, 2):
        story.event("contact.ended", at * HOUR, reason="bill")
        story.event("contact.started", at * HOUR + 60, reason="bill")
    story.clock(HOUR + 60 + 7 * DAY + MS)
    last = story.run.alerts[-1]
    assert (last.state, last.metric.signals) == ("amended", {"repeat_contacts": 1})
    assert len(last.evidence) == last.evidence_count == 3
