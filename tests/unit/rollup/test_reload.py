"""New definitions over a state of others: what is evaluated anew, what is waited for again, and what a window cannot know."""

from __future__ import annotations

import pytest

from streamer import definitions
from streamer.alerts.times import milliseconds
from streamer.metrics.counters import Counter
from tests.unit.rollup.feed import Feed

# Neither a whole hour nor whole five minutes.
T = 1_790_000_000
DAY = 86_400
OWNERS = pytest.mark.parametrize("owners", [1, 3])


def text(revision: int, rule: str, windows: str = '["5m"]', more: str = "") -> str:
    return f'revision = {revision}\nwindows = {windows}\n{more}\n[[slice]]\nby = []\n[[rule]]\nid = "r"\n{rule}\n'


def reload(feed: Feed, with_text: str, owners: int = 1) -> None:
    """So many owners in a row, each of whom commits at once."""
    feed.definitions = definitions.parse(with_text)
    for _ in range(owners):
        feed.crash()
        feed.drain()


def count(feed: Feed, at: int, counter: Counter, n: int, *, account: str = "", pane: int | None = None) -> None:
    """A change of one second, in the pane of then or of a time before."""
    then = T + (at if pane is None else pane)
    feed.send(T + at + 1, {T + at: [(then // 10, ("phone", account), counter, n)]}, dimensions=["channel", "account"])
    feed.send(T + at + 2, dimensions=["channel", "account"])
    feed.drain()


def told(feed: Feed) -> list[tuple[str, int]]:
    """State and second of each alert."""
    feed.drain()
    return [(one.state, (milliseconds(one.event_time) - T * 1000) // 1000) for one in feed.alerts]


LEVEL = 'metric = "journeys_open"\nwindows = ["5m"]\nwhen = "value >= {}"'


@OWNERS
def test_a_lower_threshold_is_looked_at_though_the_number_does_not_change(owners: int) -> None:
    feed = Feed(text(1, LEVEL.format(100)))
    count(feed, 0, Counter.OPEN, 70)
    count(feed, 600, Counter.CONTACTS, 1)  # all windows have slid over it
    reload(feed, text(2, LEVEL.format(50)), owners)
    count(feed, 1_200, Counter.CONTACTS, 1)
    assert [state for state, _ in told(feed)] == ["firing"]
    assert [one.status for one in feed.rollup.rule_states()] == ["firing"]


@OWNERS
def test_a_new_rule_is_looked_at_though_its_number_does_not_change(owners: int) -> None:
    feed = Feed(text(1, LEVEL.format(100)))
    count(feed, 0, Counter.OPEN, 70)
    count(feed, 600, Counter.CONTACTS, 1)  # all windows have slid over it
    reload(feed, text(2, LEVEL.format(100) + '\n[[rule]]\nid = "new"\n' + LEVEL.format(50)), owners)
    count(feed, 1_200, Counter.CONTACTS, 1)
    assert [(one.rule.id, one.state) for one in feed.alerts] == [("new", "firing")]


PATIENT = 'metric = "contacts"\nwindows = ["5m"]\nfor = "10m"\nwhen = "value >= {}"'


@OWNERS
@pytest.mark.parametrize(("threshold", "fires_at"), [(100, 582 + 600), (1, 600)])
def test_how_long_another_condition_has_held_does_not_count(owners: int, threshold: int, fires_at: int) -> None:
    feed = Feed(text(1, PATIENT.format(1)))
    for at in range(0, 590, 10):
        count(feed, at, Counter.CONTACTS, 1)
    reload(feed, text(2, PATIENT.format(threshold)), owners)
    for at in range(582, 1_300, 100):  # from the first second that the new condition decides
        count(feed, at, Counter.CONTACTS, 200)
    assert told(feed)[:1] == [("firing", fires_at)]


BUSY = 'on = "account"\nmetric = "contacts"\nwindows = ["5m"]\nwhen = "value >= 5"\ncooldown = "30d"\nmax_per_day = 1\nmode = "{}"'


@OWNERS
@pytest.mark.parametrize(("before", "days"), [("draft", [1]), ("enabled", [0])])
def test_what_nobody_was_told_of_holds_nothing_back(owners: int, before: str, days: list[int]) -> None:
    feed = Feed(text(1, BUSY.format(before)))
    count(feed, 0, Counter.CONTACTS, 9, account="acme")
    count(feed, 3_600, Counter.CONTACTS, 1)
    reload(feed, text(2, BUSY.format("enabled")), owners)
    for day in range(1, 4):
        count(feed, day * DAY, Counter.CONTACTS, 9, account="acme")
        count(feed, day * DAY + 3_600, Counter.CONTACTS, 1)
    fired = [second // DAY for state, second in told(feed) if state == "firing"]
    assert fired == days


HANDOFFS = 'metric = "handoff_rate"\nwindows = ["{}"]\nwhen = "value > 0.5"'


@OWNERS
@pytest.mark.parametrize("window", ["30m", "24h", "7d"], ids=["longer of the same panes", "of others", "of others by the hour"])
def test_a_longer_window_corrects_nothing_that_it_has_not_counted(owners: int, window: str) -> None:
    """Cases are counted with their begin, and so is that one of them was handed off later."""
    feed = Feed(text(1, HANDOFFS.format("5m")))
    count(feed, 0, Counter.CASES, 1_000)
    count(feed, 600, Counter.CONTACTS, 1)
    reload(feed, text(2, HANDOFFS.format(window), f'["5m", "{window}"]'), owners)
    count(feed, 1_000, Counter.CASES_HANDED_OFF, 100, pane=0)
    assert (feed.gauge("handoff_rate", window).k, feed.gauge("handoff_rate", window).n) == (0, 0)
    for _ in range(owners):
        feed.crash()
    count(feed, 4_000, Counter.CASES, 40)
    count(feed, 4_100, Counter.CASES_HANDED_OFF, 10, pane=4_000)
    found = feed.gauge("handoff_rate", window)
    assert (found.k, found.n) == (10, 40)
    assert feed.alerts == []


@OWNERS
def test_a_new_slice_corrects_nothing_that_it_has_not_counted(owners: int) -> None:
    feed = Feed(text(1, HANDOFFS.format("1h"), '["1h"]'))
    count(feed, 0, Counter.CASES, 1_000)
    count(feed, 60, Counter.CONTACTS, 1)
    with_slice = HANDOFFS.format("1h") + '\nby = ["channel"]'
    reload(feed, text(2, with_slice, '["1h"]', '[[slice]]\nby = ["channel"]'), owners)
    count(feed, 100, Counter.CASES, 40)
    count(feed, 200, Counter.CASES_HANDED_OFF, 100, pane=0)
    feed.crash()
    count(feed, 300, Counter.CASES_HANDED_OFF, 10, pane=100)
    found, of_all = feed.gauge("handoff_rate", "1h", "phone"), feed.gauge("handoff_rate", "1h")
    assert ((found.k, found.n), (of_all.k, of_all.n)) == ((10, 40), (110, 1_040))
    assert feed.alerts == []


@OWNERS
def test_what_an_account_was_not_counted_for_is_not_corrected(owners: int) -> None:
    """The slice of the accounts is there, for a rule on something else."""
    feed = Feed(text(1, BUSY.format("enabled")))
    count(feed, 0, Counter.CASES, 1_000, account="acme")
    count(feed, 60, Counter.CONTACTS, 1, account="acme")
    of_cases = '[[rule]]\nid = "cases"\non = "account"\nmetric = "handoff_rate"\nwindows = ["5m"]\nwhen = "value > 0.5"'
    reload(feed, text(2, BUSY.format("enabled") + "\n" + of_cases), owners)
    count(feed, 100, Counter.CASES, 40, account="acme")
    count(feed, 110, Counter.CASES_HANDED_OFF, 100, account="acme", pane=0)
    count(feed, 120, Counter.CASES_HANDED_OFF, 30, account="acme", pane=100)
    (fired,) = feed.alerts
    assert (fired.rule.id, fired.metric.k, fired.metric.n) == ("cases", 30, 40)


@pytest.mark.parametrize(
    ("window", "at", "longer"), [("5m", 290, "30m"), ("61m", 3_650, "24h"), ("90m", 5_000, "24h"), ("25h", 86_000, "7d")]
)
def test_a_window_that_was_there_before_corrects_all_that_it_has(window: str, at: int, longer: str) -> None:
    feed = Feed(text(1, HANDOFFS.format(window), f'["{window}"]'))
    count(feed, 0, Counter.CASES, 40)
    count(feed, at - 10, Counter.CONTACTS, 1)
    before = feed.gauge("handoff_rate", window).n
    reload(feed, text(2, HANDOFFS.format(window), f'["{window}", "{longer}"]'))
    count(feed, at, Counter.CASES_HANDED_OFF, 10, pane=0)
    assert (before, feed.gauge("handoff_rate", window).k) == (40, 10)


def test_a_reload_writes_nothing_of_rules_that_are_as_they_were() -> None:
    feed = Feed(text(1, BUSY.format("enabled")))
    for number in range(20):
        count(feed, number, Counter.CONTACTS, 1, account=f"a{number}")
    feed.definitions = definitions.parse(text(2, BUSY.format("enabled")) + "# another comment")
    feed.crash()
    assert len(feed.drain()) == 2, "the definitions and the marker"


@pytest.mark.parametrize("modes", [["draft", "off", "enabled"], ["draft", "draft", "enabled"]])
def test_what_nobody_was_told_of_holds_nothing_back_however_it_is_enabled(modes: list[str]) -> None:
    feed = Feed(text(1, BUSY.format(modes[0])))
    count(feed, 0, Counter.CONTACTS, 9, account="acme")
    count(feed, 3_600, Counter.CONTACTS, 1)
    for revision, mode in enumerate(modes[1:], 2):
        reload(feed, text(revision, BUSY.format(mode)))
    count(feed, DAY, Counter.CONTACTS, 9, account="acme")
    count(feed, DAY + 3_600, Counter.CONTACTS, 1)
    assert [second // DAY for state, second in told(feed) if state == "firing"] == [1]


def test_what_a_shorter_window_has_counted_a_longer_one_corrects() -> None:
    feed = Feed(text(1, HANDOFFS.format("5m")))
    count(feed, 0, Counter.CASES, 40)
    reload(feed, text(2, HANDOFFS.format("30m"), '["5m", "30m"]'))
    count(feed, 60, Counter.CASES_HANDED_OFF, 10, pane=0)
    assert (feed.gauge("handoff_rate", "30m").k, feed.gauge("handoff_rate", "30m").n) == (10, 40)
