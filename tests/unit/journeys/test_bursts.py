"""Bursts of channel switches, numbers shown besides the condition, and which event is evidence."""

from __future__ import annotations

import pytest

from streamer.definitions import parse
from streamer.errors import DefinitionsError
from tests.journeys_support import Story

DEFINITIONS = """
revision = 1

[[journey]]
id = "checkout"
start = ["checkout.started"]
complete = ["order.completed"]
identified_by = ["checkout_id"]

[contacts]
scope = "customer"
switch_on = ["page.viewed"]
switch_within = "10m"
switch_burst = 3

[limits]
evidence_per_alert = 3

[[slice]]
by = ["channel"]

[[rule]]
id = "burst"
on = "issue"
when = "recent_switches >= 3"
show = ["channel_switches", "contacts"]

[[rule]]
id = "left"
on = "journey"
when = "abandoned"
show = ["customer_switches", "customer_contacts"]
"""


def told(story: Story, rule: str) -> list[tuple[str, dict[str, float | int | bool | str]]]:
    return [(alert.state, dict(alert.metric.signals or {})) for alert in story.run.alerts if alert.rule.id == rule]


def switching(story: Story, *seconds: float) -> None:
    for i, second in enumerate(seconds):
        story.event("page.viewed", second, channel=("web", "phone")[i % 2])


def test_every_third_switch_within_the_span_fires_and_the_next_one_begins_anew() -> None:
    story = Story(DEFINITIONS)
    switching(story, *range(0, 80, 10))
    assert told(story, "burst") == [
        ("firing", {"channel_switches": 3, "contacts": 0, "recent_switches": 3}),
        ("resolved", {"channel_switches": 4, "contacts": 0, "recent_switches": 1}),
        ("firing", {"channel_switches": 6, "contacts": 0, "recent_switches": 3}),
        ("resolved", {"channel_switches": 7, "contacts": 0, "recent_switches": 1}),
    ]


def test_a_switch_exactly_the_span_ago_no_longer_counts() -> None:
    story = Story(DEFINITIONS)
    switching(story, 0, 1, 2, 601)
    assert told(story, "burst") == []
    story = Story(DEFINITIONS)
    switching(story, 0, 1, 2, 600.999)
    assert [state for state, _ in told(story, "burst")] == ["firing"]


def test_the_latest_event_is_always_evidence() -> None:
    story = Story(DEFINITIONS)
    switching(story, *range(0, 70, 10))
    fired = [alert for alert in story.run.alerts if alert.state == "firing"]
    assert [[evidence.offset for evidence in alert.evidence] for alert in fired] == [[0, 1, 3], [0, 1, 6]]


def test_a_change_of_what_is_shown_alone_is_no_amendment() -> None:
    story = Story(DEFINITIONS)
    story.event("checkout.started", 0, checkout_id="k1")
    story.clock(1801)
    story.event("contact.started", 1802)
    story.clock(1803)
    assert told(story, "left") == [("firing", {"abandoned": True, "customer_contacts": 0, "customer_switches": 0})]


def test_a_journeys_rule_on_the_customers_contacts_fires_at_the_contact_and_ends_with_the_issue() -> None:
    rule = '[[rule]]\nid = "asks"\non = "journey"\nwhen = "customer_contacts >= 2"\n'
    story = Story(DEFINITIONS.replace('scope = "customer"', 'scope = "customer"\nwindow = "20m"') + rule)
    story.event("checkout.started", 0, checkout_id="k1")
    story.event("contact.started", 60)
    story.event("contact.started", 120)
    assert told(story, "asks") == [("firing", {"customer_contacts": 2})]
    assert [alert.entity.journey for alert in story.run.alerts if alert.entity] == ["checkout"]
    story.event("contact.started", 180)
    assert told(story, "asks")[1:] == [("amended", {"customer_contacts": 3})]
    story.clock(180 + 20 * 60 - 1)
    assert len(told(story, "asks")) == 2
    story.clock(180 + 20 * 60)
    assert told(story, "asks")[2:] == [("resolved", {"customer_contacts": 0})]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            ('show = ["channel_switches", "contacts"]', 'show = ["channel_switch"]'),
            '`show` has the unknown name "channel_switch": did you mean',
        ),
        (
            ('on = "issue"\nwhen = "recent_switches >= 3"', 'metric = "abandon_rate"\nby = ["channel"]\nwhen = "lower > 0"'),
            "aggregate rule",
        ),
    ],
)
def test_what_a_rule_cannot_show_is_an_error(change: tuple[str, str], sentence: str) -> None:
    assert change[0] in DEFINITIONS
    with pytest.raises(DefinitionsError, match=sentence):
        parse(DEFINITIONS.replace(*change))


def test_an_alert_that_has_ended_is_retracted_when_a_late_event_shows_that_it_never_happened() -> None:
    text = DEFINITIONS.replace(
        'identified_by = ["checkout_id"]', 'identified_by = ["checkout_id"]\nrecoverable_for = "0s"\nactivity = ["checkout.*"]'
    )
    story = Story(text)
    story.event("checkout.started", 0, checkout_id="k1")
    story.event("page.viewed", 1800)
    assert story.states == ["firing", "resolved"]
    story.event("checkout.step_viewed", 1799, delay=2, checkout_id="k1")
    assert story.states == ["firing", "resolved", "retracted"]
    assert story.run.total("ABANDONED") == 0
    story.event("checkout.step_viewed", 1798, delay=4, checkout_id="k1")
    assert story.states == ["firing", "resolved", "retracted"], "once"
    story.clock(1799 + 1800)
    assert story.states[3:] == ["firing", "resolved"]
    assert len({alert.alert_id for alert in story.run.alerts}) == 5
