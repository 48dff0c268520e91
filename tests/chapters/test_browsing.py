"""The chapter browsing: B8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.chapters.support import (
    RECOUNTED,
    SLICES,
    Histories,
    assert_recount_is_equal,
)
from tests.journeys_support import Story

if TYPE_CHECKING:
    from random import Random

DEFINITIONS = (
    SLICES
    + """
[browsing]
gap = "10m"
views = 3
dwell = "8m"
[[rule]]
id = "looking"
on = "customer"
when = "product_views >= 3"
"""
)
COUNTERS = {"SESSIONS_BROWSED", "SESSIONS_HESITATED"}


def touchpoint(random: Random, _customer: str, _time_ms: int) -> dict[str, Any]:
    kind = random.choice(["product.viewed"] * 5 + ["product.searched", "cart.item_added", "cart.viewed", "page.viewed"])
    return {"type": kind, "session_id": random.choice(["", "s-1", "s-2"])}


HISTORIES = (Histories(DEFINITIONS, touchpoint),)


@pytest.mark.parametrize(("after_ms", "expected"), [(0, set()), (500, set()), (5 * 60_000, set()), (2 * 3_600_000, COUNTERS)])
def test_the_recount_is_equal(after_ms: int, expected: set[str]) -> None:
    assert_recount_is_equal(DEFINITIONS, touchpoint, RECOUNTED, expected, after_ms)


def session(*events: tuple[str, float]) -> Story:
    """Events and their minutes, and an hour more."""
    story = Story(SLICES + "[browsing]\n")
    for kind, minute in events:
        story.event(kind, minute * 60)
    story.clock(120 * 60)
    return story


VIEW, ADD = "product.viewed", "cart.item_added"


@pytest.mark.parametrize(
    ("events", "counted"),
    [
        ([(VIEW, n) for n in range(5)], (1, 1)),
        ([(VIEW, n) for n in range(4)], (1, 0)),
        ([(VIEW, 0), (VIEW, 10)], (1, 1)),
        ([(VIEW, 0), (VIEW, 9.99)], (1, 0)),
        ([*((VIEW, n) for n in range(5)), (ADD, 6)], (1, 0)),
        ([*((VIEW, n) for n in range(5)), (ADD, 34)], (1, 1)),  # at exactly the gap the session is over
        ([*((VIEW, n) for n in range(5)), (ADD, 33.99)], (1, 0)),
        ([(ADD, 0)], (0, 0)),
        ([(VIEW, 0), (VIEW, 30)], (2, 0)),
    ],
)
def test_a_session_hesitates_if_it_looks_long_and_takes_nothing(events: list[tuple[str, float]], counted: tuple[int, int]) -> None:
    run = session(*events).run
    assert (run.total("SESSIONS_BROWSED"), run.total("SESSIONS_HESITATED")) == counted


def test_a_session_counts_in_the_pane_of_its_end() -> None:
    story = Story(SLICES + "[browsing]\n")
    begun = story.event(VIEW, 0)
    story.clock(30 * 60 - 1)
    assert story.run.total("SESSIONS_BROWSED") == 0
    end = story.clock(30 * 60)
    assert (story.run.at("SESSIONS_BROWSED", begun), story.run.at("SESSIONS_BROWSED", end)) == (0, 1)


def test_rules_see_who_is_looking_until_he_takes_something() -> None:
    story = Story(DEFINITIONS)
    for second in range(3):
        story.event(VIEW, second)
    story.event(ADD, 60)
    assert story.states == ["firing", "resolved"]


def test_bounds_cut_and_say_so() -> None:
    story = Story(SLICES + "[browsing]\nsessions_per_customer = 2\n")
    for number in range(3):
        story.event(VIEW, number, session_id=f"s-{number}")
    story.clock(3600)
    assert story.run.processor.accounting["cut_sessions"] == 1
    assert story.run.total("SESSIONS_BROWSED") == 2
