"""Aggregate rules beyond one bound on one series: baselines, what clears them, many series, groups, drafts, and rules that are gone."""

from __future__ import annotations

from statistics import median

import pytest
from statsmodels.stats.proportion import proportion_confint  # type: ignore[import-untyped]

from streamer import definitions
from streamer.errors import DefinitionsError
from streamer.metrics.counters import Counter
from streamer.rollup.baselines import WEEKS_MIN, Week, last_tick_of_hour
from streamer.rules.quiet import zone_of
from tests.unit.rollup.feed import Change, Feed

HOUR = 3_600
WEEK = 7 * 24 * HOUR
# A Monday, 00:00 UTC, eight weeks before clocks change in Berlin.
MONDAY = 1_786_320_000
FILE = """
revision = 3
timezone = "Europe/Berlin"
dashboard = "https://grafana.example/d/cx"
windows = ["1h"]
[[slice]]
by = ["journey"]
[[slice]]
by = ["journey", "channel"]
"""


def rule(when: str, *more: str, by: str = '["journey"]') -> str:
    lines = "\n".join(more)
    return f'{FILE}[[rule]]\nid = "r"\nmetric = "abandon_rate"\nby = {by}\nwindows = ["1h"]\nwhen = "{when}"\n{lines}\n'


def outcome(tick: int, k: int, n: int, cell: tuple[str, str] = ("checkout", "web")) -> dict[int, list[Change]]:
    """`k` of `n` journeys of one second abandoned."""
    return {tick: [(tick // 10, cell, Counter.ABANDONED, k), (tick // 10, cell, Counter.COMPLETED, n - k)]}


def states(feed: Feed) -> list[str]:
    feed.drain()
    return [told.state for told in feed.alerts]


def status(feed: Feed) -> list[str]:
    return [reading.status for reading in feed.rollup.rule_states()]


# --- Baselines ------------------------------------------------------------------------------------------------------------------

USUAL = rule("lower > baseline + 0.1", 'baseline = "hour-of-week"')


def weeks_of(shares: list[int], text: str = USUAL) -> Feed:
    """The first hour of so many Mondays, each with 100 journeys of which this many were abandoned."""
    feed = Feed(text)
    for number, share in enumerate(shares):
        begin = MONDAY + number * WEEK
        feed.send(begin + 61, outcome(begin + 60, share, 100))
        feed.send(begin + 2 * HOUR)
    return feed


@pytest.mark.parametrize("crash", [False, True])
def test_a_rate_is_compared_with_the_median_of_its_hour_in_the_last_weeks(crash: bool) -> None:
    feed = weeks_of([20, 60, 22, 26])
    if crash:
        feed.drain()
        feed.crash()
    begin = MONDAY + 4 * WEEK
    feed.send(begin + 61, outcome(begin + 60, 40, 100))
    feed.send(begin + 62)
    assert states(feed) == []
    assert status(feed) == ["ok"], "30.9 % is the lower bound of 40 of 100"
    feed.send(begin + 71, outcome(begin + 70, 10, 10))
    feed.send(begin + 72)
    assert states(feed) == ["firing"]
    told = feed.alerts[0].metric
    assert (told.baseline, told.delta) == (median([0.2, 0.6, 0.22, 0.26]), 50 / 110 - 0.24)


def test_without_enough_weeks_nothing_is_usual_and_the_rule_is_insufficient() -> None:
    feed = weeks_of([20] * (WEEKS_MIN - 1))
    begin = MONDAY + (WEEKS_MIN - 1) * WEEK
    feed.send(begin + 61, outcome(begin + 60, 100, 100))
    feed.send(begin + 62)
    assert (states(feed), status(feed)) == ([], ["insufficient"])


def test_another_hour_of_the_week_has_its_own_baseline() -> None:
    feed = weeks_of([20] * 4)
    begin = MONDAY + 4 * WEEK + 3 * HOUR
    feed.send(begin + 61, outcome(begin + 60, 100, 100))
    feed.send(begin + 62)
    assert (states(feed), status(feed)) == ([], ["insufficient"])


def test_what_an_incident_does_is_not_to_become_usual() -> None:
    feed = weeks_of([20, 20, 20, 90, 90, 90, 90])
    begin = MONDAY + 7 * WEEK
    feed.send(begin + 61, outcome(begin + 60, 90, 100))
    feed.send(begin + 62)
    feed.drain()
    assert [(told.state, told.metric.baseline) for told in feed.alerts][::2] == [("firing", 0.2)] * 5


def test_too_small_a_sample_is_not_learnt() -> None:
    feed = Feed(USUAL)
    for number in range(4):
        begin = MONDAY + number * WEEK
        feed.send(begin + 61, outcome(begin + 60, 5, 29))
        feed.send(begin + 2 * HOUR)
    feed.drain()
    assert feed.rollup.decisions.all_baselines() == []


def test_a_fixed_target_needs_no_weeks() -> None:
    feed = Feed(rule("lower > baseline and delta >= 0.2", "baseline = 0.25"))
    feed.send(MONDAY + 61, outcome(MONDAY + 60, 40, 100))
    assert states(feed) == []
    feed.send(MONDAY + 71, outcome(MONDAY + 70, 40, 50))
    feed.send(MONDAY + 72)
    assert states(feed) == ["firing"]
    assert (feed.alerts[0].metric.baseline, feed.alerts[0].metric.delta) == (0.25, 80 / 150 - 0.25)


def test_hours_of_the_week_are_those_of_the_time_zone() -> None:
    berlin = Week(zone_of("Europe/Berlin"))
    assert [berlin.hour(MONDAY + hours * HOUR) for hours in (-2, -1, 0, 24)] == [0, 1, 2, 26]  # summer time: two hours ahead
    assert [last_tick_of_hour(MONDAY + seconds) for seconds in (0, HOUR - 1, HOUR)] == [MONDAY + HOUR - 1] * 2 + [MONDAY + 2 * HOUR - 1]


# --- What clears it, and many series -----------------------------------------------------------------------------------------------


def test_it_goes_on_firing_between_its_two_thresholds() -> None:
    feed = Feed(rule("value > 0.5", 'clear = "value < 0.3"'))
    feed.send(MONDAY + 1, outcome(MONDAY, 60, 100))
    feed.send(MONDAY + 11, outcome(MONDAY + 10, 0, 50))  # 40 %: neither
    feed.send(MONDAY + 100)
    assert states(feed) == ["firing"]
    feed.send(MONDAY + 101, outcome(MONDAY + 100, 0, 100))  # 24 %
    feed.send(MONDAY + 200)
    assert states(feed) == ["firing", "resolved"]


@pytest.mark.parametrize(("series", "confidence"), [(20, None), (21, 0.99)])
def test_with_many_series_the_bounds_are_wider(series: int, confidence: float | None) -> None:
    feed = Feed(rule("lower > 0.5"))
    for number in range(series):
        feed.send(MONDAY + 1, outcome(MONDAY, 10, 40, (f"j{number:02}", "web")))
    feed.send(MONDAY + 11, outcome(MONDAY + 10, 70, 80, ("j00", "web")))
    feed.send(MONDAY + 12)
    feed.drain()
    (told,) = feed.alerts
    bounds = proportion_confint(80, 120, alpha=0.05 if confidence is None else 0.01, method="wilson")
    assert (told.metric.ci_low, told.metric.ci_high) == pytest.approx(bounds, abs=1e-9)
    assert told.metric.confidence == confidence
    assert ("99 % interval" in told.why) is (confidence is not None)


@pytest.mark.parametrize("when", ["journey == 'j00' and lower > 0.5", "lower > 0.5 and journey == 'j00'"])
def test_series_that_the_labels_exclude_widen_no_bounds_wherever_the_label_stands(when: str) -> None:
    feed = Feed(rule(when))
    for number in range(21):
        feed.send(MONDAY + 1, outcome(MONDAY, 10, 40, (f"j{number:02}", "web")))
    feed.send(MONDAY + 11, outcome(MONDAY + 10, 70, 80, ("j00", "web")))
    feed.send(MONDAY + 12)
    feed.drain()
    assert [one.metric.confidence for one in feed.alerts] == [None]


# --- Groups -----------------------------------------------------------------------------------------------------------------------

GROUPED = rule("lower > 0.5", 'group_by = ["journey"]', by='["journey", "channel"]')


@pytest.mark.parametrize("crash", [False, True])
def test_an_outage_is_one_alert_with_its_slices(crash: bool) -> None:
    feed = Feed(GROUPED)
    feed.send(MONDAY + 1, outcome(MONDAY, 40, 40, ("checkout", "web")) | {})
    feed.send(MONDAY + 2, outcome(MONDAY + 1, 60, 60, ("checkout", "app")))
    feed.send(MONDAY + 3, outcome(MONDAY + 2, 50, 50, ("loan", "web")))
    if crash:
        feed.drain()
        feed.crash()
    feed.send(MONDAY + 101, outcome(MONDAY + 100, 0, 100, ("checkout", "web")))
    feed.send(MONDAY + 201, outcome(MONDAY + 200, 0, 100, ("checkout", "app")))
    feed.send(MONDAY + 300)
    feed.drain()
    told = [(a.slice, a.state, [child.slice for child in a.children], a.children_count) for a in feed.alerts]
    web, app = {"journey": "checkout", "channel": "web"}, {"journey": "checkout", "channel": "app"}
    assert told == [
        ({"journey": "checkout"}, "firing", [web], 1),
        ({"journey": "checkout"}, "amended", [app, web], 2),
        ({"journey": "loan"}, "firing", [{"journey": "loan", "channel": "web"}], 1),
        ({"journey": "checkout"}, "amended", [app], 1),
        ({"journey": "checkout"}, "resolved", [], 0),
    ]
    assert len({a.episode_id for a in feed.alerts if a.slice == {"journey": "checkout"}}) == 1
    assert len({a.alert_id for a in feed.alerts}) == 5
    assert "2 series fire, the largest, journey checkout, channel app, with 100.0 % over 1h" in feed.alerts[1].why


def test_the_link_to_the_dashboard_has_the_time_and_the_slice() -> None:
    feed = Feed(rule("lower > 0.5"))
    feed.send(MONDAY + 2, outcome(MONDAY, 40, 40))
    feed.drain()
    until = MONDAY * 1000 + HOUR * 1000
    # The window begins an hour before the pane after the tick; the link begins and ends an hour farther.
    start = (MONDAY + 10 - HOUR) * 1000 - HOUR * 1000
    assert feed.alerts[0].dashboard == f"https://grafana.example/d/cx?from={start}&to={until}&var-journey=checkout"


# --- Modes, and rules that are gone ------------------------------------------------------------------------------------------------


def fired(text: str) -> Feed:
    feed = Feed(text)
    feed.send(MONDAY + 1, outcome(MONDAY, 40, 40))
    feed.send(MONDAY + 2)
    feed.drain()
    return feed


def upgraded(feed: Feed, text: str) -> Feed:
    feed.definitions = definitions.parse(text.replace("revision = 3", "revision = 4"))
    feed.crash()
    feed.send(MONDAY + 20)
    feed.drain()
    return feed


@pytest.mark.parametrize("grouped", [False, True])
def test_nobody_is_told_of_a_draft_but_it_is_counted_and_seen(grouped: bool) -> None:
    text = GROUPED + 'mode = "draft"\n' if grouped else rule("lower > 0.5", 'mode = "draft"')
    feed = fired(text)
    assert (feed.alerts, status(feed)) == ([], ["firing"])
    assert feed.rollup.accounting["draft:firing:r"] == 1


ENABLED, DRAFT, OFF = (rule("lower > 0.5", f'mode = "{mode}"') for mode in ("enabled", "draft", "off"))


@pytest.mark.parametrize(("before", "after", "expected"), [
    (ENABLED, DRAFT, ["firing", "resolved"]),
    (ENABLED, OFF, ["firing", "resolved"]),
    (ENABLED, FILE, ["firing", "resolved"]),
    (DRAFT, ENABLED, ["firing"]),
    (DRAFT, FILE, []),
    (ENABLED, ENABLED + 'severity = "critical"\n', ["firing"]),
    (GROUPED, GROUPED + 'mode = "draft"\n', ["firing", "resolved"]),
    (GROUPED + 'mode = "draft"\n', GROUPED, ["firing"]),
    (GROUPED, GROUPED.replace('group_by = ["journey"]', ""), ["firing", "resolved", "firing"]),
    (GROUPED.replace('group_by = ["journey"]', ""), GROUPED, ["firing", "resolved", "firing"]),
    (GROUPED, GROUPED.replace('group_by = ["journey"]', "group_by = []"), ["firing", "resolved", "firing"]),
])  # fmt: skip
def test_what_fires_ends_when_its_rule_is_gone_or_told_otherwise(before: str, after: str, expected: list[str]) -> None:
    feed = upgraded(fired(before), after)
    assert [told.state for told in feed.alerts] == expected
    feed.crash()
    feed.send(MONDAY + 40)
    feed.drain()
    assert [told.state for told in feed.alerts] == expected, "once only"


@pytest.mark.parametrize("text", [ENABLED, GROUPED])
def test_an_alert_ends_with_the_severity_it_fired_with(text: str) -> None:
    before = text.replace('mode = "enabled"\n', "") + 'severity = "critical"\n'
    feed = upgraded(fired(before), before.replace("critical", "info") + 'mode = "draft"\n')
    assert [(told.state, told.severity) for told in feed.alerts] == [("firing", "critical"), ("resolved", "critical")]


@pytest.mark.parametrize("crash", [False, True])
def test_a_group_whose_series_are_others_now_ends_unless_one_of_them_fires(crash: bool) -> None:
    """By platform one of two fires; by channel, which both share, nothing does."""
    text = GROUPED.replace("[[rule]]", '[[slice]]\nby = ["journey", "platform"]\n[[rule]]')
    before = text.replace('by = ["journey", "channel"]\nwindows', 'by = ["journey", "platform"]\nwindows')
    feed = Feed(before)
    ios, android = (("checkout", "app", platform) for platform in ("ios", "android"))
    changes: list[Change] = [
        (MONDAY // 10, cell, counter, n)
        for cell, abandoned in ((ios, 90), (android, 0))
        for counter, n in ((Counter.ABANDONED, abandoned), (Counter.COMPLETED, 100 - abandoned))
    ]
    feed.send(MONDAY + 1, {MONDAY: changes}, dimensions=("journey", "channel", "platform"))
    feed.send(MONDAY + 2)
    assert states(feed) == ["firing"]
    feed.definitions = definitions.parse(text.replace("revision = 3", "revision = 4"))
    feed.crash()
    if crash:
        feed.drain()
        feed.crash()
    feed.send(MONDAY + 20)
    assert states(feed) == ["firing", "resolved"]
    assert {one.episode_id for one in feed.alerts} == {feed.alerts[0].episode_id}


@pytest.mark.parametrize(("when", "more", "why"), [
    ("lower > baseline", "", "names \"baseline\" and has no `baseline`"),
    ("lower > 0.5", 'clear = "delta < 0"', "names \"delta\" and has no `baseline`"),
    ("lower > 0.5", 'clear = "uper < 0.5"', "did you mean \"upper\""),
    ("lower > 0.5", 'baseline = "week"', "baseline"),
    ("lower > 0.5", "baseline_weeks = 2", "baseline_weeks"),
    ("lower > 0.5", 'group_by = ["journey"]', "must leave out"),
    ("lower > 0.5", 'group_by = ["team"]', "must leave out"),
    ("lower > 0.5", 'quiet = ["22:00-07:00"]', "is for entity rules"),
    ("lower > 0.5", 'cooldown = "1h"', "is for entity rules"),
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(when: str, more: str, why: str) -> None:
    with pytest.raises(DefinitionsError, match=why):
        definitions.parse(rule(when, more))
