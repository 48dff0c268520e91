"""Histories of a chapter's events, folded in every way that must make no difference, and recounted in SQL.

A chapter's tests give a maker of events; everything here is the same for all of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any, Final, NamedTuple

from streamer.definitions import parse
from streamer.journeys.write_behind import Behind
from streamer.processor import LogRecord
from streamer.verify.raw_log import Record
from tests.journeys_support import BASE_MS, HOUR, MINUTE, WRITE_AT_ONCE, Run
from tests.verify_support import counted, differing

# (random, customer, milliseconds since the epoch) -> the flat event without id, time, customer and source.
Maker = Callable[[Random, str, int], dict[str, Any]]

LATENESS: Final = 10 * MINUTE


class Histories(NamedTuple):
    """Random histories of a chapter that are folded in every way that must make no difference: see test_every_chapter.py."""

    definitions: str
    make: Maker
    span_ms: int = 4 * HOUR
    seeds: Sequence[int] = range(3)


# Recounts are of more seeds than `Histories`, because side by side they cost little.
RECOUNTED: Final = range(8)
SLICES: Final = """
revision = 1
allowed_lateness = "10m"
windows = ["5m", "1h", "7d"]
[[slice]]
by = []
[[slice]]
by = ["journey", "channel"]
[[slice]]
by = ["segment"]
"""


def event_at(time_ms: int, customer: str, number: int, fields: dict[str, Any]) -> bytes:
    """A flat event's value."""
    time = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"id": f"e{number}", "source": "/test", "channel": "web", "customer_id": customer, "time": time, **fields}).encode()


def history(seed: int, make: Maker, *, events: int = 60, customers: int = 3, span_ms: int = 4 * HOUR) -> list[LogRecord]:
    """Events in the order of their times, each arriving when it happens; several at one moment now and then."""
    random = Random(seed)
    times = sorted(BASE_MS + random.randrange(span_ms) // 1000 * 1000 for _ in range(events))
    log = []
    for offset, time in enumerate(times):
        customer = f"c-{random.randrange(customers)}"
        fields = {
            "segment": random.choice(["", "vip"]),
            "channel": random.choice(["web", "email", "phone"]),
            **make(random, customer, time),
        }
        log.append(LogRecord(offset, time, customer.encode(), event_at(time, customer, offset, fields)))
    return log


def told(*events: tuple[float, str, dict[str, Any]]) -> list[LogRecord]:
    """A hand-written history of one customer: (minutes after the beginning, type, fields)."""
    log = []
    for offset, (minutes, kind, fields) in enumerate(events):
        time = BASE_MS + round(minutes * MINUTE)
        log.append(LogRecord(offset, time, b"c-1", event_at(time, "c-1", offset, {"type": kind, **fields})))
    return log


def shuffled(seed: int, log: Sequence[LogRecord], within_ms: int = LATENESS - MINUTE) -> list[LogRecord]:
    """The log in another order of arrival, no event later than `within_ms`; duplicates of some. Those of one moment keep their order."""
    random = Random(seed)
    delays = sorted((one.timestamp, random.randrange(within_ms)) for one in log)
    arrivals = [(time + delay, one) for (time, delay), one in zip(delays, log, strict=True)]
    arrivals += [(arrival + random.randrange(MINUTE), one) for arrival, one in arrivals if random.random() < 0.1]
    arrivals.sort(key=lambda pair: pair[0])
    return [LogRecord(offset, arrival, one.key, one.value) for offset, (arrival, one) in enumerate(arrivals)]


def end_of(log: Sequence[LogRecord], after_ms: int) -> int:
    return max(one.timestamp for one in log) + after_ms


def single_pass(definitions: str, log: Sequence[LogRecord], after_ms: int) -> Run:
    """The log in one go, then the clock."""
    run = Run(definitions)
    run.process(log)
    run.drain()
    run.advance(end_of(log, after_ms))
    run.drain()
    return run


def with_crashes(seed: int, definitions: str, log: Sequence[LogRecord], after_ms: int) -> Run:
    """The log in batches of any size, with checkpoints, crashes and rows written behind in between."""
    random = Random(seed)
    run = Run(definitions, random.choice([WRITE_AT_ONCE, Behind(2, 1, 1), Behind(1000, 3, 0), Behind(8, 1000, 1)]))
    at = 0
    while at < len(log):
        size = random.randrange(1, 9)
        run.process(log[at : at + size])
        at += size
        match random.randrange(4):
            case 0:
                run.drain()
            case 1:
                run.crash()
                at = run.next_offset
    run.drain()
    run.advance(end_of(log, after_ms))
    run.drain()
    return run


def assert_crashes_change_nothing(
    definitions: str, make: Maker, seed: int, after_ms: int = 40 * 24 * HOUR, *, span_ms: int = 4 * HOUR
) -> None:
    """Invariants I1 and I3: batches, checkpoints, crashes and restores give the same sums per tick and the same alerts."""
    log = shuffled(seed, history(seed, make, span_ms=span_ms))
    once, again = single_pass(definitions, log, after_ms), with_crashes(seed, definitions, log, after_ms)
    assert again.tick_sums == once.tick_sums
    assert again.alert_bytes == once.alert_bytes
    assert again.written_rows.keys() == once.written_rows.keys()


def assert_order_changes_nothing(
    definitions: str, make: Maker, seed: int, after_ms: int = 40 * 24 * HOUR, *, span_ms: int = 4 * HOUR
) -> None:
    """Any order of arrival within the lateness gives the sums per pane and the alerts in force of the sorted single pass."""
    log = history(seed, make, span_ms=span_ms)
    inorder, other = single_pass(definitions, log, after_ms), single_pass(definitions, shuffled(seed, log), after_ms)
    assert other.sums == inorder.sums
    assert {alert.fingerprint for alert in other.in_force} == {alert.fingerprint for alert in inorder.in_force}


def assert_rules_are_recounted_equal(definitions: str, make: Maker, seeds: Sequence[int], *, span_ms: int = 4 * HOUR) -> None:
    """The SQL recount agrees about every alert with its numbers, of histories in order; rules on journeys must fire."""
    fired = 0
    for seed in seeds:
        log = [Record(0, one.offset, one.timestamp, one.key, one.value) for one in history(seed, make, span_ms=span_ms)]
        end_ms = log[-1].arrival + 2 * HOUR
        mine = counted(log, parse(definitions), end_ms)
        assert differing(mine, log, parse(definitions), end_ms, rules=True) == {}
        fired += sum(told.holding.journey != "" for told in mine.told)
    assert fired, "a rule that never fires shows nothing"


def assert_recount_is_equal(
    definitions: str, make: Maker, seeds: Sequence[int], expected: set[str], after_ms: int = 2 * HOUR, *, span_ms: int = 4 * HOUR
) -> None:
    """The SQL recount agrees, of histories that make every one of the `expected` counters count."""
    log = side_by_side([shuffled(seed, history(seed, make, span_ms=span_ms)) for seed in seeds])
    end_ms = max(one.arrival for one in log) + after_ms
    mine = counted(log, parse(definitions), end_ms)
    assert differing(mine, log, parse(definitions), end_ms) == {}
    seen = {counter for counter, _, _ in mine.sums}
    assert expected <= seen, f"nothing counts {sorted(expected - seen)}"


def side_by_side(histories: Sequence[Sequence[LogRecord]]) -> list[Record]:
    """Histories as one log, each with customers of its own: one recount costs as much as one of a few events."""
    arrived = []
    for number, log in enumerate(histories):
        for one in log:
            assert one.key is not None
            assert one.value is not None
            value = one.value.replace(b'"customer_id": "', b'"customer_id": "%d-' % number)
            arrived.append((one.timestamp, b"%d-%b" % (number, one.key), value))
    arrived.sort(key=lambda one: one[0])
    return [Record(0, offset, arrival, key, value) for offset, (arrival, key, value) in enumerate(arrived)]


def in_seconds(definitions: str) -> str:
    """The definitions after SLICES with every minute as a second: then events meet deadlines, and each other, at the very moment."""
    return SLICES + re.sub(r'(\d)m"', r'\1s"', definitions.removeprefix(SLICES))
