"""Cases and their owners by hand: handoffs, ping-pong, and how long an owner is remembered."""

from __future__ import annotations

import pytest

from streamer.definitions import default_text
from tests.journeys_support import BASE_MS, Story

DAY = 86_400
MS = 0.001
NAMES = ("CASES", "HANDOFFS", "CASES_HANDED_OFF", "PING_PONGS", "CASES_PING_PONG")


def owned(*owners: str, gap: float = 60, definitions: str = "") -> Story:
    """A case with these owners, `gap` seconds apart."""
    story = Story(definitions or default_text())
    for at, owner in enumerate(owners):
        story.event("case.updated", at * gap, case_id="q1", owner=owner)
    return story


def totals(story: Story) -> list[int]:
    return [story.run.total(name) for name in NAMES]


@pytest.mark.parametrize(
    ("owners", "expected"),
    [
        ("A", [1, 0, 0, 0, 0]),
        ("AA", [1, 0, 0, 0, 0]),
        ("AB", [1, 1, 1, 0, 0]),
        ("ABC", [1, 2, 1, 0, 0]),
        ("ABA", [1, 2, 1, 1, 1]),
        ("AABBAA", [1, 2, 1, 1, 1]),
        ("ABAB", [1, 3, 1, 2, 1]),
        ("ABCA", [1, 3, 1, 0, 0]),
        ("ABCB", [1, 3, 1, 1, 1]),
    ],
)
def test_changes_between_consecutive_distinct_owners(owners: str, expected: list[int]) -> None:
    assert totals(owned(*owners)) == expected


@pytest.mark.parametrize(("gap", "expected"), [(90 * DAY - MS, [1, 1, 1, 0, 0]), (90 * DAY, [2, 0, 0, 0, 0])])
def test_a_case_is_forgotten_ninety_days_after_its_last_event(gap: float, expected: list[int]) -> None:
    assert totals(owned("A", "B", gap=gap)) == expected


def test_an_event_with_the_same_owner_keeps_the_case() -> None:
    assert totals(owned("A", "A", "B", gap=60 * DAY)) == [1, 1, 1, 0, 0]


@pytest.mark.parametrize(("bounces", "alerts"), [(["q1:ABAB"], [2]), (["q1:ABA", "q2:ABA"], [])])
def test_the_default_rule_looks_at_the_bounces_of_one_case(bounces: list[str], alerts: list[int]) -> None:
    story = Story(default_text())
    owners = [(case, owner) for case, _, history in (told.partition(":") for told in bounces) for owner in history]
    for at, (case, owner) in enumerate(owners):
        story.event("case.updated", at, case_id=case, owner=owner)
    assert story.run.total("PING_PONGS") == 2
    assert [one.metric.signals["ping_pongs_of_case"] for one in story.run.alerts if one.rule.id == "ping-pong"] == alerts


def test_rates_are_in_the_pane_of_the_first_event_and_changes_in_their_own() -> None:
    story = owned("A", "B", "A")
    assert story.run.at("CASES_HANDED_OFF", BASE_MS) == story.run.at("CASES_PING_PONG", BASE_MS) == 1
    assert story.run.at("HANDOFFS", BASE_MS + 60_000) == story.run.at("HANDOFFS", BASE_MS + 120_000) == 1
    assert story.run.at("PING_PONGS", BASE_MS + 120_000) == 1


def test_team_is_the_owner_who_gave_it_away_or_the_cases_first() -> None:
    story = owned("A", "B", "A")
    assert [story.run.total("HANDOFFS", team=team) for team in "AB"] == [1, 1]
    assert [story.run.total("PING_PONGS", team=team) for team in "AB"] == [0, 1]
    for name in ("CASES", "CASES_HANDED_OFF", "CASES_PING_PONG"):
        assert story.run.total(name) == story.run.total(name, team="A", journey="service_case") == 1


def test_the_first_non_empty_owner_field_counts() -> None:
    story = Story(default_text())
    story.event("case.opened", 0, case_id="q1", owner="A", to_team="X", team="Y")
    story.event("handoff.accepted", 60, case_id="q1", to_team="B", team="Y")
    story.event("case.updated", 120, case_id="q1", team="C")
    story.event("case.updated", 180, case_id="q1")
    assert totals(story) == [1, 2, 1, 0, 0]


def test_other_events_and_events_without_a_case_or_an_owner_say_nothing() -> None:
    story = Story(default_text())
    story.event("contact.started", 0, case_id="q1", owner="A")
    story.event("case.updated", 10, owner="A")
    story.event("case.updated", 20, case_id="q1")
    assert totals(story) == [0] * 5


def test_an_issue_id_stands_for_a_missing_case_id() -> None:
    story = Story(default_text())
    story.event("case.updated", 0, issue_id="q1", owner="A")
    story.event("case.updated", 60, case_id="q1", issue_id="other", owner="B")
    assert totals(story) == [1, 1, 1, 0, 0]


def test_cases_are_apart() -> None:
    story = Story(default_text())
    for at, (case, owner) in enumerate([("q1", "A"), ("q2", "B"), ("q1", "A"), ("q2", "B")]):
        story.event("case.updated", at, case_id=case, owner=owner)
    assert totals(story) == [2, 0, 0, 0, 0]


def test_an_owner_that_arrives_out_of_order_takes_its_place() -> None:
    story = owned("A", "A")
    story.event("case.updated", 30, delay=60, case_id="q1", owner="B")
    assert totals(story) == [1, 2, 1, 1, 1]


@pytest.mark.parametrize(("contact", "tenths"), [(True, 10), (False, 0)])
def test_a_ping_pong_adds_to_the_effort_of_an_open_issue_of_the_same_id(contact: bool, tenths: int) -> None:
    story = Story(default_text())
    if contact:
        story.event("contact.started", 0, case_id="q1")
    for at, owner in enumerate("ABA"):
        story.event("case.updated", 60 + at, case_id="q1", owner=owner)
    assert story.run.total("EFFORT_TENTHS") == tenths


@pytest.mark.parametrize("scope", ["customer", "journey"])
def test_a_ping_pong_adds_to_the_issue_of_every_scope(scope: str) -> None:
    story = Story(default_text().replace('scope = "issue"', f'scope = "{scope}"'))
    story.event("case.opened", 0, case_id="q1", owner="A")
    story.event("contact.started", 10, case_id="q1")
    story.event("handoff.accepted", 20, case_id="q1", owner="B")
    story.event("handoff.accepted", 30, case_id="q1", owner="A")
    assert story.run.total("EFFORT_TENTHS") == 10


def test_a_ping_pong_is_friction_of_the_instance_and_part_of_its_effort() -> None:
    rule = '\n[[rule]]\nid = "moved"\non = "journey"\nwhen = "friction >= 1 and effort_index >= 1"\n'
    story = owned("A", "B", "A", definitions=default_text() + rule)
    assert story.run.total("FRICTION_INSTANCES") == 0
    story = Story(default_text() + rule)
    story.event("case.opened", 0, case_id="q1", owner="A")
    story.event("case.updated", 60, case_id="q1", owner="B")
    story.event("case.updated", 70, case_id="q1", owner="A")
    assert story.run.total("FRICTION_INSTANCES", journey="service_case") == 1
    assert [(alert.rule.id, alert.metric.signals) for alert in story.run.alerts] == [("moved", {"effort_index": 1.0, "friction": 1})]
