"""What `streamer state get` makes of a customer's rows."""

from __future__ import annotations

import json

import pytest

from streamer import definitions
from streamer.commands.state import describe
from streamer.errors import InputError
from streamer.journeys.processor import JourneysProcessor
from streamer.processor import LogRecord

NOON_MS = 1_795_262_400_000  # 2026-11-21T12:00:00Z


def rows_of(*events: dict[str, object]) -> dict[bytes, bytes]:
    processor = JourneysProcessor(definitions.default(), partition=0, partitions=1, build="test")
    records = [
        LogRecord(offset, NOON_MS + offset, str(event["customer_id"]).encode(), json.dumps(event).encode())
        for offset, event in enumerate(events)
    ]
    processor.process(records, len(records))
    return {key: row for key, row in processor.drain().rows if row is not None}


def checkout(customer: str) -> dict[str, object]:
    return {
        "id": f"e-{customer}",
        "source": "/web",
        "type": "checkout.started",
        "time": "2026-11-21T12:00:00Z",
        "customer_id": customer,
        "channel": "web",
        "commerce": {"checkout_id": "c-1"},
    }


def test_an_open_checkout_is_shown_with_its_names_and_its_events() -> None:
    found = describe("ann", 3, rows_of(checkout("ann"), checkout("bob")))
    assert (found["customer"], found["partition"], found["next_offset"], found["clock_ms"]) == ("ann", 3, 2, NOON_MS)
    (instance,) = found["state"]["instances"]
    assert instance["journey"] == "checkout"
    assert instance["ids"] == {"checkout_id": "c-1"}
    assert instance["due"] - instance["started"] == 30 * 60_000
    assert instance["cell"]["journey"] == "checkout"
    assert [event["id"] for event in found["retained_events"]] == ["e-ann"]
    json.dumps(found)


def test_an_unknown_customer_is_an_error_that_says_where_it_looked() -> None:
    with pytest.raises(InputError, match="customer 'eve' in partition 3"):
        describe("eve", 3, rows_of(checkout("ann")))


def test_what_chapters_keep_is_shown_by_names_also_without_a_session_id() -> None:
    viewed = {key: value for key, value in checkout("ann").items() if key != "commerce"}
    found = describe("ann", 0, rows_of({**viewed, "type": "page.viewed", "touchpoint": "/faq"}))
    session = found["state"]["kept"]["digital"]["data"]["sessions"][""]
    assert session["cell"] == {"channel": "web"}
    assert session["last"] == NOON_MS
    json.dumps(found)
