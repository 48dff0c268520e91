"""Aggregate alerts carry the events that count against the series: the latest of the window, with their place in the log."""

from __future__ import annotations

import json

import msgspec
import pytest

from streamer import definitions, deltas
from streamer.alerts import alert
from streamer.alerts.times import milliseconds
from streamer.definitions import default_text
from streamer.journeys import exemplars
from streamer.metrics.catalogue import METRIC_BY_ID
from streamer.metrics.counters import Counter
from streamer.replay.pipeline import Arrival, run_history
from streamer.rules.exemplars import Evidenced, evidence_of
from tests.journeys_support import BASE_MS, MINUTE, wire
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


def test_what_is_taken_back_is_no_evidence_any_more() -> None:
    feed = Feed(rule("lower > 0.2", "min_n = 3"))
    feed.send(T0 + 1, {T0: [(PANE, WEB, Counter.ABANDONED, 2)]}, seen=abandoned(T0, [1, 2]))
    back = [(T0 + 1, WEB, Counter.ABANDONED, -1, PANE, 1)]
    feed.send(T0 + 2, {T0 + 1: [(PANE, WEB, Counter.ABANDONED, -1)]}, seen=back)
    feed.send(T0 + 4, {T0 + 2: [(PANE, WEB, Counter.ABANDONED, 2)]}, seen=abandoned(T0 + 2, [3, 4]))
    (record,) = told(feed)
    assert offsets_of(record) == [2, 3, 4]
    assert record.evidence_count == 3


def test_a_rule_on_a_low_rate_names_what_is_in_the_sample_but_not_in_the_numerator() -> None:
    feed = Feed(rule("upper < 0.9", "min_n = 3", metric="close_rate"))
    metric = METRIC_BY_ID["close_rate"]
    assert evidence_of(metric, "upper < 0.9").but_not == (int(Counter.COMPLETED),)
    changes: list[Change] = [(PANE, WEB, Counter.COMPLETED, 1), (PANE, WEB, Counter.FAILED, 5)]
    seen = [(T0, WEB, Counter.COMPLETED, 1, PANE, 1), *[(T0, WEB, Counter.FAILED, 1, PANE, offset) for offset in (2, 3)]]
    feed.send(T0 + 2, {T0: changes}, seen=seen)
    (record,) = told(feed)
    assert offsets_of(record) == [2, 3]
    assert record.evidence_count == 5


def test_which_counters_are_evidence_follows_from_the_side_the_condition_looks_at() -> None:
    nps, share, wait = METRIC_BY_ID["nps_experience"], METRIC_BY_ID["abandon_rate"], METRIC_BY_ID["effort_mean"]
    assert evidence_of(nps, "upper < 0") == Evidenced(tuple(map(int, nps.minus)))
    assert evidence_of(nps, "lower > 50") == Evidenced(tuple(map(int, nps.numerator)))
    assert evidence_of(share, "lower > 0.5") == Evidenced((int(Counter.ABANDONED),))
    assert evidence_of(METRIC_BY_ID["journeys_open"], "value > 9") == Evidenced(())
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
    assert offsets_of(told(apart)[0]) == [1, 2, 3]  # 9 is a correction: an event of its own


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


# --- From touchpoints -------------------------------------------------------------------------------------------------------------

CHECKOUT = """
[[journey]]
id = "checkout"
start = ["checkout.started"]
activity = ["checkout.step"]
complete = ["order.completed"]
fail = []
identified_by = ["checkout_id"]
deadline = "30m"
recoverable_for = "24h"
"""
Happening = tuple[int, str, str]  # minute, customer, type


def fired(text: str, happenings: list[Happening], partitions: int = 1) -> alert.Alert:
    """The first aggregate alert of what arrives in this order; id of an event: its type and minute."""
    latest, arrivals = 0, []
    for minute, customer, type_ in happenings:
        latest = max(latest, minute)
        event = {"id": f"{type_}-{minute}", "type": type_, "customer": customer, "channel": "web", "checkout_id": f"k-{customer}"}
        event["time"] = BASE_MS + minute * MINUTE  # type: ignore[assignment]
        arrivals.append(Arrival(BASE_MS + latest * MINUTE, customer.encode(), wire({"source": "shop", **event})))
    found = run_history(arrivals, definitions.parse(text), partitions=partitions, end_ms=BASE_MS + (latest + 60) * MINUTE)
    return next(one for one in found.alerts if one.rule.id == "r" and one.state == "firing")


def test_the_evidence_of_an_abandonment_is_the_last_thing_the_customer_did() -> None:
    steps = [(n, f"c{n}", "checkout.started") for n in range(3)] + [(n, f"c{n}", "checkout.step") for n in range(3, 6)]
    record = fired(rule("lower > 0.2", "min_n = 4", windows='["1h"]') + CHECKOUT, [(0, "c3", "checkout.started"), *steps])
    assert [(event.event_id, event.type) for event in record.evidence] == [
        ("checkout.started-0", "checkout.started"),
        ("checkout.started-1", "checkout.started"),
        ("checkout.started-2", "checkout.started"),
        ("checkout.step-3", "checkout.step"),
    ]
    assert record.evidence_count == 4


def test_who_came_back_is_no_evidence() -> None:
    away = [(0, "a", "checkout.started"), (1, "b", "checkout.started"), (50, "a", "order.completed")]
    later = [(100, "c", "checkout.started"), (101, "d", "checkout.started")]
    record = fired(rule("lower > 0.2", "min_n = 4", windows='["24h"]') + CHECKOUT, away + later)
    assert [event.event_id for event in record.evidence] == ["checkout.started-1", "checkout.started-100", "checkout.started-101"]


def test_an_event_out_of_order_that_moves_an_abandonment_moves_its_evidence() -> None:
    text = rule("lower > 0.2", "min_n = 2", windows='["1h"]') + CHECKOUT
    steps = [(0, "a", "checkout.started"), (31, "b", "checkout.started"), (29, "a", "checkout.step")]
    record = fired(text, steps)
    assert sorted(event.event_id for event in record.evidence) == ["checkout.started-31", "checkout.step-29"]


def test_in_how_many_partitions_the_events_lie_does_not_change_which_are_evidence() -> None:
    steps = [(n, f"c{n % 7}", "checkout.started") for n in range(12)]
    one, four = (fired(rule("lower > 0.2", windows='["1h"]') + CHECKOUT, steps, partitions) for partitions in (1, 4))
    assert {event.event_id for event in one.evidence} == {event.event_id for event in four.evidence} != set()


def test_events_of_a_rule_that_is_off_are_not_carried() -> None:
    on, off = (exemplars.evidenced_by(definitions.parse(rule("lower > 0.2", f'mode = "{mode}"'))) for mode in ("draft", "off"))
    assert (on[Counter.ABANDONED], off[Counter.ABANDONED], any(off)) == (1, 0, False)


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


# --- Deadlines of chapters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "when", "event", "minutes"),
    [
        ("response_in_time_rate", "upper < 0.9", {"type": "contact.started", "channel": "phone", "reason": "bill"}, 15),
        ("handoff_failure_rate", "lower > 0.3", {"type": "handoff.initiated", "channel": "phone", "case_id": "k", "to_team": "b"}, 15),
        ("on_time_promised_rate", "upper < 0.9", {"type": "shipment.created", "channel": "logistics", "order_id": "o"}, 30),
        ("step_stalls", "value >= 3", {"type": "checkout.started", "channel": "web", "checkout_id": "k", "step": "address"}, 10),
    ],
)
def test_what_a_chapters_deadline_counts_has_the_event_it_waited_after(metric: str, when: str, event: dict[str, str], minutes: int) -> None:
    file = default_text()[: default_text().index("[[rule]]")]
    text = f'{file}\n[[rule]]\nid = "r"\nmetric = "{metric}"\nby = []\nwindows = ["24h"]\nmin_n = 3\nwhen = "{when}"\n'
    arrivals = []
    for n in range(3):
        body = {"source": "shop", "id": f"e{n}", "customer": f"c{n}", "time": BASE_MS + n * MINUTE, **event}
        value = json.loads(wire(body))
        if metric == "on_time_promised_rate":
            value["fulfilment"] = {"shipment_id": f"s{n}", "promised_at": "2026-11-21T10:45:00Z"}
        arrivals.append(Arrival(BASE_MS + n * MINUTE, f"c{n}".encode(), json.dumps(value).encode()))
    found = run_history(arrivals, definitions.parse(text), partitions=1, end_ms=BASE_MS + 26 * 60 * MINUTE)
    record = next(one for one in found.alerts if one.rule.id == "r")
    assert [one.event_id for one in record.evidence] == ["e0", "e1", "e2"]
    assert milliseconds(record.event_time) >= BASE_MS + minutes * MINUTE
