"""What time alone decides of aggregate rules: what is usual changes while nothing else does, and what goes on is told again."""

from __future__ import annotations

import pytest

from streamer import definitions
from streamer.alerts.times import milliseconds
from streamer.metrics.counters import Counter
from streamer.processor import MARKER_KEY
from streamer.rollup import rows
from tests.unit.rollup.feed import Change, Feed

MINUTE = 60
HOUR = 3_600
DAY = 24 * HOUR
WEEK = 7 * DAY
MONDAY = 1_786_320_000  # 00:00 UTC
OPENS, CLOSES = 8, 20
FILE = """
revision = 1
windows = ["5m", "1h"]
[[slice]]
by = ["journey"]
[[rule]]
id = "unusual"
metric = "touchpoints"
by = ["journey"]
windows = ["1h"]
when = "WHEN"
baseline = "hour-of-week"
runbook = "docs/runbooks/unusual.md"
"""
GONE = FILE.replace("WHEN", "value < 0.5 * baseline - 5")


def hour(feed: Feed, begin: int, *, per_minute: int = 1, counter: Counter = Counter.TOUCHPOINTS) -> None:
    """An hour with so many a minute, and the clock at its end."""
    times = range(begin, begin + HOUR, MINUTE)
    changes: dict[int, list[Change]] = {t: [(t // 10, ("checkout",), int(counter), per_minute)] for t in times if per_minute}
    feed.send(begin + HOUR, changes, dimensions=("journey",))


def ordinary_weeks(feed: Feed, weeks: int = 3) -> int:
    """Weeks with one a minute while the shop is open; when they are over."""
    for begin in range(MONDAY, MONDAY + weeks * WEEK, HOUR):
        hour(feed, begin, per_minute=int(OPENS <= (begin - MONDAY) % DAY // HOUR < CLOSES))
    feed.drain()
    assert feed.alerts == []
    return MONDAY + weeks * WEEK


def told(feed: Feed, since: int) -> list[tuple[str, float]]:
    """(state, hours since) of each alert."""
    feed.drain()
    return [(one.state, round((milliseconds(one.event_time) // 1000 - since) / HOUR, 2)) for one in feed.alerts]


@pytest.mark.parametrize("crash", [False, True])
def test_that_everything_has_stopped_is_told_and_ends_with_the_shops_hours(crash: bool) -> None:
    feed = Feed(GONE)
    monday = ordinary_weeks(feed)
    for begin in range(monday, monday + DAY, HOUR):
        if crash:
            feed.drain()
            feed.crash()
        hour(feed, begin, per_minute=0)
    # At ten minutes past eight 10 of an hour are usual, and at ten to nine in the evening no more than that.
    assert told(feed, monday) == [("firing", round(OPENS + 1 / 6, 2)), ("resolved", pytest.approx(CLOSES + 5 / 6, abs=0.02))]


@pytest.mark.parametrize("crash", [False, True])
def test_a_day_without_a_worker_is_decided_in_pieces_as_it_is_at_once(crash: bool) -> None:
    def run(**limits: int) -> tuple[list[tuple[str, float]], dict[bytes, bytes], int]:
        feed, pieces = Feed(GONE, **limits), 0
        monday = ordinary_weeks(feed)
        feed.send(monday + DAY)
        while feed.rollup.go_on():
            pieces += 1
            if crash:
                feed.drain()
                feed.crash()
                feed.send(monday + DAY)  # there is always another record, if only to say that nothing has happened
        found = told(feed, monday)
        assert feed.rollup.clock_ms == (monday + DAY) * 1000
        return found, {key: row for key, row in feed.rollup.rows().items() if key != MARKER_KEY}, pieces

    at_once, rows_at_once, none = run()
    in_pieces, rows_in_pieces, pieces = run(looks=50 if crash else 5)  # a crash reads everything again
    assert (none, at_once[0]) == (0, ("firing", round(OPENS + 1 / 6, 2)))
    assert pieces > 100, "a minute's look is one piece or a few"
    assert in_pieces == at_once
    assert rows_in_pieces == rows_at_once


def test_a_timer_of_a_state_that_is_over_looks_at_nothing() -> None:
    """A restore does not know it; what usual is moves on meanwhile, and the look would see something else."""
    text = FILE.replace("WHEN", "value >= baseline + 5").replace('baseline = "', 'for = "10m"\nbaseline = "')

    def run(*, crash: bool) -> list[tuple[str, float]]:
        feed = Feed(text)
        for week in range(3):
            half_past = MONDAY + week * WEEK + 19 * HOUR + HOUR // 2
            feed.send(half_past + 1, {half_past: [(half_past // 10, ("checkout",), Counter.TOUCHPOINTS, 60)]}, dimensions=("journey",))
        eight = MONDAY + 3 * WEEK + 20 * HOUR
        feed.send(eight)
        for at, n in ((eight + 600, 56), (eight + 660, -6)):
            feed.send(at + 1, {at: [((eight + 600) // 10, ("checkout",), Counter.TOUCHPOINTS, n)]}, dimensions=("journey",))
        feed.drain()
        if crash:
            feed.crash()
        feed.send(eight + 2_500)
        return told(feed, eight)

    assert run(crash=False) == run(crash=True)


@pytest.mark.parametrize(
    ("change", "alerts"),
    [
        (("revision = 1", "revision = 2"), []),
        (('["1h"]\nwhen', '["5m"]\nwhen'), []),
        (('metric = "touchpoints"', 'metric = "journeys_started"'), []),
        (("revision = 1", 'revision = 1\ntimezone = "Asia/Tokyo"'), []),
    ],
    ids=["nothing of it", "window", "metric", "hours"],
)
def test_what_was_usual_of_another_number_is_not_usual_of_this_one(change: tuple[str, str], alerts: list[tuple[str, float]]) -> None:
    feed = Feed(GONE)
    monday = ordinary_weeks(feed)
    text = GONE.replace(*change)
    feed.definitions = definitions.parse(text.replace("revision = 1", "revision = 2"))
    feed.crash()
    for begin in range(monday, monday + DAY, HOUR):
        hour(feed, begin, per_minute=int(OPENS <= (begin - monday) // HOUR < CLOSES))
    assert told(feed, monday) == alerts
    learnt = [row for row in feed.rollup.decisions.all_baselines() if row[0][0] == "unusual"]
    known = max(len(values) for _, _, values in learnt)
    assert known == (4 if change == ("revision = 1", "revision = 2") else 1), "weeks that are known of an hour"
    kept = {key for key in feed.changelog if rows.by_kind(key) == rows.BASELINE}
    assert kept == {key for key in feed.rollup.rows() if rows.by_kind(key) == rows.BASELINE}, "what is not learnt any more is gone"


@pytest.mark.parametrize("crash", [False, True])
def test_since_when_a_rule_looks_does_not_depend_on_a_restart(crash: bool) -> None:
    feed = Feed(FILE.replace("WHEN", "value >= 2 * baseline + 10"))
    for at in (MONDAY, MONDAY + 10):
        feed.send(at)
    feed.drain()
    if crash:
        feed.crash()
    now = MONDAY + 3 * WEEK + 3 * HOUR
    feed.send(now)
    feed.send(now + 2, {now: [(now // 10, ("checkout",), Counter.TOUCHPOINTS, 50)]}, dimensions=("journey",))
    assert told(feed, now) == [("firing", 0.0)], "a series that is new had none in the weeks before"


@pytest.mark.parametrize("crash", [False, True])
def test_a_source_that_begins_without_an_event_is_no_time_that_a_rule_looked(crash: bool) -> None:
    """A partition says that it is there before it has anything to say: nothing has been decided then, least of all since 1970."""
    feed = Feed(FILE.replace("WHEN", "value >= 2 * baseline + 10"), sources=2)
    looked: list[int] = []
    feed.rollup.observe = looked.append
    feed.send(0, source=1)
    feed.send(MONDAY, source=0)
    feed.drain()
    if crash:
        feed.crash()
        feed.rollup.observe = looked.append
    now = MONDAY + 3 * HOUR
    for source in (0, 1):
        feed.send(now, source=source)
    feed.send(now + 2, {now: [(now // 10, ("checkout",), Counter.TOUCHPOINTS, 50)]}, dimensions=("journey",), source=0)
    feed.send(now + 2, source=1)
    assert told(feed, now) == [], "of a series that is new nothing is known before the rule has looked for weeks"
    assert min(looked) >= MONDAY


@pytest.mark.parametrize("group_by", ["", "group_by = []\n"], ids=["a series", "a group"])
@pytest.mark.parametrize("crash", [False, True])
def test_an_alert_that_goes_on_is_renewed_before_it_expires_though_nothing_changes(group_by: str, crash: bool) -> None:
    feed = Feed(
        FILE.replace("WHEN", "value >= 1")
        .replace('baseline = "hour-of-week"\n', group_by)
        .replace('"1h"]\nwhen', '"7d"]\nwhen')
        .replace('"1h"]', '"1h", "7d"]')
    )
    feed.send(MONDAY + 1, {MONDAY: [(MONDAY // 10, ("checkout",), Counter.TOUCHPOINTS, 5)]}, dimensions=("journey",))
    for day in range(1, 10):
        if crash:
            feed.drain()
            feed.crash()
        feed.send(MONDAY + day * DAY + 1)
    renewed: list[tuple[str, float]] = [("amended", 24.0 * day) for day in range(1, 8)]
    assert told(feed, MONDAY)[: len(renewed) + 1] == [("firing", 0.0), *renewed][: len(renewed) + 1]
    assert told(feed, MONDAY)[-1][0] == "resolved"
    expiries = [milliseconds(one.expires_at) - milliseconds(one.event_time) for one in feed.alerts]
    assert min(expiries) > DAY * 1000
    assert len({one.alert_id for one in feed.alerts}) == len(feed.alerts)


def test_months_of_nothing_are_not_looked_at_minute_by_minute() -> None:
    """The end of an ingested history is its longest deadline after its last event."""
    feed = Feed(GONE)
    hour(feed, MONDAY)
    decided: list[int] = []
    feed.rollup.observe = decided.append
    feed.send(MONDAY + 90 * DAY)
    assert len(decided) < 2 * 90 * 24 + 8 * DAY // MINUTE, "hours that end and begin, and the minutes of a week in which hours become known"
