"""Time in a partition: high, watermark, clock, what is late or ahead, the journal, and the accounting of every record (I5)."""

from __future__ import annotations

from typing import Any

import pytest

from streamer.definitions import default_text
from streamer.processor import LogRecord
from streamer.touchpoints.control import encode_control
from tests.journeys_support import BASE_MS, MINUTE, SECOND, Journalled, Run, Story, raised, record

LATENESS = 15 * 60
MS = 0.001


def story() -> Story:
    return Story(default_text())


def event(offset: int, time: int, arrival: int, kind: str = "page.viewed", customer: str = "c-1", **fields: Any) -> LogRecord:
    basics = {"id": f"e{offset}", "source": "/test", "channel": "web"}
    return record({**basics, "type": kind, "time": time, "arrival": arrival, "offset": offset, "customer": customer, **fields})


def accounting(run: Run) -> dict[str, int]:
    names = ("consumed", "applied", "duplicate", "late", "dead_lettered", "ignored")
    return {name: n for name, n in run.processor.accounting.items() if name in names and n}


# --- high, watermark, clock -----------------------------------------------------------------------------------------------------


def test_high_is_the_lesser_of_event_time_and_arrival_so_a_clock_ahead_moves_nothing() -> None:
    run = Run(default_text())
    run.process([event(0, BASE_MS + 4 * MINUTE, BASE_MS)])
    assert run.processor.clock_ms == BASE_MS
    assert run.processor.reference == (BASE_MS, BASE_MS)
    run.process([event(1, BASE_MS - MINUTE, BASE_MS + MINUTE)])
    assert run.processor.clock_ms == BASE_MS
    run.process([event(2, BASE_MS + SECOND, BASE_MS + MINUTE)])
    assert run.processor.reference == (BASE_MS + SECOND, BASE_MS + MINUTE)


def test_an_event_ahead_of_the_clock_fires_the_customers_own_deadlines_before_it_only() -> None:
    run = Run(default_text())
    run.process([event(0, BASE_MS, BASE_MS, "checkout.started", checkout_id="k1")])
    run.process([event(1, BASE_MS, BASE_MS, "checkout.started", customer="c-2", checkout_id="k2")])
    arrival = BASE_MS + 29 * MINUTE
    run.process([event(2, BASE_MS + 30 * MINUTE, arrival, "order.completed", checkout_id="k1")])
    run.drain()
    assert run.processor.clock_ms == arrival
    assert (run.total("RECOVERED"), run.total("ABANDONED"), run.total("OPEN")) == (1, 0, 1)


def test_the_clock_never_falls() -> None:
    one = story()
    one.event("page.viewed", 100)
    assert one.run.processor.clock_ms == BASE_MS + 100_000
    one.clock(50)
    assert one.run.processor.clock_ms == BASE_MS + 100_000
    one.clock(200)
    one.event("page.viewed", 150)
    assert one.run.processor.clock_ms == BASE_MS + 200_000


@pytest.mark.parametrize(("behind", "late"), [(LATENESS, 0), (LATENESS + MS, 1)])
def test_an_event_is_late_before_the_watermark_not_at_it(behind: float, late: int) -> None:
    one = story()
    one.event("page.viewed", 0)
    one.event("page.viewed", 5000)
    one.event("checkout.started", 5000 - behind, delay=behind, checkout_id="k1")
    assert accounting(one.run) == {"consumed": 3, "applied": 3 - late} | ({"late": 1} if late else {})
    assert one.run.total("STARTED") == 1 - late
    assert len(one.run.put_aside) == late


def test_the_idle_clock_makes_nothing_late() -> None:
    one = story()
    one.event("page.viewed", 0)
    one.clock(5000)
    one.event("checkout.started", 10, delay=4990, checkout_id="k1")
    assert one.run.total("STARTED") == 1


def test_a_late_record_is_put_aside_as_it_was_with_where_it_came_from() -> None:
    run = Run(default_text())
    run.process([event(0, BASE_MS, BASE_MS), late := event(7, BASE_MS - 16 * MINUTE, BASE_MS)])
    run.drain()
    (output,) = run.put_aside
    assert (output.topic, output.key, output.value) == ("late", late.key, late.value)
    assert dict(output.headers) == {
        "reason": b"late", "origin-topic": b"cx.touchpoints.v1", "origin-partition": b"0", "origin-offset": b"7",
        "origin-timestamp": str(BASE_MS).encode(),
    }  # fmt: skip


@pytest.mark.parametrize(("ahead", "dead"), [(5 * MINUTE, 0), (5 * MINUTE + 1, 1)])
def test_more_than_five_minutes_ahead_of_the_arrival_is_a_dead_letter(ahead: int, dead: int) -> None:
    run = Run(default_text())
    run.process([event(0, BASE_MS + ahead, BASE_MS)])
    run.drain()
    assert accounting(run) == {"consumed": 1, ("dead_lettered" if dead else "applied"): 1}
    assert [output.topic for output in run.put_aside] == ["dead-letters"] * dead


# --- order ----------------------------------------------------------------------------------------------------------------------


def test_deadlines_of_several_customers_fire_by_time_then_key() -> None:
    run = Run(default_text() + '\n[[rule]]\nid = "left"\non = "journey"\nwhen = "abandoned"\n')
    starts = [("c-3", 0), ("c-1", 1000), ("c-2", 0)]
    run.process([event(i, BASE_MS + at, BASE_MS + at, "checkout.started", who, checkout_id="k") for i, (who, at) in enumerate(starts)])
    run.advance(BASE_MS + 40 * MINUTE)
    run.drain()
    assert [alert.entity.canonical_id for alert in run.alerts if alert.entity] == ["c-2", "c-3", "c-1"]


def test_equal_times_are_in_the_order_of_offsets() -> None:
    one = story()
    one.event("order.completed", 0, checkout_id="k1")
    one.event("checkout.started", 0, checkout_id="k1")
    assert (one.run.total("OPEN"), one.run.total("COMPLETED")) == (1, 0)


def test_a_batch_with_gaps_goes_on_at_its_end() -> None:
    run = Run(default_text())
    run.processor.process([event(3, BASE_MS, BASE_MS)], 9)
    assert run.processor.next_offset == 9
    run.drain()
    assert run.next_offset == 9


# --- duplicates and accounting ----------------------------------------------------------------------------------------------------


def test_a_duplicate_has_the_same_source_and_id_of_the_same_customer() -> None:
    one = story()
    one.event("checkout.started", 0, checkout_id="k1", id="x")
    one.event("checkout.started", 5, checkout_id="k2", id="x")
    one.event("checkout.started", 5, checkout_id="k3", id="x", source="/other")
    one.customer = "c-2"
    one.event("checkout.started", 5, checkout_id="k4", id="x")
    assert one.run.total("STARTED") == 3
    assert accounting(one.run) == {"consumed": 4, "applied": 3, "duplicate": 1}


def test_a_duplicate_is_known_after_a_restart() -> None:
    one = story()
    one.event("checkout.started", 0, checkout_id="k1", id="x")
    one.restart()
    one.event("checkout.started", 0, checkout_id="k1", id="x")
    assert accounting(one.run) == {"consumed": 2, "applied": 1, "duplicate": 1}


def test_every_record_is_accounted_for() -> None:
    run = Run(default_text())
    value, headers = encode_control("begin", BASE_MS - 60 * MINUTE)
    good = event(1, BASE_MS, BASE_MS)
    run.process(
        [
            LogRecord(0, BASE_MS, None, value, headers),
            good,
            good._replace(offset=2),
            event(3, BASE_MS - 16 * MINUTE, BASE_MS),
            LogRecord(4, BASE_MS, b"c-1", b"{", ()),
            LogRecord(5, BASE_MS, b"c-1", None, ()),
            good._replace(offset=6, key=b"c-9"),
            good._replace(offset=7, key=None),
        ]
    )
    run.drain()
    assert accounting(run) == {"consumed": 8, "applied": 1, "duplicate": 1, "late": 1, "dead_lettered": 4, "ignored": 1}
    reasons = [dict(output.headers)["reason"] for output in run.put_aside if output.topic == "dead-letters"]
    assert reasons == [b"invalid_json", b"invalid_json", b"misrouted", b"unkeyed"]
    run.crash()
    run.check_accounting()
    assert accounting(run)["consumed"] == 8


# --- control records and the journal ----------------------------------------------------------------------------------------------


def test_a_control_record_moves_the_clock_and_fires_what_is_due() -> None:
    one = story()
    one.event("checkout.started", 0, checkout_id="k1")
    value, headers = encode_control("end", BASE_MS + 30 * MINUTE)
    one.send([LogRecord(1, BASE_MS + 90 * MINUTE, None, value, headers)])
    assert one.run.processor.clock_ms == BASE_MS + 30 * MINUTE
    assert one.run.total("ABANDONED") == 1


def test_only_what_moved_the_clock_is_journalled_with_the_offset_after_which_it_happened() -> None:
    run = Run(default_text())
    run.advance(BASE_MS)
    run.drain()
    run.process([event(0, BASE_MS + SECOND, BASE_MS + SECOND), event(1, BASE_MS, BASE_MS + SECOND)])
    run.advance(BASE_MS + SECOND)
    run.drain()
    run.advance(BASE_MS + 5 * SECOND)
    run.drain()
    assert run.journal == [Journalled(-1, BASE_MS), Journalled(1, BASE_MS + 5 * SECOND)]


def test_a_partition_never_written_keeps_the_start_of_its_time() -> None:
    run = Run(default_text())
    assert run.processor.next_offset is None
    run.advance(BASE_MS)
    run.drain()
    run.crash()
    assert run.processor.clock_ms == BASE_MS
    assert run.processor.reference == (BASE_MS, BASE_MS)


def test_a_tick_is_complete_only_when_the_clock_has_passed_it() -> None:
    run = Run(default_text())
    run.process([event(0, BASE_MS + 500, BASE_MS + 500, "checkout.started", checkout_id="k1")])
    run.drain()
    run.process([event(1, BASE_MS + 700, BASE_MS + 700, "order.completed", checkout_id="k1")])
    run.drain()
    ticks = {tick for ((name, _, _), tick) in run.tick_sums if name in ("STARTED", "COMPLETED")}
    assert ticks == {BASE_MS // 1000}


def test_a_customer_taken_over_to_new_definitions_by_a_late_event_is_written() -> None:
    one = story()
    one.event("checkout.started", 0, checkout_id="k1")
    one.event("page.viewed", 2000)
    one.run.upgrade(raised(default_text()))
    one.event("page.viewed", 10)
    assert accounting(one.run)["late"] == 1
    assert one.run.written_rows[b"cc-1"] == one.run.rows[b"c-1"]
