"""Where a log is cut into pieces changes nothing: neither what would have fired nor what is told of a customer."""

from __future__ import annotations

import random
from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from streamer import definitions
from streamer.backtest.firings import Span
from streamer.backtest.runs import Backtest
from streamer.engine.touchpoint_log import _take
from streamer.explain.customer import CustomerStory
from streamer.processor import LogRecord
from streamer.replay.partitions import partition_of
from streamer.replay.pipeline import Shape
from streamer.simulate.customers import Simulation
from streamer.simulate.scenario import Scenario

if TYPE_CHECKING:
    from streamer.alerts.alert import Alert

T0 = 1_767_225_600_000
SHAPE = Shape(3, 2, "made")
RULES = definitions.parse(
    definitions.default_text()
    + """
[[rule]]
id = "contacted"
on = "issue"
when = "contacts >= 1"

[[rule]]
id = "left"
metric = "journeys_abandoned"
by = ["journey"]
windows = ["5m"]
when = "value >= 2"
"""
)
Log = dict[int, tuple[list[LogRecord], list[tuple[int, int]]]]


@cache
def log() -> Log:
    """Simulated hours as they arrive, some of it late; between the records partitions go on by their idle clocks."""
    chance = random.Random(3)
    found: Log = {partition: ([], []) for partition in range(SHAPE.partitions)}
    arrival = T0
    for at_ms, key, value in _arrivals():
        arrival = max(arrival, at_ms)
        partition = partition_of(key, SHAPE.partitions)
        records, idle = found[partition]
        offset = records[-1].offset + chance.choice((1, 1, 2)) if records else 0  # control batches take offsets too
        if records and chance.random() < 0.02:
            idle.append((offset - 1, arrival - chance.randint(0, 500)))
        records.append(LogRecord(offset, arrival, key, value))
    for records, idle in found.values():
        idle.append((records[-1].offset, arrival + 3 * 3_600_000))
    return found


def _arrivals() -> list[tuple[int, bytes, bytes]]:
    simulation = Simulation(Scenario(5, 100, T0, T0 + 90 * 60_000, ((T0, 0.4),)))
    return [(record.sent_ms, record.key, record.value) for record in simulation.sent() if record.key is not None]


def backtest(pieces: list[Log]) -> list[Alert]:
    run = Backtest([RULES], SHAPE)
    for piece in pieces:
        run.fold_piece(piece)
    [version] = run.versions(Span())
    return sorted(version.alerts, key=lambda alert: alert.alert_id)


@cache
def whole() -> list[Alert]:
    return backtest([log()])


def cut(shares: list[list[int]]) -> list[Log]:
    """Each partition's log in parts of these lengths, and the rest; a clock behind a record comes with it or with the next one."""
    left = {p: ([*records], [*idle]) for p, (records, idle) in log().items()}
    pieces: list[Log] = []
    for lengths in [*shares, [1 << 30] * SHAPE.partitions]:
        piece: Log = {}
        for partition, length in enumerate(lengths):
            records, idle = left[partition]
            taken, records[:] = records[:length], records[length:]
            limit = records[0].offset - 1 if records else 1 << 60
            piece[partition] = (taken, [entry for entry in idle if entry[0] <= limit])
            idle[:] = [entry for entry in idle if entry[0] > limit]
        pieces.append(piece)
    return pieces


CUTS = st.lists(st.lists(st.integers(0, 700), min_size=3, max_size=3), max_size=5)


def test_the_log_has_something_of_everything() -> None:
    assert {alert.rule.id for alert in whole()} >= {"contacted", "left", "overdue-shipments"}
    assert {alert.state for alert in whole()} >= {"firing", "amended", "resolved"}


@settings(max_examples=5, deadline=None)
@given(CUTS)
def test_where_a_log_is_cut_does_not_change_what_fires(shares: list[list[int]]) -> None:
    assert backtest(cut(shares)) == whole()


@settings(max_examples=5, deadline=None)
@given(CUTS)
def test_where_a_log_is_cut_does_not_change_what_is_told_of_a_customer(shares: list[list[int]]) -> None:
    key = max(log()[1][0], key=lambda record: (sum(one.key == record.key for one in log()[1][0][:400]), record.key)).key or b""

    def story(pieces: list[Log]) -> list[Any]:
        found = CustomerStory(RULES, SHAPE, 1, key)
        for piece in pieces:
            found.take(*piece[1])
        return [found.happened, found.verdicts(), found.clock_ms]

    assert story(cut(shares)) == story([log()])


def test_of_every_customer_the_story_tells_the_alerts_of_the_backtest() -> None:
    records, idle = log()[0]
    told: dict[str, list[str]] = {}
    for alert in whole():
        if alert.entity is not None:
            told.setdefault(alert.entity.canonical_id, []).append(alert.alert_id)
    with_alerts = sorted({record.key for record in records if record.key and record.key.decode() in told})[:6]
    without = sorted({record.key for record in records if record.key and record.key.decode() not in told})[:2]
    assert (len(with_alerts), len(without)) == (6, 2)
    for key in [*with_alerts, *without]:
        story = CustomerStory(RULES, SHAPE, 0, key)
        story.take(records, idle)
        found = sorted(one.told.alert_id for one in story.happened if one.told is not None)
        assert found == sorted(told.get(key.decode(), []))


MADE = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), max_size=40)
CLOCKS = st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 30)))
READS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5)), max_size=40)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), max_size=40),
    st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 30))),
    READS,
)
def test_pieces_keep_the_order_and_every_clock_stands_before_the_next_record(
    made: list[tuple[int, int]], clocks: list[tuple[int, int]], reads: list[tuple[int, int]]
) -> None:
    """However the three partitions' records come in."""
    coming: dict[int, deque[Any]] = {p: deque() for p in range(3)}
    for at, (partition, _) in enumerate(sorted(made, key=lambda one: one[1])):
        coming[partition].append(LogRecord(at, T0 + at, None, None))
    idle = {p: deque(sorted({(after, T0 + after) for q, after in clocks if q == p})) for p in range(3)}
    expected = {p: sorted([(one.offset, 0) for one in coming[p]] + [(after, 1) for after, _ in idle[p]]) for p in range(3)}
    waiting: dict[int, deque[Any]] = {p: deque() for p in range(3)}
    found: dict[int, list[tuple[int, int]]] = {p: [] for p in range(3)}
    for partition, count in [*reads, *[(p, 1 << 30) for p in range(3)]]:
        while coming[partition] and count:
            waiting[partition].append(coming[partition].popleft())
            count -= 1
        for p, (records, entries) in _take(waiting, idle, {p for p in range(3) if coming[p]}).items():
            found[p] += sorted([(one.offset, 0) for one in records] + [(after, 1) for after, _ in entries])
    assert found == expected


def test_what_ends_after_the_span_lasts_at_its_end() -> None:
    """A log is folded to its end, whatever span is asked for."""
    run = Backtest([RULES], SHAPE)
    run.fold_piece(log())
    ended = next(firing for firing in run.versions(Span())[0].firings if firing.end_ms is not None and firing.end_ms > firing.start_ms)
    [version] = run.versions(Span(None, ended.end_ms))
    assert [(firing.end_ms, firing.ended) for firing in version.firings if firing.episode_id == ended.episode_id] == [(None, None)]
    assert [firing for firing in version.firings if firing.end_ms is not None and firing.end_ms >= (ended.end_ms or 0)] == []
