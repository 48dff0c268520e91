"""Aggregate alerts carry the events that count against the series: the latest of the window, with their place in the log."""

from __future__ import annotations

import msgspec
import pytest

from streamer import definitions, deltas
from streamer.alerts import alert
from streamer.alerts.times import milliseconds
from streamer.definitions import default_text
from streamer.metrics.catalogue import METRIC_BY_ID
from streamer.metrics.counters import Counter
from streamer.rules.exemplars import Evidenced, evidence_of, side_of
from tests.unit.rollup.feed import T0, Change, Feed, Seen

PANE = T0 // 10
WEB, APP = ("checkout", "web"), ("checkout", "app")
FILE = """
revision = 1
allowed_lateness = "10m"
windows = ["1m", "1h", "24h"]
[[slice]]
by = ["journey"]
[[slice]]
by = ["journey", "channel"]
"""


def rule(when: str = "lower > 0.2", *more: str, metric: str = "abandon_rate", by: str = '["journey"]', windows: str = '["1m"]') -> str:
    lines = "\n".join(more if any("min_n" in line for line in more) else (*more, "min_n = 1"))
    return f'{FILE}[[rule]]\nid = "r"\nmetric = "{metric}"\nby = {by}\nwindows = {windows}\nwhen = "{when}"\n{lines}\n'


def abandoned(tick: int, offsets: list[int], cell: tuple[str, str] = WEB, sign: int = 1) -> list[Seen]:
    return [(tick, cell, Counter.ABANDONED, sign, tick // 10, offset) for offset in offsets]


def told(feed: Feed) -> list[alert.Alert]:
    feed.drain()
    return feed.alerts


def offsets_of(record: alert.Alert) -> list[int]:
    return [event.offset for event in record.evidence]


def test_an_alert_names_the_events_with_topic_partition_and_offset() -> None:
    feed = Feed(rule())
    feed.send(T0 + 2, {T0: [(PANE, WEB, Counter.ABANDONED, 3)]}, seen=abandoned(T0, [7, 8, 9]))
    (record,) = told(feed)
    assert record.evidence[0] == alert.Evidence("e7", "form.error", "2026-09-21T14:13:20.000Z", "cx.touchpoints.v1", 0, 7)
    assert offsets_of(record) == [7, 8, 9]
    assert record.evidence_count == 3


def test_evidence_is_bounded_to_the_latest_and_the_count_says_how_many_there_are() -> None:
    feed = Feed(rule("lower > 0.2", "min_n = 30"))
    for n in range(10):
        feed.send(T0 + n + 1, {T0 + n: [(PANE, WEB, Counter.ABANDONED, 3)]}, seen=abandoned(T0 + n, [3 * n, 3 * n + 1, 3 * n + 2]))
    feed.send(T0 + 12)
    (record,) = told(feed)
    assert offsets_of(record) == list(range(10, 30))
    assert record.evidence_count == 30


def test_what_has_left_the_window_is_no_evidence_any_more() -> None:
    feed = Feed(rule("lower > 0.2", "min_n = 2"))
    feed.send(T0 + 1, {T0: [(PANE, WEB, Counter.ABANDONED, 1)]}, seen=abandoned(T0, [1]))
    later = T0 + 300
    feed.send(later + 2, {later: [(later // 10, WEB, Counter.ABANDONED, 2)]}, seen=abandoned(later, [2, 3]))
    (record,) = told(feed)
    assert offsets_of(record) == [2, 3]
    assert record.evidence_count == 2


@pytest.mark.parametrize(("window", "begins"), [("65s", "14:13:20"), ("70s", "14:13:20"), ("60s", "14:13:30")])
def test_a_window_that_is_no_whole_panes_covers_one_more_in_part(window: str, begins: str) -> None:
    feed = Feed(rule("lower > 0.3", windows=f'["{window}"]').replace('"1m"', f'"{window}"'))
    feed.send(T0 + 2, {T0: [(PANE, WEB, Counter.ABANDONED, 1)]}, seen=abandoned(T0, [7]))
    late = T0 + 60
    feed.send(late + 2, {late: [(late // 10, WEB, Counter.ABANDONED, 2)]}, seen=abandoned(late, [8, 9]))
    record = told(feed)[-1]
    assert record.window is not None
    assert record.window.start == f"2026-09-21T{begins}.000Z"
    assert offsets_of(record) == ([8, 9] if window == "60s" else [7, 8, 9])
    assert record.evidence_count == len(record.evidence) == record.metric.n


def test_what_is_taken_back_is_no_evidence_any_more() -> None:
    feed = Feed(rule("lower > 0.2", "min_n = 3"))
    feed.send(T0 + 1, {T0: [(PANE, WEB, Counter.ABANDONED, 2)]}, seen=abandoned(T0, [1, 2]))
    back = [(T0 + 1, WEB, Counter.ABANDONED, -1, PANE, 1)]
    feed.send(T0 + 2, {T0 + 1: [(PANE, WEB, Counter.ABANDONED, -1)]}, seen=back)
    feed.send(T0 + 4, {T0 + 2: [(PANE, WEB, Counter.ABANDONED, 2)]}, seen=abandoned(T0 + 2, [3, 4]))
    (record,) = told(feed)
    assert offsets_of(record) == [2, 3, 4]
    assert record.evidence_count == 3


def test_the_evidence_of_a_level_is_what_has_raised_it_and_is_still_in_it_however_long_ago() -> None:
    def opened(tick: int, *offsets: int, sign: int = 1) -> list[Seen]:
        return [(tick, WEB, Counter.OPEN, sign, tick // 10, offset) for offset in offsets]

    feed = Feed(rule("value >= 4", metric="journeys_open"))
    feed.send(T0 + 1, {T0: [(PANE, WEB, Counter.OPEN, 3)]}, seen=opened(T0, 1, 2, 3))
    later = T0 + 600
    feed.send(later + 1, {later: [(later // 10, WEB, Counter.OPEN, -1)]}, seen=opened(later, 2, sign=-1))
    feed.send(later + 3, {later + 1: [(later // 10, WEB, Counter.OPEN, 2)]}, seen=opened(later + 1, 4, 5))
    (record,) = told(feed)
    assert offsets_of(record) == [1, 3, 4, 5]
    assert record.evidence_count == 4


def test_a_rule_on_a_low_rate_names_the_sample_without_the_numerator() -> None:
    feed = Feed(rule("upper < 0.9", "min_n = 3", metric="close_rate"))
    changes: list[Change] = [(PANE, WEB, Counter.COMPLETED, 1), (PANE, WEB, Counter.FAILED, 5)]
    seen = [(T0, WEB, Counter.COMPLETED, 1, PANE, 1), *[(T0, WEB, Counter.FAILED, 1, PANE, offset) for offset in (2, 3)]]
    feed.send(T0 + 2, {T0: changes}, seen=seen)
    (record,) = told(feed)
    assert offsets_of(record) == [2, 3]
    assert record.evidence_count == 5


def test_where_the_numerator_is_counted_with_the_sample_its_events_are_left_out_of_a_low_rate() -> None:
    metric = METRIC_BY_ID["response_in_time_rate"]
    in_time, due = metric.numerator[0], metric.denominator[0]
    head = default_text()[: default_text().index("[[rule]]")]
    feed = Feed(f'{head}[[rule]]\nid = "r"\nmetric = "{metric.id}"\nwindows = ["1h"]\nwhen = "upper < 0.99"\nmin_n = 3\n')
    everywhere = ("", "phone")
    seen = [(T0, everywhere, due, 1, PANE, offset) for offset in (1, 2, 3)] + [(T0, everywhere, in_time, 1, PANE, 2)]
    feed.send(T0 + 2, {T0: [(PANE, everywhere, due, 300), (PANE, everywhere, in_time, 100)]}, seen=seen)
    (record,) = told(feed)
    assert offsets_of(record) == [1, 3]
    assert record.evidence_count == 200


@pytest.mark.parametrize(
    ("when", "side"),
    [
        ("lower > 0.5", "high"),
        ("upper < 0.5", "low"),
        ("value < 0", "low"),
        ("0.5 < value", "high"),
        ("value >= 10 and value > 3 * baseline", "high"),
        ("lower > baseline + 0.05", "high"),
        ("baseline - value > 0.1", "low"),
        ("delta < -0.1", "low"),
        ("-value < 3", "high"),
        ("upper < 0.36 and n >= 40", "low"),
        ("journey == 'checkout' and lower > 0.5", "high"),
        ("value > 500 and value < 2400", None),
        ("n >= 4", None),
        ("value == 0", None),
    ],
)
def test_the_side_is_that_of_the_comparison(when: str, side: str | None) -> None:
    assert side_of(when) == side


def test_which_counters_are_evidence_follows_from_the_side() -> None:
    nps, share, wait = METRIC_BY_ID["nps_experience"], METRIC_BY_ID["abandon_rate"], METRIC_BY_ID["effort_mean"]
    assert evidence_of(nps, "upper < 0") == evidence_of(nps, "value < 0") == Evidenced(tuple(map(int, nps.minus)))
    assert evidence_of(nps, "lower > 50") == Evidenced(tuple(map(int, nps.numerator)))
    assert evidence_of(share, "lower > 0.5") == Evidenced((int(Counter.ABANDONED),))
    assert evidence_of(share, "upper < 0.5") == Evidenced((int(Counter.COMPLETED),))
    assert evidence_of(METRIC_BY_ID["close_odds"], "value < 1") == Evidenced((int(Counter.ABANDONED), int(Counter.FAILED)))
    assert evidence_of(METRIC_BY_ID["information_opened_rate"], "upper < 0.5") == Evidenced()  # it is opened later than it is sent
    assert evidence_of(METRIC_BY_ID["journeys_open"], "value > 9") == Evidenced((int(Counter.OPEN),))
    assert evidence_of(METRIC_BY_ID["journeys_open"], "value < 9") == Evidenced()
    assert evidence_of(share, "value > 0.1 and value < 0.9") == Evidenced()
    assert evidence_of(wait, "lower > 2") == Evidenced(tuple(map(int, wait.denominator)))


def test_each_record_of_a_tick_adds_no_more_than_one_would_have_had() -> None:
    together, apart = Feed(rule("lower > 0.2", "min_n = 6")), Feed(rule("lower > 0.2", "min_n = 6"))
    together.send(T0 + 2, {T0: [(PANE, WEB, Counter.ABANDONED, 6)]}, seen=abandoned(T0, [1, 2, 3, 4]))
    apart.send(T0, {T0: [(PANE, WEB, Counter.ABANDONED, 3)]}, seen=abandoned(T0, [1, 2, 3]))
    apart.send(T0 + 2, {T0: [(PANE, WEB, Counter.ABANDONED, 3)]}, seen=abandoned(T0, [4, 5, 6]))
    assert told(together) == told(apart)
    assert offsets_of(told(apart)[0]) == [1, 2, 3, 4]


def test_where_records_end_does_not_decide_what_is_evidence() -> None:
    together, apart = Feed(rule("lower > 0.2", "min_n = 2")), Feed(rule("lower > 0.2", "min_n = 2"))
    corrected: Seen = (T0 + 1, WEB, Counter.ABANDONED, -1, PANE, 9)
    for feed in (together, apart):
        feed.send(T0 + 1, {T0: [(PANE, WEB, Counter.ABANDONED, 1)]}, seen=abandoned(T0, [1]))
    together.send(T0 + 2, {T0 + 1: []}, seen=[*abandoned(T0 + 1, [2]), corrected])
    apart.send(T0 + 1, {T0 + 1: [(PANE, WEB, Counter.ABANDONED, 1)]}, seen=abandoned(T0 + 1, [2]))
    apart.send(T0 + 2, {T0 + 1: [(PANE, WEB, Counter.ABANDONED, -1)]}, seen=[corrected])
    for feed in (together, apart):
        feed.send(T0 + 4, {T0 + 2: [(PANE, WEB, Counter.ABANDONED, 1)]}, seen=abandoned(T0 + 2, [3]))
    assert told(together) == told(apart)
    assert offsets_of(told(apart)[0]) == [2, 3]  # 9 is an event of its own, and takes back none of these; the latest two of two


@pytest.mark.parametrize("series_per_slice", [2, 0])  # a series of its own, and `other`
def test_a_cause_that_moves_without_a_change_of_sums_is_seen_by_the_next_owner_too(series_per_slice: int) -> None:
    text = rule("lower > 0.2", "min_n = 4")
    feed, crashing = Feed(text, series_per_slice=series_per_slice), Feed(text, series_per_slice=series_per_slice)
    for one in (feed, crashing):
        one.send(T0 + 1, {T0: [(PANE, WEB, Counter.ABANDONED, 2)]}, seen=abandoned(T0, [1, 2]))
    crashing.drain()
    crashing.crash()
    for one in (feed, crashing):
        moved = [(T0 + 1, WEB, Counter.ABANDONED, -1, PANE, 1), *abandoned(T0 + 1, [3])]
        one.send(T0 + 2, {T0 + 1: []}, seen=moved)
        one.send(T0 + 4, {T0 + 2: [(PANE, WEB, Counter.ABANDONED, 2)]}, seen=abandoned(T0 + 2, [8, 9]))
    assert told(crashing) == told(feed)
    assert offsets_of(told(feed)[0]) == [2, 3, 8, 9]


def test_what_moves_from_one_cell_to_another_of_the_same_series_stays() -> None:
    feed = Feed(rule("lower > 0.2", "min_n = 3"))
    feed.send(T0 + 1, {T0: [(PANE, WEB, Counter.ABANDONED, 2)]}, seen=abandoned(T0, [1, 2]))
    changes: list[Change] = [(PANE, WEB, Counter.ABANDONED, -1), (PANE, APP, Counter.ABANDONED, 1)]
    moved = [(T0 + 1, WEB, Counter.ABANDONED, -1, PANE, 1), (T0 + 1, APP, Counter.ABANDONED, 1, PANE, 1)]
    feed.send(T0 + 2, {T0 + 1: changes}, seen=moved)
    feed.send(T0 + 4, {T0 + 2: [(PANE, WEB, Counter.ABANDONED, 1)]}, seen=abandoned(T0 + 2, [3]))
    assert offsets_of(told(feed)[0]) == [1, 2, 3]


def test_everybody_who_comes_back_in_one_second_is_removed() -> None:
    feed = Feed(rule("lower > 0.2", "min_n = 20"))
    for second in range(2):
        many = abandoned(T0 + second, [4 * second + n for n in range(4)])
        feed.send(T0 + second + 1, {T0 + second: [(PANE, WEB, Counter.ABANDONED, 4)]}, seen=many)
    back = [(T0 + 2, WEB, Counter.ABANDONED, -1, PANE, offset) for offset in range(8)]
    changes: list[Change] = [(PANE, WEB, Counter.ABANDONED, -8), (PANE, WEB, Counter.COMPLETED, 8)]
    feed.send(T0 + 3, {T0 + 2: changes}, seen=back)
    feed.send(T0 + 5, {T0 + 3: [(PANE, WEB, Counter.ABANDONED, 12)]}, seen=abandoned(T0 + 3, [21, 22, 23, 24]))
    (record,) = told(feed)
    assert offsets_of(record) == [21, 22, 23, 24]
    assert record.evidence_count == 12


def test_an_event_that_counts_in_two_panes_is_evidence_while_either_is_in_the_window() -> None:
    feed = Feed(rule("lower > 0.2", "min_n = 2"))
    early, late = (T0 - 40) // 10, PANE
    twice = [(T0, WEB, Counter.ABANDONED, 1, pane, 5) for pane in (late, early)]
    feed.send(T0 + 2, {T0: [(early, WEB, Counter.ABANDONED, 1), (late, WEB, Counter.ABANDONED, 1)]}, seen=twice)
    feed.send(T0 + 31, {T0 + 30: [(PANE + 3, WEB, Counter.COMPLETED, 1_000)]})
    feed.send(T0 + 100)
    firing, resolved = told(feed)
    assert (offsets_of(firing), offsets_of(resolved)) == ([5], [5])


def test_where_a_source_was_left_out_its_ticks_are_one_and_so_is_their_limit() -> None:
    one, two = Feed(rule("lower > 0.2", "min_n = 6")), Feed(rule("lower > 0.2", "min_n = 6"))
    for feed in (one, two):
        feed.send(T0 + 5)  # what comes for earlier ticks counts at this one
    ticks: dict[int, list[Change]] = {T0 + n: [(PANE, WEB, Counter.ABANDONED, 3)] for n in range(2)}
    one.send(T0 + 5, ticks, seen=[*abandoned(T0, [1, 2]), *abandoned(T0 + 1, [3, 4])])
    two.send(T0 + 5, {T0: ticks[T0]}, seen=abandoned(T0, [1, 2]))
    two.send(T0 + 5, {T0 + 1: ticks[T0 + 1]}, seen=abandoned(T0 + 1, [3, 4]))
    for feed in (one, two):
        feed.send(T0 + 8)
    assert told(one) == told(two)
    assert offsets_of(told(one)[0]) == [1, 2, 3, 4]


def test_panes_ahead_of_the_window_are_not_in_it() -> None:
    feed = Feed(rule("lower > 0.2", "min_n = 2"))
    ahead = PANE + 12
    seen = [*abandoned(T0, [1, 2]), (T0, WEB, Counter.ABANDONED, 1, ahead, 7)]
    feed.send(T0 + 2, {T0: [(PANE, WEB, Counter.ABANDONED, 2), (ahead, WEB, Counter.ABANDONED, 1)]}, seen=seen)
    (record,) = told(feed)
    assert offsets_of(record) == [1, 2]


@pytest.mark.parametrize("counter", [2, 254, 1_805])
def test_an_exemplar_of_a_counter_that_is_not_known_here_is_passed_over(counter: int) -> None:
    feed = Feed(rule("lower > 0.2", "min_n = 2"))
    feed.send(T0 + 2, {T0: [(PANE, WEB, Counter.ABANDONED, 2)]}, seen=[*abandoned(T0, [1]), (T0, WEB, counter, 1, PANE, 3)])
    assert offsets_of(told(feed)[0]) == [1]


@pytest.mark.parametrize(("now", "expected"), [("upper < 0.99", [50]), ("lower > 0.3", [1, 2, 3, 50])])
def test_definitions_that_mean_something_else_by_a_rule_begin_without_its_evidence(now: str, expected: list[int]) -> None:
    feed = Feed(rule("lower > 0.2", "min_n = 4"))
    feed.send(T0 + 1, {T0: [(PANE, WEB, Counter.ABANDONED, 3)]}, seen=abandoned(T0, [1, 2, 3]))
    feed.drain()
    metric = "close_rate" if "upper" in now else "abandon_rate"
    feed.definitions = definitions.parse(rule(now, "min_n = 4", metric=metric).replace("revision = 1", "revision = 2"))
    feed.crash()
    feed.send(T0 + 4, {T0 + 1: [(PANE, WEB, Counter.ABANDONED, 1)]}, seen=abandoned(T0 + 1, [50]))
    assert offsets_of(told(feed)[0]) == expected


def test_a_groups_alert_names_the_events_of_its_series() -> None:
    feed = Feed(rule("lower > 0.2", 'group_by = ["journey"]', by='["journey", "channel"]'))
    changes: dict[int, list[Change]] = {T0: [(PANE, WEB, Counter.ABANDONED, 1), (PANE, APP, Counter.ABANDONED, 2)]}
    feed.send(T0 + 2, changes, seen=[*abandoned(T0, [5], WEB), *abandoned(T0, [3, 4], APP)])
    assert offsets_of(told(feed)[-1]) == [3, 4, 5]
    assert told(feed)[-1].evidence_count == 3


def test_the_next_owner_knows_the_evidence() -> None:
    text = rule("lower > 0.2", "min_n = 4")
    feed, crashing = Feed(text), Feed(text)
    for one in (feed, crashing):
        one.send(T0 + 1, {T0: [(PANE, WEB, Counter.ABANDONED, 2)]}, seen=abandoned(T0, [1, 2]))
        one.send(T0 + 1, {T0 + 1: [(PANE, WEB, Counter.ABANDONED, 1)]}, seen=abandoned(T0 + 1, [3]))
    crashing.drain()
    crashing.crash()
    for one in (feed, crashing):
        one.send(T0 + 4, {T0 + 1: [(PANE, WEB, Counter.ABANDONED, 1)]}, seen=abandoned(T0 + 1, [4]))
    assert told(crashing) == told(feed)
    assert offsets_of(told(feed)[0]) == [1, 2, 3, 4]


def test_a_record_of_the_version_before_has_no_exemplars_and_is_read() -> None:
    feed = Feed(rule())
    batch = deltas.DeltaBatch(
        deltas.VERSION, 0, 1, T0 + 2, 0, 0, ["journey", "channel"], [WEB], [(T0, [PANE, 0, int(Counter.ABANDONED), 3])]
    )
    feed.raw(msgspec.msgpack.encode(msgspec.to_builtins(batch)[:9]))
    (record,) = told(feed)
    assert (record.evidence, record.evidence_count) == ([], 3)


@pytest.mark.parametrize("field", [("cell", 1), ("sign", 2), ("tick", -1), ("pane_ms", -1), ("time_ms", 1 << 62)])
def test_an_exemplar_that_contradicts_itself_makes_the_record_a_dead_letter(field: tuple[str, int]) -> None:
    feed = Feed(rule())
    exemplar = msgspec.structs.replace(deltas.Exemplar(T0, 0, 13, 1, PANE * 10_000, 0, 0, "t", "e"), **dict([field]))
    feed.raw(deltas.encode(deltas.DeltaBatch(deltas.VERSION, 0, 1, T0 + 2, 0, 0, ["journey", "channel"], [WEB], [], [exemplar])))
    feed.drain()
    assert [headers["reason"] for _, headers in feed.dead] == [b"malformed"]


# --- The timeline -----------------------------------------------------------------------------------------------------------------


def turns(record: alert.Alert) -> list[tuple[str, int]]:
    return [(moment.state, milliseconds(moment.time) // 1000 - T0) for moment in record.timeline]


def test_the_timeline_says_when_the_condition_began_to_hold_when_it_fired_and_when_it_ended() -> None:
    feed = Feed(rule("lower > 0.2", 'for = "20s"'))
    feed.send(T0 + 1, {T0: [(PANE, WEB, Counter.ABANDONED, 3)]})
    feed.send(T0 + 30)
    feed.send(T0 + 31, {T0 + 30: [(PANE + 3, WEB, Counter.COMPLETED, 1_000)]})
    feed.send(T0 + 100)
    firing, resolved = told(feed)
    assert turns(firing) == [("pending", 0), ("firing", 20)]
    assert turns(resolved) == [("pending", 0), ("firing", 20), ("resolved", 50)]


def test_without_a_time_to_hold_nothing_was_pending() -> None:
    feed = Feed(rule())
    feed.send(T0 + 2, {T0: [(PANE, WEB, Counter.ABANDONED, 3)]})
    (record,) = told(feed)
    assert turns(record) == [("firing", 0)]


def test_a_groups_timeline_begins_with_its_first_series() -> None:
    feed = Feed(rule("lower > 0.2", 'group_by = ["journey"]', by='["journey", "channel"]'))
    feed.send(T0 + 1, {T0: [(PANE, WEB, Counter.ABANDONED, 3)]})
    feed.send(T0 + 8, {T0 + 5: [(PANE, APP, Counter.ABANDONED, 3)]})
    assert [turns(record) for record in told(feed)] == [[("firing", 0)], [("firing", 0), ("amended", 5)]]
