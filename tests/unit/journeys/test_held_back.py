"""Entity alerts that may not fire yet: cooldown, daily maximum, quiet hours, drafts; and what becomes of them."""

from __future__ import annotations

import re

import pytest

from streamer.alerts.times import milliseconds
from streamer.errors import DefinitionsError
from tests.journeys_support import BASE_MS, Story, raised
from tests.unit.journeys.test_alerts import BARE, DAY, HOUR, MS

RULE = '[[rule]]\nid = "r"\non = "{on}"\nwhen = "{when}"\n{more}\n'


def ruled(on: str, when: str, *more: str, file: str = "") -> Story:
    return Story(file + BARE + RULE.format(on=on, when=when, more="\n".join(more)))


def told(story: Story) -> list[tuple[str, str]]:
    return [(alert.state, alert.event_time[8:19]) for alert in story.run.alerts]


def reopened(story: Story, *at: float) -> None:
    """A case's journey; each reopening is a friction signal."""
    story.event("case.opened", 0, case_id="q1")
    for seconds in at:
        story.event("case.reopened", seconds, case_id="q1")


def test_what_still_holds_when_the_cooldown_is_over_fires_then() -> None:
    story = ruled("journey", "friction == 1 or friction == 3", 'cooldown = "24h"')
    reopened(story, 10, 20, 30)
    story.clock(10 + DAY - MS)
    assert told(story) == [("firing", "21T10:15:10"), ("resolved", "21T10:15:20")]
    story.clock(10 + DAY)
    assert told(story)[2:] == [("firing", "22T10:15:10")]


def test_what_no_longer_holds_by_then_does_not() -> None:
    story = ruled("journey", "friction == 1 or friction == 3", 'cooldown = "24h"')
    reopened(story, 10, 20, 30, 40)
    story.clock(2 * DAY)
    assert [state for state, _ in told(story)] == ["firing", "resolved"]


def test_what_waits_for_its_cooldown_survives_a_restart() -> None:
    story = ruled("journey", "friction == 1 or friction == 3", 'cooldown = "24h"')
    reopened(story, 10, 20, 30)
    story.run.drain()
    story.run.crash()
    story.clock(10 + DAY)
    assert told(story)[2:] == [("firing", "22T10:15:10")]


def test_an_entity_that_has_ended_meanwhile_does_not_fire() -> None:
    story = ruled("journey", "friction == 1 or friction == 3", 'cooldown = "24h"')
    reopened(story, 10, 20, 30)
    story.event("case.closed", 40, case_id="q1")
    story.clock(3 * DAY)
    assert [state for state, _ in told(story)] == ["firing", "resolved"]


def test_what_was_held_back_of_an_issue_that_has_ended_says_nothing_of_the_next_one_of_its_name() -> None:
    # Without effort, nothing that the rule names has changed: the second issue is not looked at.
    short = BARE.replace('window = "72h"', 'window = "1h"')
    story = Story(short + RULE.format(on="issue", when="transfers < 1", more='quiet = ["10:00-22:00"]'))
    story.event("case.reopened", 0, issue_id="i1")
    story.event("contact.started", 11 * HOUR, issue_id="i1")
    story.clock(DAY)
    assert told(story) == []


def test_the_daily_maximum_counts_the_firings_of_any_24_hours() -> None:
    # It holds at 1, 3 and 5: the third firing would be the third within a day.
    story = ruled("journey", "friction == 1 or friction == 3 or friction == 5", "max_per_day = 2")
    reopened(story, 10, 20, HOUR, HOUR + 10, 2 * HOUR)
    fired = [("firing", "21T10:15:10"), ("resolved", "21T10:15:20"), ("firing", "21T11:15:00"), ("resolved", "21T11:15:10")]
    assert told(story) == fired
    story.clock(10 + DAY)
    assert told(story)[4:] == [("firing", "22T10:15:10")], "the first one is a day old"


@pytest.mark.parametrize(
    ("zone", "until"), [("UTC", 45 * 60), ("Europe/Berlin", 0), ("America/New_York", 45 * 60 + 5 * HOUR), ("Asia/Kathmandu", 0)]
)
def test_in_quiet_hours_nothing_begins_to_fire_and_then_what_holds_does(zone: str, until: float) -> None:
    # The story begins at 10:15 UTC, which is 11:15, 05:15 and 16:00 in the others.
    quiet = 'quiet = ["22:00-05:30", "05:30-11:00"]'
    story = ruled("customer", "contacts >= 1", quiet, file=f'timezone = "{zone}"\n')
    story.event("contact.started", 0, reason="bill")
    if until:
        assert told(story) == []
        story.clock(until - MS)
        assert told(story) == []
        story.clock(until)
    assert [state for state, _ in told(story)] == ["firing"]


def test_what_fires_before_quiet_hours_is_amended_and_ends_in_them() -> None:
    story = ruled("customer", "contacts >= 1 and contacts < 3", 'quiet = ["10:16-12:00"]')
    for at in (0, 120, 240):
        story.event("contact.started", at, reason="bill")
    assert [state for state, _ in told(story)] == ["firing", "amended", "resolved"]


def test_an_event_out_of_order_is_held_back_as_it_would_have_been_in_order() -> None:
    story = ruled("customer", "contacts >= 2", 'quiet = ["10:00-12:00"]')
    story.event("contact.started", 100, reason="bill")
    story.event("contact.started", 50, reason="bill")
    assert told(story) == []
    story.clock(2 * HOUR)
    assert [state for state, _ in told(story)] == ["firing"]


def test_nobody_is_told_of_a_draft_but_it_is_counted() -> None:
    story = ruled("customer", "contacts >= 1 and contacts < 3", 'mode = "draft"')
    for at in (0, 120, 240):
        story.event("contact.started", at, reason="bill")
    assert told(story) == []
    counted = {name: n for name, n in story.run.processor.accounting.items() if name.startswith("draft:")}
    assert counted == {"draft:amended:r": 1, "draft:firing:r": 1, "draft:resolved:r": 1}


def test_a_rule_that_is_off_is_not_evaluated() -> None:
    story = ruled("customer", "contacts >= 1", 'mode = "off"')
    story.event("contact.started", 0, reason="bill")
    assert told(story) == []
    assert not [name for name in story.run.processor.accounting if name.startswith("draft:")]


@pytest.mark.parametrize(("before", "after", "states"), [
    ("enabled", "draft", ["firing", "resolved"]),
    ("enabled", "off", ["firing", "resolved"]),
    ("draft", "enabled", ["firing"]),
    ("off", "enabled", ["firing"]),
    ("draft", "off", []),
])  # fmt: skip
def test_told_and_untold_do_not_mix_when_a_rule_changes_its_mode(before: str, after: str, states: list[str]) -> None:
    story = ruled("customer", "contacts >= 1", f'mode = "{before}"')
    story.event("contact.started", 0, reason="bill")
    story.run.drain()
    file = raised(BARE) + RULE.format(on="customer", when="contacts >= 1", more=f'mode = "{after}"')
    story.run.upgrade(file)
    story.event("contact.started", 60, reason="bill")
    assert [state for state, _ in told(story)] == states


DAILY = ("max_per_day = 1",)
LONG = ('cooldown = "5d"',)


@pytest.mark.parametrize(("before", "after", "days"), [
    (LONG, LONG, [0, 5]),
    (LONG, ('cooldown = "2d"',), [0, 2]),
    (('cooldown = "2d"',), LONG, [0, 5]),
    (LONG, (), [0, 1]),
    (LONG, DAILY, [0, 1]),
    (DAILY, DAILY, [0, 1]),
    (DAILY, ('cooldown = "2d"',), [0, 2]),
    (('cooldown = "1h"', 'quiet = ["11:00-10:00"]'), DAILY, [0, 1]),
    (('mode = "draft"', *LONG), LONG, [1]),
    (('mode = "draft"', *LONG, *DAILY), (*LONG, *DAILY), [1]),
    ((*LONG, 'quiet = ["00:00-06:00"]'), (*LONG, 'quiet = ["00:00-07:00"]'), [0, 5]),
])  # fmt: skip
@pytest.mark.parametrize("restart", [False, True])
def test_what_holds_back_is_that_of_the_definitions_in_force(
    before: tuple[str, ...], after: tuple[str, ...], days: list[int], *, restart: bool
) -> None:
    """It holds at 10, not at 20, and again from 30 on; the new definitions reach the customer with an event of the next day."""
    when = "friction == 1 or friction == 3"
    story = ruled("journey", when, *before)
    reopened(story, 10, 20, 30)
    story.clock(DAY - HOUR)
    story.run.upgrade(raised(BARE) + RULE.format(on="journey", when=when, more="\n".join(after)))
    if restart:
        story.restart()
    story.event("case.updated", DAY, case_id="q1")
    for day in range(1, 8):
        story.clock(day * DAY + HOUR)
    fired = [milliseconds(alert.event_time) - BASE_MS for alert in story.run.alerts if alert.state == "firing"]
    assert [round(after_ms / 1000 / DAY) for after_ms in fired] == days
    ended = [milliseconds(alert.event_time) - BASE_MS for alert in story.run.alerts if alert.state == "resolved"]
    assert set(fired).isdisjoint(ended)


@pytest.mark.parametrize("restart", [False, True])
def test_an_alert_keeps_the_severity_it_fired_with_until_it_ends(*, restart: bool) -> None:
    story = ruled("customer", "contacts >= 1", 'severity = "critical"')
    story.event("contact.started", 0, reason="bill")
    story.run.upgrade(raised(BARE) + RULE.format(on="customer", when="contacts >= 1", more='severity = "info"'))
    story.event("contact.started", 60, reason="bill")
    if restart:
        story.restart()
    story.clock(8 * DAY)
    story.event("contact.started", 9 * DAY, reason="bill")
    assert [(alert.state, alert.severity) for alert in story.run.alerts] == [
        ("firing", "critical"), ("amended", "critical"), ("resolved", "critical"), ("firing", "info"),
    ]  # fmt: skip


@pytest.mark.parametrize(("on", "when", "states"), [
    ("customer", "contacts >= 1", ["firing"]),
    ("customer", "contacts >= 2", ["firing", "resolved"]),
    ("customer", "handoffs >= 1", ["firing", "resolved"]),
    ("customer", "transfers + contacts >= 1", ["firing", "amended"]),
    ("customer", "pattern_p >= 1", ["firing", "resolved"]),
    ("issue", "contacts >= 1", ["firing", "resolved"]),
    ("journey", "friction >= 0", ["firing", "resolved"]),
])  # fmt: skip
@pytest.mark.parametrize("restart", [False, True])
def test_what_is_in_force_is_looked_at_with_what_its_rule_says_now(on: str, when: str, states: list[str], restart: bool) -> None:
    story = ruled("customer", "contacts >= 1", 'cooldown = "24h"')
    story.event("contact.started", 0, reason="bill")
    pattern = '[[pattern]]\nid = "p"\nevents = ["case.opened"]\nwithin = "1h"\n'
    story.run.upgrade(raised(BARE) + pattern + RULE.format(on=on, when=when, more='cooldown = "24h"'))
    story.event("page.viewed", 60)
    if restart:
        story.restart()
    story.event("page.viewed", 61)
    assert [state for state, _ in told(story)] == states
    assert {alert.event_time for alert in story.run.alerts[1:]} <= {"2026-11-21T10:16:00.000Z"}
    named = set(re.findall("[a-z_]+", when)) if on == "customer" else {"contacts"}
    assert set(story.run.alerts[-1].metric.signals) == named
    story.customer = "c-2"
    for days in (30, 60):
        story.event("page.viewed", days * DAY)
    assert story.run.in_force == []
    assert set(story.run.processor.rows()) == {b"c-2"}


def test_what_a_changed_pattern_had_seen_is_seen_no_more_and_its_alert_ends() -> None:
    pattern = '[[pattern]]\nid = "p"\nevents = ["case.opened"]\nwithin = "{}"\n'
    rule = RULE.format(on="customer", when="pattern_p >= 1", more="")
    story = Story(BARE + pattern.format("1h") + rule)
    story.event("case.opened", 0, case_id="q1")
    story.run.upgrade(raised(BARE) + pattern.format("2h") + rule)
    story.event("page.viewed", 60)
    assert told(story) == [("firing", "21T10:15:00"), ("resolved", "21T10:16:00")]


@pytest.mark.parametrize(("more", "why"), [
    ('quiet = ["22-07"]', "written as 22:00-07:00"),
    ('quiet = ["24:00-07:00"]', "written as 22:00-07:00"),
    ('quiet = ["07:00-07:00"]', "a whole day"),
    ('quiet = ["07:00-20:00", "19:00-07:00"]', "cover the whole day"),
    ("max_per_day = -1", "max_per_day"),
    ('mode = "maybe"', "mode"),
    ('baseline = 0.5', "is for aggregate rules"),
    ('group_by = []', "is for aggregate rules"),
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(more: str, why: str) -> None:
    with pytest.raises(DefinitionsError, match=why):
        ruled("customer", "contacts >= 1", more)


def test_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(DefinitionsError, match='unknown time zone "Berlin"'):
        ruled("customer", "contacts >= 1", file='timezone = "Berlin"\n')
