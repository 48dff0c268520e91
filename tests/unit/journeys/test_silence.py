"""A producer's outage must not look like mass abandonment (design section 4)."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from streamer import definitions, topics
from streamer.alerts import alert
from streamer.journeys.processor import SILENCE_MS, JourneysProcessor
from streamer.processor import LogRecord

T = 1_790_000_000_000
DEADLINE = 30 * 60_000


def event(offset: int, time_ms: int, kind: str, customer: str = "c") -> LogRecord:
    time = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    body = {"id": f"e{offset}", "source": "/t", "type": kind, "time": time, "customer_id": customer, "channel": "web"}
    body["commerce"] = {"checkout_id": f"x-{customer}"}  # type: ignore[assignment]
    return LogRecord(offset, time_ms, customer.encode(), json.dumps(body).encode())


@pytest.mark.parametrize(("last_event_ms", "silent"), [(T + DEADLINE + 1 - SILENCE_MS, True), (T + DEADLINE + 2 - SILENCE_MS, False)])
def test_an_absence_alert_says_whether_its_partition_was_silent(last_event_ms: int, silent: bool) -> None:
    processor = JourneysProcessor(definitions.default(), partition=0, partitions=1)
    friction = [event(0, T, "checkout.started"), event(1, T + 1, "payment.failed"), event(2, last_event_ms, "page.viewed", "other")]
    processor.process(friction, 3)
    processor.advance(T + 2 * DEADLINE)
    told = [alert.decode(o.value or b"") for o in processor.drain().outputs if o.topic == topics.ALERTS]
    assert [(a.rule.id, a.state, a.during_source_silence) for a in told] == [("abandoned-with-friction", "firing", silent)]
