"""A history gives the same whatever the partitions and chunks, closes what is open, and accounts for every record."""

from __future__ import annotations

import json
from collections import Counter as Tally
from functools import cache
from typing import Any

import msgspec
import pytest

from streamer import definitions
from streamer.alerts.alert import Alert
from streamer.alerts.times import rfc3339
from streamer.errors import InputError
from streamer.metrics.counters import Counter
from streamer.replay.mapping_time import LAST_MS
from streamer.replay.pipeline import Arrival, Result, end_of, run_history
from streamer.simulate.customers import Simulation
from streamer.simulate.scenario import Scenario
from streamer.touchpoints.decode import decode
from streamer.touchpoints.touchpoint import Touchpoint

T0 = 1_767_225_600_000
MINUTE = 60_000
DAY = 1_440 * MINUTE
DEFAULT = definitions.default()


@cache
def life() -> list[Arrival]:
    """Two simulated hours and a half, sorted by event time."""
    simulation = Simulation(Scenario(5, 400, T0, T0 + 150 * MINUTE, ((T0, 1.5),)))
    events = []
    for record in simulation.sent():
        touchpoint = decode(0, 1 << 60, record.key, record.value, ())
        assert isinstance(touchpoint, Touchpoint)
        events.append(Arrival(touchpoint.time, record.key, record.value))
    return sorted(events, key=lambda event: event.arrival_ms)


@cache
def result(partitions: int, chunk: int) -> Result:
    return run_history(life(), DEFAULT, partitions=partitions, chunk=chunk, begin_ms=T0, end_ms=end_of(life()[-1].arrival_ms, DEFAULT))


def alerts_of(found: Result) -> list[tuple[str, ...]]:
    """Entity alerts without what names the place in the log: ids of episodes include where the customer's first event lies."""
    return sorted((a.fingerprint, a.state, a.event_time, a.detected_at, a.why) for a in found.alerts if a.entity is not None)


def aggregate_alerts_of(found: Result) -> list[Alert]:
    """Without the events, which have places in the log; of each partition the first few of a second are carried."""
    return [msgspec.structs.replace(a, evidence=[]) for a in found.alerts if a.slice is not None]


@pytest.mark.parametrize(("partitions", "chunk"), [(1, 10_000_000), (7, 313), (4, 1)])
def test_nothing_depends_on_partitions_or_chunks(partitions: int, chunk: int) -> None:
    if chunk == 1:
        few = life()[:1500]
        found = run_history(few, DEFAULT, partitions=partitions, chunk=chunk, begin_ms=T0, end_ms=T0 + 10 * 86_400_000)
        expected = run_history(few, DEFAULT, partitions=1, begin_ms=T0, end_ms=T0 + 10 * 86_400_000)
    else:
        found, expected = result(partitions, chunk), result(4, 20_000)
    assert found.sums == expected.sums
    assert found.gauges == expected.gauges
    assert alerts_of(found) == alerts_of(expected)
    assert aggregate_alerts_of(found) == aggregate_alerts_of(expected)
    controls = 2 * partitions
    assert found.accounting["applied"] == expected.accounting["applied"]
    assert found.accounting["ignored"] == controls


def test_the_life_it_is_tested_with_has_something_of_everything() -> None:
    found = result(4, 20_000)
    totals = found.totals
    assert min(totals[c] for c in (Counter.ABANDONED, Counter.COMPLETED, Counter.REPEAT_CONTACTS, Counter.HANDOFFS, Counter.TRANSFERS)) > 5
    assert {a.state for a in found.alerts} >= {"firing", "resolved"}


def test_an_end_closes_what_is_open_and_no_end_leaves_it() -> None:
    assert result(4, 20_000).totals[Counter.OPEN] == 0
    assert run_history(life(), DEFAULT, partitions=4, begin_ms=T0).totals[Counter.OPEN] > 0


def test_every_record_is_accounted_for() -> None:
    for found in (result(4, 20_000), result(7, 313)):
        count = found.accounting
        assert count["consumed"] == len(life()) + count["ignored"]
        assert count["consumed"] == sum(count[kind] for kind in ("applied", "duplicate", "late", "dead_lettered", "ignored"))
        assert found.totals[Counter.TOUCHPOINTS] == count["applied"]


def event(minute: float, kind: str, customer: str = "c", **fields: Any) -> Arrival:
    time_ms = T0 + round(minute * MINUTE)
    value = {"type": kind, "time": f"2026-01-01T00:{int(minute):02}:00Z", "id": f"{minute}{kind}", "source": "s", "channel": "web"}
    return Arrival(time_ms, customer.encode(), json.dumps({**value, "customer_id": customer, **fields}).encode())


def far(day: int, kind: str, **fields: Any) -> Arrival:
    time = rfc3339(T0 + day * DAY)
    value = {"type": kind, "time": time, "id": f"{day}{kind}", "source": "s", "channel": "web", "customer_id": "c", **fields}
    return Arrival(T0 + day * DAY, b"c", json.dumps(value).encode())


@pytest.mark.parametrize(
    ("arrivals", "counter"),
    [
        ([far(0, "contract.due", contract={"contract_id": "k", "due_at": rfc3339(T0 + 399 * DAY)})], Counter.CONTRACTS_DUE),
        ([far(0, "case.opened", issue={"case_id": "k", "due_at": rfc3339(T0 + 89 * DAY)})], Counter.DUE_DATES),
        ([far(day, "order.completed", commerce={"order_id": str(day)}) for day in (0, 300, 600, 900)], Counter.CUSTOMERS_SLIPPED),
        ([far(0, "order.completed", commerce={"order_id": "o"})], Counter.CUSTOMERS_PERIODS),
    ],
)
def test_an_end_lets_also_what_is_far_fall_due(arrivals: list[Arrival], counter: Counter) -> None:
    open_, closed = (
        run_history(arrivals, DEFAULT, partitions=1, begin_ms=T0, end_ms=end_ms)
        for end_ms in (None, end_of(arrivals[-1].arrival_ms, DEFAULT))
    )
    assert closed.totals[counter] == open_.totals[counter] + 1


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("", 90),  # cases.retention, and twice the longest window: 24 h
        ('windows = ["200d"]', 88 + 400),
        ('[communication]\nforget_after = "300d"', 300),
        ('[surveys]\nlatest_within = "400d"', 400),
        ('[commerce]\ncustomer_for = "100d"\nrepeat_within = "100d"\nretention_period = "95d"', 190),
        ("[contracts]", 430),
        ('[handoffs]\npartner_accept_within = "100d"\nforget_after = "95d"', 195),
        ('[[pattern]]\nid = "p"\nevents = ["order.completed"]\nwithin = "100d"\nwithout = ["page.viewed"]\ncounts_for = "50d"', 150),
        ('[[rule]]\nid = "r"\non = "customer"\nwhen = "contacts > 1"\ncooldown = "99d"', 99),
    ],
)
def test_a_finished_history_is_waited_for_until_the_longest_span_of_the_file(text: str, days: int) -> None:
    assert definitions.parse(f"revision = 1\n{text}\n").longest_deadline_ms == (days + 2) * DAY


def test_a_checkout_without_an_order_is_abandoned_in_a_partition_that_nobody_else_writes_to() -> None:
    arrivals = [event(0, "checkout.started", commerce={"checkout_id": "x"}), *(event(m, "page.viewed", f"d{m}") for m in range(1, 59))]
    found = run_history(arrivals, DEFAULT, partitions=64, begin_ms=T0, chunk=10)
    assert found.totals[Counter.ABANDONED] == 1


def test_arrivals_of_today_do_not_move_the_clock_of_an_old_history() -> None:
    arrivals = [
        Arrival(T0 + 10**12, a.key, a.value) for a in (event(0, "checkout.started", commerce={"checkout_id": "x"}), event(5, "page.viewed"))
    ]
    found = run_history(arrivals, DEFAULT, partitions=4)
    assert (found.totals[Counter.OPEN], found.totals[Counter.ABANDONED]) == (1, 0)


def test_records_that_cannot_be_applied_are_put_aside_with_their_reason() -> None:
    arrivals = [event(0, "page.viewed"), Arrival(T0, None, b"{"), Arrival(T0, b"x", event(1, "page.viewed").value)]
    found = run_history(arrivals, DEFAULT)
    assert Tally(dict(output.headers)["reason"] for output in found.put_aside) == {b"invalid_json": 1, b"misrouted": 1}
    assert found.accounting["dead_lettered"] == 2


def test_deadlines_after_all_times_are_one_sentence() -> None:
    wanted = definitions.default()
    last_ms = LAST_MS - wanted.longest_deadline_ms - 1_000
    assert end_of(last_ms, wanted) == LAST_MS
    with pytest.raises(InputError, match=r"last event is of 899\d-.*: correct its time, or use --open"):
        end_of(last_ms + 1, wanted)
