"""What one record, one customer, one jump of the clock and one change of the definitions may do (invariant I6)."""

from __future__ import annotations

import json
from collections import Counter as Tally
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from streamer import definitions, deltas, topics
from streamer.alerts import alert
from streamer.engine.topic_admin import DEAD_LETTER_BYTES_MAX
from streamer.errors import DefinitionsError
from streamer.journeys.outbox import PUT_ASIDE_BYTES_MAX
from streamer.journeys.processor import JourneysProcessor
from streamer.processor import LogRecord, Output
from tests.journeys_support import CORE_DEFINITIONS, raised

T = 1_790_000_000_000
HOUR = 3_600_000


def event(offset: int, time_ms: int, kind: str, customer: str = "c", arrival_ms: int | None = None, **data: Any) -> LogRecord:
    time = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    body = {"id": f"e{offset}", "source": "/t", "type": kind, "time": time, "customer_id": customer, "channel": "web", **data}
    return LogRecord(offset, time_ms if arrival_ms is None else arrival_ms, customer.encode(), json.dumps(body).encode())


def opened(text: str | None = None) -> JourneysProcessor:
    return JourneysProcessor(definitions.parse(text or definitions.default_text()), partition=0, partitions=1)


def alerts(outputs: list[Output]) -> list[tuple[str, str]]:
    found = [alert.decode(o.value or b"") for o in outputs if o.topic == topics.ALERTS]
    return [(a.state, a.rule.id) for a in found]


def test_a_record_too_large_for_any_topic_is_dead_lettered_as_much_as_fits() -> None:
    processor = opened()
    size = PUT_ASIDE_BYTES_MAX + 1_000_000
    processor.process([LogRecord(0, T, b"k" * 200_000, b"x" * size, [("big", b"h" * 200_000), ("small", b"h")])], 1)
    [dead] = [o for o in processor.drain().outputs if o.topic == topics.DEAD_LETTERS]
    headers = dict(dead.headers)
    assert (headers["reason"], headers["original-size"]) == (b"oversize", b"%d" % size)
    assert len(dead.value or b"") == PUT_ASIDE_BYTES_MAX
    assert len(dead.key or b"") + sum(len(value) for value in headers.values()) < 200_000


def test_headers_that_say_nothing_take_room_too() -> None:
    processor = opened()
    largest = b"x" * PUT_ASIDE_BYTES_MAX
    processor.process([LogRecord(0, T, b"k" * 200_000, largest, [("", b"")] * 500_000)], 1)
    [dead] = [o for o in processor.drain().outputs if o.topic == topics.DEAD_LETTERS]
    size = DefaultRecordBatchBuilder.estimate_size_in_bytes(dead.key, dead.value, list(dead.headers))
    assert size < DEAD_LETTER_BYTES_MAX, "the broker would refuse it for ever, and the partition would stand"


def test_deltas_are_split_into_records_far_below_the_topics_limit_and_only_the_last_completes_their_ticks() -> None:
    processor = opened(CORE_DEFINITIONS.read_text())
    processor.process([event(0, T, "page.viewed")], 1)
    [before] = [deltas.decode(o.value or b"") for o in processor.drain().outputs]
    label = {"platform": "p" * 60, "journey": "j" * 60}
    records = [
        event(i, T + i, "page.viewed", f"c{i}", platform=f"{i:04}{label['platform']}"[:64], journey=label["journey"])
        for i in range(1, 4_001)
    ]
    processor.process(records, 4_001)
    outputs = [o for o in processor.drain().outputs if o.topic == topics.DELTAS]
    parts = [deltas.decode(o.value or b"") for o in outputs]
    assert len(parts) > 1
    assert max(len(o.value or b"") for o in outputs) < 1 << 20
    assert [part.until_tick for part in parts[:-1]] == [before.until_tick] * (len(parts) - 1)
    assert parts[-1].until_tick == (T + 4_000) // 1000
    counted: Tally[tuple[str, ...]] = Tally()
    for part in parts:
        for _, flat in part.ticks:
            for at in range(0, len(flat), 4):
                counted[part.cells[flat[at + 1]]] += flat[at + 3]
    assert len(counted) == 4_000
    assert set(counted.values()) == {1}


def test_one_delayed_event_does_not_stop_the_clock_of_a_silent_partition() -> None:
    processor = opened()
    processor.process([event(0, T, "page.viewed")], 1)
    processor.advance(T + 2 * HOUR)
    processor.process([event(1, T + HOUR // 2, "page.viewed", arrival_ms=T + 2 * HOUR + 5)], 2)
    assert processor.high_ms == T + HOUR // 2
    assert processor.reference == (T + 2 * HOUR, T + 2 * HOUR + 5)
    restored = opened()
    restored.restore((key, row) for key, row in processor.drain().rows if row is not None)
    assert restored.reference == (T + 2 * HOUR, T + 2 * HOUR + 5)


def test_alerts_of_a_customer_are_bounded_and_the_one_that_cools_down_first_makes_room() -> None:
    text = definitions.default_text() + "\n[limits]\nepisodes_per_customer = 3\n"
    processor, offset = opened(text), 0
    for issue in range(8):
        for turn, channel in enumerate(("web", "phone", "email")):
            at = T + issue * 10_000 + turn
            record = event(offset, at, "contact.started", channel=channel, issue={"issue_id": f"i{issue}"})
            processor.process([record], offset + 1)
            offset += 1
        at = T + issue * 10_000 + 100
        processor.process([event(offset, at, "consent.changed", consent={"categories": {"analytics": False}})], offset + 1)
        processor.process([event(offset + 1, at, "consent.changed", consent={"categories": {"analytics": True}})], offset + 2)
        offset += 2
    told = alerts(processor.drain().outputs)
    assert told == [("firing", "channel-switching"), ("resolved", "channel-switching")] * 8
    assert processor.accounting["cut_episodes"] == 5


def moved_on(before: str, after: str, records: list[LogRecord], later: list[LogRecord]) -> list[tuple[str, str]]:
    first = opened(before)
    first.process(records, len(records))
    drained = first.drain()
    told = alerts(drained.outputs)
    second = opened(after)
    second.restore((key, row) for key, row in drained.rows if row is not None)
    second.process(later, len(records) + len(later))
    return told + alerts(second.drain().outputs)


def test_an_alert_in_force_ends_when_its_rule_is_removed() -> None:
    text = definitions.default_text()
    start = text.index('[[rule]]\nid = "channel-switching"')
    removed = text[:start] + text[text.index("[[rule]]", start + 1) :]
    switches = [event(i, T + i, "contact.started", channel=c, issue={"issue_id": "i"}) for i, c in enumerate(("web", "phone", "email"))]
    told = moved_on(text, raised(removed), switches, [event(3, T + 9, "page.viewed")])
    assert told == [("firing", "channel-switching"), ("resolved", "channel-switching")]


def test_a_deadline_that_new_definitions_bring_forward_is_told_with_the_next_event() -> None:
    text = definitions.default_text().replace('cooldown = "24h"', 'cooldown = "0s"').replace("effort_index > 5", "effort_index > 50")
    issue = {"issue_id": "i", "reason": "r"}
    kinds = ("contact.started", "contact.ended", "contact.started", "contact.started")
    repeats = [event(i, T + i, kind, issue=issue) for i, kind in enumerate(kinds)]
    shorter = raised(text.replace('repeat_within = "7d"', 'repeat_within = "1h"'))
    told = moved_on(text, shorter, repeats, [event(4, T + 2 * HOUR, "page.viewed", "other"), event(5, T + 2 * HOUR, "page.viewed")])
    assert told[0] == ("firing", "repeated-contacts")
    assert told[-1] == ("resolved", "repeated-contacts")


def test_other_content_under_a_revision_that_the_state_still_holds_is_refused() -> None:
    text = definitions.default_text()
    second = raised(text)
    first = opened(text)
    first.process([event(0, T, "page.viewed")], 1)
    rows = {key: row for key, row in first.drain().rows if row is not None}
    upgraded = opened(second)
    upgraded.restore(rows.items())
    rows.update((key, row) for key, row in upgraded.drain().rows if row is not None)
    with pytest.raises(DefinitionsError, match=f"under the same revision {definitions.default().revision}"):
        opened(text + "\n# changed\n").restore(rows.items())


@pytest.mark.parametrize(
    "line", ["[limits]\njourneys_per_customer = 0", '[[journey]]\nid = "x"\nstart = []\ncomplete = []\ndeadline = "99999d"']
)
def test_definitions_that_no_customer_could_live_with_are_refused_when_read(line: str) -> None:
    with pytest.raises(DefinitionsError):
        definitions.parse(definitions.default_text() + "\n" + line)
