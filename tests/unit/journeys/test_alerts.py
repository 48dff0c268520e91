"""Entity alerts: when each rule fires, is amended and ends, what the record says, and how cooldown holds."""

from __future__ import annotations

from typing import Any

import pytest

from streamer.alerts.identity import alert_id_of, episode_id_of
from streamer.alerts.times import milliseconds
from streamer.definitions import default_text
from tests.journeys_support import Story

HOUR = 3600
DAY = 24 * HOUR
DEADLINE = 1800
MS = 0.001

BARE = default_text()[: default_text().index("[[rule]]")]


def ruled(on: str, when: str, **settings: str) -> Story:
    """A story with this one rule."""
    more = "".join(f'{name} = "{value}"\n' for name, value in settings.items())
    return Story(f'{BARE}\n[[rule]]\nid = "r"\non = "{on}"\nwhen = """{when}"""\n{more}')


def signals(story: Story) -> list[dict[str, Any]]:
    return [alert.metric.signals for alert in story.run.alerts]


# --- The three default rules --------------------------------------------------------------------------------------------------


def test_an_abandoned_checkout_with_friction() -> None:
    story = Story(default_text())
    story.event("checkout.started", 0, checkout_id="k1", revenue="84.90", currency="EUR")
    story.event("payment.failed", 10, checkout_id="k1")
    story.clock(3000)
    (alert,) = story.run.alerts
    assert (alert.rule.id, alert.state, alert.severity) == ("abandoned-with-friction", "firing", "critical")
    assert alert.entity is not None
    assert (alert.entity.canonical_id, alert.entity.journey, alert.entity.journey_id) == ("c-1", "checkout", "k1")
    assert alert.metric.signals == {"abandoned": True, "friction": 1, "journey": "checkout"}
    assert [(e.type, e.offset, e.partition, e.topic) for e in alert.evidence] == [
        ("checkout.started", 0, 0, "cx.touchpoints.v1"),
        ("payment.failed", 1, 0, "cx.touchpoints.v1"),
    ]
    assert alert.event_time == "2026-11-21T10:45:10.000Z"
    assert alert.expires_at == "2026-11-22T10:45:10.000Z"
    assert (alert.suggested_action, alert.owner_team) == ("Offer help while the cart is still there", "customer-care")


@pytest.mark.parametrize("kind", ["payment.failed", "form.error", "friction.signal"])
def test_without_friction_or_without_abandonment_it_stays_silent(kind: str) -> None:
    story = Story(default_text())
    story.event("checkout.started", 0, checkout_id="k1")
    story.event("checkout.started", 0, checkout_id="k2")
    story.event(kind, 10, checkout_id="k2")
    story.clock(DEADLINE)
    assert story.states == []
    story.clock(DEADLINE + 10)
    assert story.states == ["firing"]


def test_friction_after_abandonment_fires_too_if_it_is_not_the_journeys_own_activity() -> None:
    story = Story(default_text())
    story.event("checkout.started", 0, checkout_id="k1")
    story.event("contact.started", 10, channel="web", reason="pay")
    story.clock(DEADLINE)
    story.event("contact.started", 2000, channel="phone", reason="pay", checkout_id="k1")
    assert story.states == ["firing"]
    assert story.run.alerts[0].event_time == "2026-11-21T10:48:20.000Z"


def test_channel_switching_fires_at_the_second_switch_and_is_amended_at_the_third() -> None:
    story = Story(default_text())
    for at, channel in enumerate(["web", "phone", "web", "chat"]):
        story.event("contact.started", 60 * at, channel=channel, reason="bill")
    assert [(a.rule.id, a.state, a.metric.signals) for a in story.run.alerts] == [
        ("channel-switching", "firing", {"channel_switches": 2}),
        ("channel-switching", "amended", {"channel_switches": 3}),
    ]
    assert story.run.alerts[0].entity is not None
    assert story.run.alerts[0].entity.issue_id == "bill"
    story.clock(180 + 72 * HOUR - MS)
    assert len(story.states) == 2
    story.clock(180 + 72 * HOUR)
    assert story.states[2:] == ["resolved"]


def test_repeated_contacts_fire_at_the_second_repetition_and_end_when_one_leaves_the_week() -> None:
    story = Story(default_text())
    story.event("contact.started", 0, reason="bill")
    for at in (1, 2):
        story.event("contact.ended", at * HOUR, reason="bill")
        story.event("contact.started", at * HOUR + 60, reason="bill")

    def told() -> list[tuple[str, dict[str, Any]]]:
        return [(a.state, a.metric.signals) for a in story.run.alerts if a.rule.id == "repeated-contacts"]

    assert told() == [("firing", {"repeat_contacts": 2})]
    story.clock(HOUR + 60 + 7 * DAY)
    assert len(told()) == 1, "a repetition is within the last seven days until exactly seven days later"
    story.clock(HOUR + 60 + 7 * DAY + MS)
    assert [state for state, _ in told()] == ["firing", "resolved"]


@pytest.mark.parametrize(("when", "expires"), [("contacts >= 1", DAY + 7 * DAY), ("repeat_contacts + contacts >= 2", HOUR + 60 + 7 * DAY)])
def test_only_a_rule_that_names_repetitions_expires_with_the_last_one(when: str, expires: float) -> None:
    story = ruled("customer", f"{when} and nps_lowest <= 6")
    story.event("contact.started", 0, reason="bill")
    story.event("contact.ended", HOUR, reason="bill")
    story.event("contact.started", HOUR + 60, reason="bill")
    answered = story.event("survey.responded", DAY, survey={"instrument": "nps", "score": 1})
    (alert,) = story.run.alerts
    assert milliseconds(alert.expires_at) - answered == (expires - DAY) * 1000


# --- Amended, resolved, cooldown ------------------------------------------------------------------------------------------------


def test_a_rule_is_amended_only_when_a_number_it_names_changes() -> None:
    story = ruled("issue", "channel_switches >= 1")
    story.event("contact.started", 0, channel="web", reason="bill")
    story.event("contact.started", 10, channel="phone", reason="bill")
    story.event("contact.started", 20, channel="phone", reason="bill")
    story.event("contact.transferred", 30, channel="phone", reason="bill")
    assert story.states == ["firing"]


def test_a_rule_is_resolved_when_it_no_longer_holds() -> None:
    story = ruled("issue", "contacts == 2")
    for at in range(3):
        story.event("contact.started", at, reason="bill")
    assert story.states == ["firing", "resolved"]
    assert signals(story) == [{"contacts": 2}, {"contacts": 3}]
    assert [[(moment.state, moment.time) for moment in alert.timeline] for alert in story.run.alerts] == [
        [("firing", "2026-11-21T10:15:01.000Z")],
        [("firing", "2026-11-21T10:15:01.000Z"), ("resolved", "2026-11-21T10:15:02.000Z")],
    ]


@pytest.mark.parametrize(("gap", "fires"), [(DAY - MS, False), (DAY, True)])
def test_cooldown_counts_from_the_firing_and_is_over_at_exactly_its_length(gap: float, fires: bool) -> None:
    story = ruled("journey", "friction == 1 or friction == 3", cooldown="24h")
    story.event("case.opened", 0, case_id="q1")
    story.event("case.reopened", 10, case_id="q1")
    story.event("case.reopened", 20, case_id="q1")
    assert story.states == ["firing", "resolved"]
    story.event("case.reopened", 10 + gap, case_id="q1")
    assert story.states[2:] == ["firing"] * fires


def test_cooldown_is_of_one_entity() -> None:
    story = ruled("issue", "channel_switches >= 1", cooldown="24h")
    for issue in ("i1", "i2"):
        story.event("contact.started", 0, issue_id=issue, channel="web")
        story.event("contact.started", 1, issue_id=issue, channel="phone")
    assert story.states == ["firing", "firing"]


def test_cooldown_survives_a_restart() -> None:
    story = ruled("issue", "contacts == 1 or contacts == 3", cooldown="24h")
    for at in range(3):
        story.event("contact.started", at, reason="bill")
        story.restart()
    assert story.states == ["firing", "resolved"]


def test_without_cooldown_it_fires_again_as_another_episode() -> None:
    story = ruled("issue", "contacts == 1 or contacts == 3")
    for at in range(3):
        story.event("contact.started", at, reason="bill")
    assert story.states == ["firing", "resolved", "firing"]
    one, _, other = story.run.alerts
    assert one.fingerprint == other.fingerprint
    assert one.episode_id != other.episode_id


def test_ids_are_made_of_the_number_of_the_episode_and_the_transition() -> None:
    story = ruled("issue", "contacts >= 1")
    for at in range(2):
        story.event("contact.started", at, reason="bill")
    first, second = story.run.alerts
    assert first.episode_id == second.episode_id == episode_id_of(f"{first.fingerprint}.0", 1)
    assert [first.alert_id, second.alert_id] == [alert_id_of(first.episode_id, n) for n in (1, 2)]


# --- Every name a rule may use ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("contacts >= 2", {"contacts": 2}),
        ("severity == 'high'", {"severity": "high"}),
        ("reason == 'bill' and contacts >= 2", {"reason": "bill", "contacts": 2}),
        ("channel == 'web' and platform == 'ios'", {"channel": "web", "platform": "ios"}),
        ("segment == 'gold' and region == 'north'", {"segment": "gold", "region": "north"}),
    ],
)
def test_issue_rules_may_name_more_than_effort(when: str, expected: dict[str, Any]) -> None:
    story = ruled("issue", when)
    who: dict[str, Any] = {"platform": "ios", "segment": "gold", "region": "north", "reason": "bill", "issue_id": "i1"}
    story.event("contact.started", 0, **who)
    story.event("contact.started", 10, **{**who, "severity": "high"})
    assert story.run.alerts[-1].metric.signals == expected
    assert story.run.in_force


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("value >= 100", {"value": 120.0}),
        ("step == 'payment'", {"step": "payment"}),
        ("abandoned and value >= 100", {"abandoned": True, "value": 120.0}),
        ("channel == 'app' and platform == 'ios'", {"channel": "app", "platform": "ios"}),
        ("segment == 'gold' and region == 'north' and not abandoned", {"segment": "gold", "region": "north", "abandoned": False}),
    ],
)
def test_journey_rules_may_name_value_step_and_who(when: str, expected: dict[str, Any]) -> None:
    story = ruled("journey", when)
    story.event("checkout.started", 0, checkout_id="k1", channel="app", platform="ios", segment="gold", region="north")
    story.event("checkout.step_viewed", 10, checkout_id="k1", step="payment", revenue="120.00", currency="EUR")
    story.clock(10 + DEADLINE)
    assert expected in signals(story)


def test_customer_rules_sum_over_open_issues_and_known_cases() -> None:
    when = "contacts == 3 and channel_switches == 1 and transfers == 2 and cold_transfers == 1 and effort_index == 4.5 and handoffs == 1"
    story = ruled("customer", when)
    story.event("case.updated", 0, case_id="q1", owner="A")
    story.event("case.updated", 1, case_id="q1", owner="B")
    story.event("contact.started", 2, issue_id="i1", channel="web")
    story.event("contact.started", 3, issue_id="i1", channel="phone")
    story.event("contact.transferred", 4, issue_id="i1", handoff_kind="cold")
    assert story.states == []
    story.event("contact.transferred", 5, issue_id="i2", handoff_kind="warm")
    assert story.states == ["firing"]
    story.clock(5 + 72 * HOUR)
    assert story.states == ["firing", "resolved"]


def test_an_expression_without_a_value_does_not_hold() -> None:
    story = ruled("issue", "contacts / repeat_contacts > 1 or reason > 3")
    story.event("contact.started", 0, reason="bill")
    assert story.states == []


# --- What is folded again ----------------------------------------------------------------------------------------------------------


def test_an_alert_whose_numbers_an_earlier_event_changes_is_amended() -> None:
    story = ruled("issue", "contacts >= 2")
    for at in (0, 60):
        story.event("contact.started", at, reason="bill")
    story.event("contact.started", 30, delay=60, reason="bill")
    assert story.states == ["firing", "amended"]
    assert signals(story)[-1] == {"contacts": 3}


def test_an_alert_that_an_earlier_event_shows_to_be_true_fires() -> None:
    story = ruled("issue", "channel_switches >= 1")
    story.event("contact.started", 60, channel="phone", reason="bill")
    story.event("contact.started", 30, delay=60, channel="web", reason="bill")
    assert story.states == ["firing"]
    assert story.run.alerts[0].detected_at == "2026-11-21T10:16:30.000Z"


def test_an_alert_that_an_earlier_event_shows_to_be_false_is_retracted() -> None:
    story = ruled("issue", "channel_switches >= 2")
    for at, channel in ((0, "web"), (60, "phone"), (120, "web")):
        story.event("contact.started", at, channel=channel, reason="bill")
    assert story.states == ["firing"]
    story.event("case.reopened", -10, delay=200, case_id="other")
    assert story.states == ["firing"]
    story = ruled("issue", "contacts == 3")
    for at in range(3):
        story.event("contact.started", 60 + at, reason="bill")
    story.event("contact.started", 0, delay=100, reason="bill")
    assert story.states == ["firing", "resolved"], "with four contacts it held once, after the third"
    story = ruled("journey", "friction >= 1")
    story.event("checkout.started", 0, checkout_id="k1")
    story.event("payment.failed", 60, checkout_id="k1")
    story.event("order.completed", 30, delay=60, checkout_id="k1")
    assert story.states == ["firing", "retracted"]


def test_episodes_that_began_and_ended_in_the_past_are_not_told() -> None:
    story = ruled("journey", "abandoned")
    story.event("checkout.started", 0, checkout_id="k1")
    story.event("order.completed", 1000, checkout_id="k1")
    story.clock(3000)
    story.event("checkout.started", 1001, delay=50, checkout_id="k2")
    story.event("order.cancelled", 1002 + DEADLINE, delay=50, checkout_id="k2")
    assert story.states == ["firing", "resolved"]
    story = ruled("journey", "abandoned")
    story.event("checkout.started", 2000, checkout_id="k2")
    story.event("order.completed", 2000 + DEADLINE + 10, checkout_id="k3")
    story.event("order.completed", 2000 + DEADLINE + 5, checkout_id="k2")
    story.event("checkout.started", 1990 + DEADLINE, checkout_id="k4")
    assert story.states == ["firing", "resolved"]


def test_no_alert_id_is_used_twice_when_an_earlier_episode_is_in_force_again() -> None:
    story = ruled("journey", "abandoned")
    story.event("checkout.started", 0, checkout_id="k1")
    story.event("checkout.step_viewed", DEADLINE + 10, checkout_id="k1")
    story.clock(2 * DEADLINE + 10)
    story.event("page.viewed", DEADLINE + 20)
    story.event("checkout.step_viewed", DEADLINE - 1, checkout_id="k1", delay=30)
    assert story.states == ["firing", "resolved", "firing", "retracted", "firing"]
    assert len({alert.alert_id for alert in story.run.alerts}) == 5
    assert len(story.run.in_force) == 1


def test_when_a_rule_is_looked_at_does_not_depend_on_what_other_rules_name() -> None:
    """A reopening is a contact and friction: between the two their sum is 1, at which only a rule on the step looks."""
    rule = '\n[[rule]]\nid = "{id}"\non = "journey"\nwhen = "{when}"\n'
    other = rule.format(id="on-step", when="step == 'nowhere'")
    story = Story(BARE + rule.format(id="sum", when="friction + customer_contacts == 1") + other)
    story.event("case.opened", 0, case_id="q1")
    story.event("case.reopened", 10, case_id="q1", step="review")
    assert [(alert.rule.id, alert.state) for alert in story.run.alerts] == []
