"""What is usual at the hour of the week: between hours, of series that are new, and over weeks of traffic with its days and nights."""

from __future__ import annotations

from random import Random

import pytest

from streamer.alerts.times import milliseconds
from streamer.definitions import default
from streamer.metrics.counters import Counter
from streamer.simulate.scenario import season
from tests.unit.rollup.feed import Change, Feed

HOUR = 3_600
WEEK = 7 * 24 * HOUR
MONDAY = 1_786_320_000  # 00:00 UTC
STEP = ("checkout", "payment")
STALLED = next(rule for rule in default().rule if rule.id == "stalled-step")
FILE = f"""
revision = 1
windows = ["1h"]
[steps]
[[slice]]
by = ["journey", "step"]
[[rule]]
id = "stalled-step"
metric = "step_stalls"
by = ["journey", "step"]
windows = ["1h"]
when = "WHEN"
clear = "{STALLED.clear}"
baseline = "hour-of-week"
runbook = "docs/runbooks/stalled-step.md"
"""
DEFAULT = FILE.replace("WHEN", STALLED.when)


def stalls(feed: Feed, ticks: dict[int, int], until: int, step: tuple[str, str] = STEP) -> None:
    """So many stalls in each of these seconds, and nothing else before `until`."""
    changes: dict[int, list[Change]] = {tick: [(tick // 10, step, Counter.STEP_STALLS, n)] for tick, n in ticks.items()}
    feed.send(until, changes, dimensions=("journey", "step"))


def fired(feed: Feed) -> list[tuple[int, float | None]]:
    """(second since Monday, baseline) of each alert that began."""
    feed.drain()
    firings = [told for told in feed.alerts if told.state == "firing"]
    return [(milliseconds(told.event_time) // 1000 - MONDAY, told.metric.baseline) for told in firings]


@pytest.mark.parametrize(("second", "usual"), [(0, 40 - 30 / 3_600), (900, 40 - 30 * 901 / 3_600), (3_599, 10.0)])
def test_it_goes_evenly_from_the_hour_before_to_its_own(second: int, usual: float) -> None:
    feed = Feed(FILE.replace("WHEN", "value >= 100"))
    for week in range(3):
        begin = MONDAY + week * WEEK
        stalls(feed, {begin + 1_800: 40, begin + HOUR + 1_800: 10}, begin + 3 * HOUR)
    now = MONDAY + 3 * WEEK + HOUR + second
    stalls(feed, {now: 100}, now + 1)
    ((when, baseline),) = fired(feed)
    assert when == now - MONDAY
    assert baseline == pytest.approx(usual)


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize(("weeks", "expected"), [(3, [0.0]), (2, [])])
def test_a_series_that_comes_later_than_the_rule_had_none_before(weeks: int, expected: list[float], crash: bool) -> None:
    feed = Feed(FILE.replace("WHEN", "value >= 2 * baseline + 10"))
    stalls(feed, {MONDAY: 1}, MONDAY + HOUR)
    now = MONDAY + HOUR + weeks * WEEK
    feed.send(now)
    if crash:
        feed.drain()
        feed.crash()
    stalls(feed, {now: 9}, now + 1, ("checkout", "gift-wrap"))
    if crash:
        feed.drain()
        feed.crash()
    stalls(feed, {now + 10: 1}, now + 11, ("checkout", "gift-wrap"))
    assert [baseline for _, baseline in fired(feed)] == expected


def test_a_rate_that_comes_later_is_not_known() -> None:
    """Nobody has come to it, which does not say that nobody would have left."""
    feed = Feed(FILE.replace("WHEN", "lower > baseline").replace("step_stalls", "step_friction_rate"))
    feed.send(MONDAY + 1, {MONDAY: [(MONDAY // 10, STEP, Counter.STEPS_REACHED, 100)]}, dimensions=("journey", "step"))
    now = MONDAY + HOUR + 4 * WEEK
    new = ("checkout", "gift-wrap")
    both: list[Change] = [(now // 10, new, Counter.STEPS_REACHED, 100), (now // 10, new, Counter.STEPS_FRICTION, 90)]
    feed.send(now + 1, {now: both}, dimensions=("journey", "step"))
    assert fired(feed) == []


def traffic(feed: Feed, per_hour: float, weeks: int, *, seed: int, incident: tuple[int, int] = (0, 0), times: int = 4) -> None:
    """Stalls by chance, with the day's and the week's seasons; so many times as many in the incident, in seconds since Monday."""
    chance = Random(seed)
    for hour in range(weeks * 168):
        begin, at = MONDAY + hour * HOUR, 0.0
        ticks: dict[int, int] = {}
        while True:
            more = times if incident[0] <= begin + at - MONDAY < incident[1] else 1
            at += chance.expovariate(per_hour * season(begin * 1000) * more / HOUR)
            if at >= HOUR:
                break
            ticks[begin + int(at)] = ticks.get(begin + int(at), 0) + 1
        stalls(feed, ticks, begin + HOUR)


@pytest.mark.parametrize("per_hour", [1.5, 4.0, 30.0])
def test_the_default_rule_is_silent_on_ordinary_weeks_with_their_evenings_and_nights(per_hour: float) -> None:
    feed = Feed(DEFAULT)
    traffic(feed, per_hour, 6, seed=int(per_hour))
    assert fired(feed) == []


def test_the_default_rule_sees_the_incident_of_the_fifth_week_and_only_that() -> None:
    feed = Feed(DEFAULT)
    evening = 4 * WEEK + 2 * 24 * HOUR + 19 * HOUR
    traffic(feed, 12.0, 5, seed=7, incident=(evening, evening + 2 * HOUR))
    firings = fired(feed)
    assert len(firings) == 1, firings
    assert evening < firings[0][0] < evening + HOUR
