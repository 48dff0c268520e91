"""The benchmark's job, oracle and comparison: what they must see, or its verdicts mean nothing."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from bench import outputs
from bench.events import Made, begin_of, events, shape_of
from bench.job import ABANDONED, BURST_WITHIN_MS, DEADLINE_MS, DISORDER_MS, PANE_MS, SWITCHED, Alert, Customer
from bench.oracle import Event, Oracle, Order, Truth, decode
from streamer.touchpoints.decode import decode as decode_touchpoint
from streamer.touchpoints.touchpoint import Touchpoint

HOUR_MS = 3_600_000
T = 1_790_000_000_000


def value(number: int, time: int, kind: str = "page.viewed", channel: str = "web", customer: str = "c-1", segment: str = "buy") -> bytes:
    fields = {"id": f"e{number}", "customer_id": customer, "channel": channel, "type": kind, "segment": segment, "timestamp": time}
    return json.dumps(fields).encode()


def truth_of(values: list[bytes], order: Order = "arrival") -> Truth:
    oracle = Oracle(1, order)
    oracle.feed(0, enumerate(map(decode, values)))
    return oracle.truth()


def test_a_checkout_is_abandoned_half_an_hour_after_the_last_event_by_the_numbers_of_that_moment() -> None:
    values = [
        value(1, T, "contact.started", "phone"),
        value(2, T + 1000, "checkout.started", "web", segment="support"),
        value(3, T + 60_000, "page.viewed", "app"),
        value(4, T + 10 * HOUR_MS, customer="c-2"),
    ]
    assert truth_of(values).alerts == [Alert(ABANDONED, "c-1", T + 60_000 + DEADLINE_MS, "support", "web", 2, 1, "")]


def test_an_event_at_exactly_the_deadline_comes_after_it_and_one_before_moves_it() -> None:
    begun = value(1, T, "checkout.started")
    assert [a.time for a in truth_of([begun, value(2, T + DEADLINE_MS, "order.completed")]).alerts] == [T + DEADLINE_MS]
    assert truth_of([begun, value(2, T + DEADLINE_MS - 1, "order.completed")]).alerts == []


def test_every_third_switch_within_ten_minutes_is_told_and_the_count_starts_anew() -> None:
    channels = ["web", "app", "web", "app", "web", "app", "web"]
    alerts = truth_of([value(n, T + n * 1000, channel=channel) for n, channel in enumerate(channels)]).alerts
    assert [(a.kind, a.cause, a.switches) for a in alerts] == [(SWITCHED, "e3", 3), (SWITCHED, "e6", 6)]
    slow = [value(n, T + n * BURST_WITHIN_MS // 2, channel=channel) for n, channel in enumerate(channels)]
    assert truth_of(slow).alerts == []


def test_panes_count_a_checkout_under_the_event_that_opened_it() -> None:
    values = [value(1, T, "checkout.started", "web", segment="buy"), value(2, T + PANE_MS, "order.completed", "app", segment="support")]
    assert truth_of(values).panes == {
        (T // PANE_MS, "buy", "web"): [1, 0, 1, 0, 0],
        (T // PANE_MS + 1, "support", "app"): [1, 1, 0, 0, 0],
        (T // PANE_MS + 1, "buy", "web"): [0, 0, 0, 1, 0],
    }


def generated(base: int = 4_000) -> list[Made]:
    return list(events(shape_of(base, 1, T)))


def test_the_order_of_arrival_does_not_matter_in_event_order_and_does_in_arrival_order() -> None:
    made = generated()
    newest, shuffled = 0, []
    for one in made:  # any order in which nothing is later than the disorder
        newest = max(newest, one.time_ms)
        shuffled.append((newest + random.Random(one.time_ms).randrange(DISORDER_MS // 2), one))
    given = [one.value(one.time_ms) for one in made]
    other = [one.value(one.time_ms) for _, one in sorted(shuffled, key=lambda pair: pair[0])]
    assert given != other
    assert sorted(truth_of(given, "event").alerts) == sorted(truth_of(other, "event").alerts)
    assert truth_of(given, "event").panes == truth_of(other, "event").panes
    assert sorted(truth_of(given).alerts) != sorted(truth_of(other).alerts)


def test_both_orders_are_the_same_where_events_came_in_order() -> None:
    values = [one.value(one.time_ms) for one in sorted(generated(), key=lambda one: one.time_ms)]
    arrival, event = truth_of(values), truth_of(values, "event")
    end = arrival.end_ms - outputs.END_MARGIN_MS
    assert [a for a in sorted(arrival.alerts) if a.time <= end] == [a for a in sorted(event.alerts) if a.time <= end]
    assert len({a.kind for a in arrival.alerts}) == 2


def test_a_customer_survives_packing() -> None:
    customer = Customer()
    alerts: list[Alert] = []
    customer.step("c-1", "e1", "web", "contact.started", "buy", T, alerts)
    customer.step("c-1", "e2", "app", "checkout.started", "buy", T + 1, alerts)
    again = Customer.unpacked(json.loads(json.dumps(customer.packed())))
    assert again.packed() == customer.packed()
    assert again.abandon("c-1") == Alert(ABANDONED, "c-1", T + 1 + DEADLINE_MS, "buy", "app", 1, 1, "")


# --- events --------------------------------------------------------------------------------------------------------------


def test_the_larger_topic_begins_with_the_events_of_the_smaller() -> None:
    small, large = list(events(shape_of(500, 1, T))), list(events(shape_of(500, 3, T)))
    assert large[:500] == small
    assert len(large) == 1500


def test_events_are_touchpoints_of_about_250_bytes_whose_first_six_fields_are_the_jobs() -> None:
    values = [one.value(one.time_ms) for one in generated(1_000)]
    assert 230 <= sum(map(len, values)) / len(values) <= 270
    assert list(json.loads(values[0]))[:6] == list(Event.__struct_fields__)
    for at, one in enumerate(generated(1_000)):
        touchpoint = decode_touchpoint(at, T + 100 * HOUR_MS, one.key, values[at], [])
        event = decode(values[at])
        assert isinstance(touchpoint, Touchpoint)
        assert (touchpoint.time, touchpoint.type, touchpoint.channel, touchpoint.segment, touchpoint.id) == (
            event.timestamp, event.type, event.channel, event.segment, event.id
        )  # fmt: skip


def test_a_history_lies_in_the_past() -> None:
    now = T + 1_234_567
    begin = begin_of(3, now)
    assert max(one.time_ms for one in events(shape_of(500, 3, begin))) < now


# --- comparison ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def truth() -> Truth:
    return truth_of([one.value(one.time_ms) for one in generated()])


def test_what_the_oracle_says_is_exact(truth: Truth) -> None:
    report = outputs.compared(truth, truth.alerts, truth.panes)
    assert outputs.exact(report)
    assert report[ABANDONED]["expected"] > 10
    assert report["panes"]["expected"] > 100


@pytest.mark.parametrize("field", Alert._fields)
def test_an_alert_with_another_field_is_missing_and_extra(truth: Truth, field: str) -> None:
    first = truth.alerts[0]
    other: Any = "other"
    if field == "kind":
        other = ABANDONED if first.kind == SWITCHED else SWITCHED
    elif field == "time":
        other = first.time - 1
    wrong = first._replace(**{field: other})
    report = outputs.compared(truth, [wrong, *truth.alerts[1:]], truth.panes)
    assert not outputs.exact(report)


def test_a_lost_and_a_doubled_alert_are_told_apart(truth: Truth) -> None:
    lost = outputs.compared(truth, truth.alerts[1:], truth.panes)[truth.alerts[0].kind]
    doubled = outputs.compared(truth, [truth.alerts[0], *truth.alerts], truth.panes)[truth.alerts[0].kind]
    assert (lost["missing"], lost["extra"]) == (1, 0)
    assert (doubled["missing"], doubled["extra"]) == (0, 1)


@pytest.mark.parametrize("place", range(5))
def test_one_counter_of_one_pane_is_enough_to_differ(truth: Truth, place: int) -> None:
    key = min(truth.panes)
    counts = list(truth.panes[key])
    counts[place] += 1
    report = outputs.compared(truth, truth.alerts, {**truth.panes, key: counts})
    assert report["panes"]["differ"] == 1
    assert not outputs.exact(report)
