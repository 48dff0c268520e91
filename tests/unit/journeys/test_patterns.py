"""Sequences and absences: what a pattern sees, when, and that crashes and order change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streamer import definitions
from streamer.errors import DefinitionsError
from streamer.journeys.patterns import KEPT_MAX
from streamer.journeys.state import NEVER
from tests.chapters.support import SLICES, Histories, assert_crashes_change_nothing, assert_order_changes_nothing
from tests.journeys_support import Story, raised

if TYPE_CHECKING:
    from random import Random

A, B, C, X = "payment.failed", "checkout.step_completed", "checkout.abandoned", "order.completed"
MINUTE = 60


def pattern(more: str, events: str = f'"{A}", "{B}"', within: str = "10m") -> str:
    return f"""{SLICES}
[[pattern]]
id = "p"
events = [{events}]
within = "{within}"
{more}
[[rule]]
id = "r"
on = "customer"
when = "pattern_p >= 1"
"""


def seen(text: str, *events: tuple[float, str] | tuple[float, str, str], until: float = 0.0) -> list[tuple[str, float, object]]:
    """(state, minute, number) of each transition; events are (minute, type[, checkout id])."""
    story = Story(text)
    for minute, kind, *checkout in events:
        fields: dict[str, Any] = {"checkout_id": checkout[0]} if checkout else {}
        story.event(kind, minute * MINUTE, **fields)
    story.clock((until or max(event[0] for event in events)) * MINUTE)
    start = 10 * 60 + 15
    return [
        (alert.state, int(alert.event_time[11:13]) * 60 + int(alert.event_time[14:16]) - start, alert.metric.signals["pattern_p"])
        for alert in story.run.alerts
    ]


@pytest.mark.parametrize(("events", "at"), [
    ([(0, A), (1, B)], [1]),
    ([(0, B), (1, A)], []),
    ([(0, A), (1, X), (2, B)], [2]),
    ([(0, A), (10, B)], [10]),
    ([(0, A), (10.01, B)], []),
    ([(0, A), (9, A), (12, B)], [12]),
    ([(0, A), (1, B), (2, B)], [1]),
    ([(0, A), (1, A), (2, B), (3, B)], [2]),
])  # fmt: skip
def test_a_sequence_is_seen_with_its_last_event_if_all_are_within_the_span(events: list[tuple[float, str]], at: list[int]) -> None:
    assert [(state, minute) for state, minute, _ in seen(pattern(""), *events)] == [("firing", minute) for minute in at]


@pytest.mark.parametrize(("times", "expected"), [((0, 1), 1), ((0, 1, 2), 1), ((0, 1, 2, 3), 2), ((0, 11, 21.5), 0), ((0, 11, 20), 1)])
def test_of_one_type_repeated_each_event_counts_once(times: tuple[float, ...], expected: int) -> None:
    told = seen(pattern("", f'"{A}", "{A}"'), *((minute, A) for minute in times))
    assert (told[-1][2] if told else 0) == expected


@pytest.mark.parametrize(("events", "expected"), [
    ([(0, A), (1, A)], [("firing", 31)]),
    ([(0, A), (1, A), (30.99, X)], []),
    ([(0, A), (1, A), (31, X)], [("firing", 31)]),
    ([(0, X), (0.5, A), (1, A)], [("firing", 31)]),
    ([(0, A), (0.5, X), (1, A)], [("firing", 31)]),  # it is after the last that none may come
    ([(0, A), (1, A), (20, A), (21, A)], [("firing", 31)]),  # the second pair changes nothing while the first waits
])  # fmt: skip
def test_an_absence_is_seen_when_its_time_is_over(events: list[tuple[float, str]], expected: list[tuple[str, int]]) -> None:
    text = pattern(f'without = ["{X}"]\nabsent_for = "30m"', f'"{A}", "{A}"')
    assert [(state, minute) for state, minute, _ in seen(text, *events, until=60)] == expected


def test_without_its_own_span_the_absence_is_as_long_as_the_sequence_may_be() -> None:
    text = pattern('without = ["message.*"]', '"case.opened"')
    assert seen(text, (0, "case.opened"), (9, "message.sent"), until=60) == []
    assert [(state, minute) for state, minute, _ in seen(text, (0, "case.opened"), until=60)] == [("firing", 10)]


@pytest.mark.parametrize(("ids", "fires"), [(("k1", "k1"), True), (("k1", "k2"), False), (("k1", ""), False), (("", ""), False)])
def test_events_must_share_the_id_that_the_pattern_names(ids: tuple[str, str], fires: bool) -> None:
    events = [(0, A, ids[0]), (1, B, ids[1])]
    assert bool(seen(pattern('same = "checkout_id"'), *[(m, t, i) if i else (m, t) for m, t, i in events])) is fires


def test_a_match_counts_for_its_time_and_then_its_alert_ends() -> None:
    told = seen(pattern('counts_for = "1h"'), (0, A), (1, B), (30, A), (31, B), until=180)
    assert told == [("firing", 1, 1), ("amended", 31, 2), ("amended", 61, 1), ("resolved", 91, 0)]


def test_a_pattern_combines_with_value_and_its_events_are_the_evidence() -> None:
    text = pattern("").replace("pattern_p >= 1", "pattern_p >= 1 and lifetime_value >= 100") + "[commerce]\n"
    story = Story(text)
    story.event("order.completed", 0, order_id="o1", revenue="120.00", currency="EUR")
    story.event(A, 60)
    story.event(B, 90)
    (alert,) = story.run.alerts
    assert alert.metric.signals == {"lifetime_value": 120.0, "pattern_p": 1}
    assert [event.type for event in alert.evidence] == ["order.completed", A, B]


def test_what_is_kept_of_a_pattern_is_bounded_and_counted() -> None:
    story = Story(pattern('same = "checkout_id"'))
    for number in range(KEPT_MAX + 5):
        story.event(A, number, checkout_id=f"k{number}")
    assert story.run.processor.accounting["cut_patterns"] == 5
    story.event(B, 100, checkout_id="k4")
    assert not story.run.alerts
    story.event(B, 101, checkout_id="k5")
    assert len(story.run.alerts) == 1


def test_so_is_how_often_it_was_seen() -> None:
    story = Story(pattern("", f'"{A}"'))
    for number in range(KEPT_MAX + 5):
        story.event(A, number)
    assert story.run.alerts[-1].metric.signals == {"pattern_p": KEPT_MAX}
    assert story.run.processor.accounting["cut_patterns"] == 5


def changed(before: str, after: str) -> Story:
    """A, and then another owner with another file."""
    story = Story(before)
    story.event(A, 0, checkout_id="k1")
    story.run.upgrade(raised(after))
    return story


@pytest.mark.parametrize(("more", "events", "within"), [
    ("", f'"{A}", "{B}", "{C}"', "10m"),
    ("", f'"{A}", "{B}", "{X}", "{C}"', "10m"),
    ("", f'"{A}", "{B}", "{B}"', "10m"),
    ("", f'"{A}", "{C}"', "10m"),
    ("", f'"{A}", "{B}"', "9m"),
    ('same = "checkout_id"', f'"{A}", "{B}"', "10m"),
    (f'without = ["{C}"]', f'"{A}", "{B}"', "10m"),
])  # fmt: skip
@pytest.mark.parametrize("back", [False, True])
def test_a_pattern_that_is_changed_begins_anew(more: str, events: str, within: str, *, back: bool) -> None:
    texts = pattern(""), pattern(more, events, within)
    story = changed(*(reversed(texts) if back else texts))
    assert story.run.rows[b"c-1"].due < NEVER, "the end of the match on its way"
    story.event("page.viewed", 1)
    assert story.run.rows[b"c-1"].due == NEVER


def test_a_match_on_its_way_is_none_of_a_longer_pattern_under_its_name() -> None:
    story = changed(pattern(""), pattern("", f'"{A}", "{B}", "{X}", "{C}"'))
    for second, kind in enumerate((B, X, C), start=1):
        story.event(kind, second, checkout_id="k1")
    assert story.states == []
    for second, kind in enumerate((A, B, X, C), start=10):
        story.event(kind, second, checkout_id="k1")
    assert story.states == ["firing"]


def test_a_match_on_its_way_goes_on_under_the_next_revision_if_its_pattern_is_the_same() -> None:
    story = changed(pattern(""), MANY)
    story.event(B, 1)
    assert "firing" in story.states


def test_what_is_kept_of_a_pattern_that_is_gone_goes_with_it() -> None:
    other = pattern("", f'"{C}", "{X}"').replace('"p"', '"q"').replace("pattern_p", "pattern_q")
    story = changed(pattern(""), other)
    story.event("page.viewed", 1)
    story.customer = "c-2"
    story.event("page.viewed", 20 * MINUTE)
    story.event("page.viewed", 40 * MINUTE)
    assert set(story.run.processor.rows()) == {b"c-2"}


def touchpoint(random: Random, _customer: str, _time_ms: int) -> dict[str, Any]:
    checkout = random.choice(["", "k1", "k2"])
    return {"type": random.choice([A, A, B, C, X, "page.viewed"]), **({"commerce": {"checkout_id": checkout}} if checkout else {})}


MANY = pattern("") + "".join(
    f'[[pattern]]\nid = "{name}"\nevents = [{events}]\nwithin = "40m"\ncounts_for = "2h"\n{more}\n'
    f'[[rule]]\nid = "r-{name}"\non = "customer"\nwhen = "pattern_{name} >= 1"\ncooldown = "1h"\n'
    for name, events, more in (
        ("twice", f'"{A}", "{A}", "{B}"', ""),
        ("lost", f'"{A}", "{A}"', f'without = ["{X}"]\nabsent_for = "25m"\nsame = "checkout_id"'),
        ("silent", f'"{C}"', 'without = ["checkout.*", "order.*"]'),
    )
)


HISTORIES = Histories(MANY, touchpoint)


@pytest.mark.parametrize("seed", HISTORIES.seeds)
def test_crashes_and_batches_change_nothing(seed: int) -> None:
    assert_crashes_change_nothing(MANY, touchpoint, seed)


@pytest.mark.parametrize("seed", HISTORIES.seeds)
def test_the_order_of_arrival_changes_nothing(seed: int) -> None:
    assert_order_changes_nothing(MANY, touchpoint, seed)


@pytest.mark.parametrize(("text", "why"), [
    (pattern("").replace("pattern_p", "pattern_q"), 'names "pattern_q", and the file has no such pattern'),
    (pattern('absent_for = "1h"'), "add `without`"),
    (pattern("", within="0s"), "must be above 0"),
    (pattern("", events=""), "events"),
    (pattern('same = "customer_id"'), "same"),
    (pattern("").replace('on = "customer"', 'on = "issue"'), 'unknown name "pattern_p"'),
    (pattern("").replace('id = "p"', 'id = "P x"'), "id"),
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(text: str, why: str) -> None:
    with pytest.raises(DefinitionsError, match=why):
        definitions.parse(text)
