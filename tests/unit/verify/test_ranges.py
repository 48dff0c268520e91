"""Metrics of a part of a log: windows as of its end, and the part alone, equal on both sides and what a rollup would have shown."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from streamer.alerts.times import rfc3339
from streamer.definitions import parse
from streamer.verify import compare
from streamer.verify.ranges import RANGE, Range
from streamer.verify.raw_log import Clocks, Record
from streamer.verify.recount import recount, statements
from tests.journeys_support import BASE_MS
from tests.verify_support import AFTER_MS, adversarial_log, counted, definitions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.verify.compare import Verdict

SECOND = 1_000
MINUTE = 60 * SECOND
HISTORIES = 12


def verdicts_of(log: Sequence[Record], asked: Range, end_ms: int, sql: Sequence[str] | None = None) -> list[Verdict]:
    within = asked.until(end_ms)
    mine = counted(log, definitions(), end_ms, within)
    theirs = recount(log, definitions(), Clocks({0: end_ms}), sql, within=within)
    return compare.metrics(mine, theirs, definitions(), within, 5)


def ranges_of(log: Sequence[Record]) -> list[Range]:
    """Of all kinds, also some that begin or end within a pane."""
    r = Random(1)
    first, last = log[0].arrival, log[-1].arrival
    found = []
    for step in (10 * SECOND, SECOND, 1):
        times = [r.randrange(first // step, last // step) * step for _ in range(4)]
        found += [Range(None, times[0]), Range(times[1], None), Range(*sorted(times[2:]))]
    return found


def test_metrics_of_any_part_are_recounted_equal_although_late_events_correct_it() -> None:
    log = adversarial_log(HISTORIES, orderly=False)
    end_ms = max(record.arrival for record in log) + AFTER_MS
    compared = 0
    for asked in ranges_of(log):
        found = verdicts_of(log, asked, end_ms)
        assert [verdict for verdict in found if verdict.status != "equal"] == [], asked
        compared += sum(verdict.compared for verdict in found)
    assert compared > 1_000


@pytest.mark.parametrize(
    ("clause", "other"),
    [
        ("coalesce(pane * 10000 < range_to, true)", "true"),
        ("WHERE pane * 10000 >= range_from", "WHERE pane * 10000 > range_from"),
        ("> windows_at // g * g - width", ">= windows_at // g * g - width"),
        ("THEN n_decided ELSE n END", "THEN n_decided ELSE -n END"),
    ],
)
def test_a_part_that_means_something_else_is_a_difference(clause: str, other: str) -> None:
    log = adversarial_log(HISTORIES, orderly=False)
    end_ms = max(record.arrival for record in log) + AFTER_MS
    changed = [text.replace(clause, other) for text in statements(definitions())]
    assert changed != statements(definitions()), f"the SQL has no {clause!r} any more"
    begin = BASE_MS + 40 * SECOND
    assert any(verdict.mismatches for verdict in verdicts_of(log, Range(begin, begin + 80 * SECOND), end_ms, changed))


def log_of(*events: tuple[int, str, dict[str, Any]]) -> list[Record]:
    log = []
    for number, (time_ms, kind, fields) in enumerate(events):
        value = {
            "id": str(number),
            "source": "s",
            "customer_id": "c",
            "channel": "web",
            "type": kind,
            "time": rfc3339(BASE_MS + time_ms),
            **fields,
        }
        log.append(Record(0, number, BASE_MS + time_ms, b"c", json.dumps(value).encode()))
    return log


WINDOWS = parse('revision = 1\nwindows = ["1m", "5m"]\n[[journey]]\nid = "checkout"\nstart = ["checkout.started"]\n'
                'complete = ["order.completed"]\ndeadline = "3m"\nrecoverable_for = "1h"\n[[slice]]\nby = []\n')  # fmt: skip
CHECKOUTS = log_of(
    (0, "checkout.started", {"commerce": {"checkout_id": "k1"}}),
    (MINUTE, "checkout.started", {"commerce": {"checkout_id": "k2"}}),
    (MINUTE + 30 * SECOND, "order.completed", {"commerce": {"checkout_id": "k2"}}),
    (2 * MINUTE, "page.viewed", {}),
    (6 * MINUTE, "order.completed", {"commerce": {"checkout_id": "k1"}}),
)


def numbers(asked: Range, *metrics: str) -> dict[tuple[str, str], int]:
    end_ms = CHECKOUTS[-1].arrival + MINUTE
    found = counted(CHECKOUTS, WINDOWS, end_ms, asked.until(end_ms)).metrics
    return {(metric, window): sample.k for (metric, _, _, window), sample in found.items() if metric in metrics}


def test_windows_are_as_of_the_end_of_the_range_and_know_what_came_later() -> None:
    until = Range(None, BASE_MS + 4 * MINUTE)
    assert numbers(until, "touchpoints", "journeys_open") == {("touchpoints", "5m"): 4, ("touchpoints", "lifetime"): 4}
    assert numbers(Range(None, BASE_MS + 2 * MINUTE), "journeys_open", "journeys_completed") == {
        ("journeys_open", "lifetime"): 1,
        ("journeys_completed", "1m"): 1,
        ("journeys_completed", "5m"): 1,
        ("journeys_completed", "lifetime"): 1,
    }
    # Read at that time a gauge would have shown the abandonment; its recovery two minutes later takes it back.
    assert numbers(until, "journeys_abandoned") == {}


def test_with_a_begin_there_is_the_metric_of_the_range_itself() -> None:
    part = Range(BASE_MS + MINUTE, BASE_MS + 2 * MINUTE)
    found = numbers(part, "touchpoints", "journeys_open")
    assert found[("touchpoints", RANGE)] == 2
    assert ("journeys_open", RANGE) not in found, "a stock is summed for ever"
    assert [window for window in ("1m", "5m", "lifetime") if part.reaches_back(window)] == ["5m", "lifetime"]


def test_where_nothing_is_corrected_later_the_windows_are_what_gauges_showed_then() -> None:
    for minutes in range(1, 3):
        until = BASE_MS + minutes * MINUTE
        then = counted([record for record in CHECKOUTS if record.arrival < until], WINDOWS, until).metrics
        assert then
        assert then == counted(CHECKOUTS, WINDOWS, until + 10 * MINUTE, Range(None, until).until(until + 10 * MINUTE)).metrics
