"""The document of all channels: committed as generated, valid AsyncAPI 3, and of one mind with what the product writes.

The schema in tests/data is that of the npm package @asyncapi/specs 6.11.1 (Apache-2.0).
"""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jsonschema
import pytest
from typer.testing import CliRunner

from streamer import asyncapi, topics
from streamer.alerts.alert import encode
from streamer.alerts.connection import Keys
from streamer.alerts.publisher import stamp
from streamer.cli import app
from streamer.journeys.notices import Place
from streamer.journeys.outbox import put_aside
from streamer.processor import LogRecord
from streamer.sinks.webhook import signature
from streamer.touchpoints.touchpoint import Reason
from tests.alert_support import alert

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
DOCUMENT: Final = asyncapi.document()
SCHEMA: Final[dict[str, Any]] = json.loads(gzip.decompress((ROOT / "tests/data/asyncapi-3.0.0.schema.json.gz").read_bytes()))


def is_valid(value: Any, message: str, part: str = "payload") -> bool:
    """Whether a payload, or headers, fit a message."""
    schema = {**DOCUMENT["components"]["messages"][message][part], "components": DOCUMENT["components"]}
    return jsonschema.Draft202012Validator(schema).is_valid(value)


def test_the_committed_document_is_the_generated_one() -> None:
    printed = CliRunner().invoke(app, ["alerts", "asyncapi"]).stdout_bytes
    assert printed == (ROOT / "schemas/asyncapi.json").read_bytes(), "regenerate it: streamer alerts asyncapi > schemas/asyncapi.json"


def test_it_is_valid_asyncapi_3() -> None:
    errors = sorted(jsonschema.Draft7Validator(SCHEMA).iter_errors(DOCUMENT), key=lambda error: list(error.path))
    assert [f"{'/'.join(map(str, error.path))}: {error.message[:200]}" for error in errors] == []


def test_the_check_finds_what_is_not_asyncapi() -> None:
    for broken in ({**DOCUMENT, "channels": {"x": {"adress": "y"}}}, {**DOCUMENT, "operations": {"x": {"action": "publish"}}}):
        assert not jsonschema.Draft7Validator(SCHEMA).is_valid(broken)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def test_every_reference_leads_somewhere_in_the_document() -> None:
    found = set(references(DOCUMENT))
    assert len(found) > 30
    for reference in found:
        target: Any = DOCUMENT
        assert reference.startswith("#/")
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]


def test_every_shared_channel_is_in_it_and_nothing_of_the_inside() -> None:
    addresses = {channel["address"] for channel in DOCUMENT["channels"].values()} - {None}
    keys = Keys()
    shared = set(topics.ALL) - {topics.DELTAS}
    assert addresses == {topics.kafka_name(logical) for logical in shared} | {keys.stream, keys.wake, keys.dead}


def test_every_channel_has_an_operation_and_only_touchpoints_come_in() -> None:
    actions = {
        operation["channel"]["$ref"].removeprefix("#/channels/"): operation["action"] for operation in DOCUMENT["operations"].values()
    }
    assert actions.keys() == DOCUMENT["channels"].keys()
    assert {name for name, action in actions.items() if action == "receive"} == {"touchpoints"}


@pytest.mark.parametrize("state", ["firing", "amended", "resolved", "retracted"])
def test_alerts_as_they_are_written_fit(state: str) -> None:
    written = alert("ann", state)
    record = json.loads(encode(written))
    assert is_valid(record, "alert")
    assert not is_valid(record, "alertInRedis"), "published_at is missing"
    assert is_valid(json.loads(stamp(encode(written), written, "2026-05-01T10:00:00.000Z")), "alertInRedis")
    assert not is_valid({**record, "state": "over"}, "alert")


def test_touchpoints_that_are_accepted_fit() -> None:
    flat = {"type": "page.viewed", "time": "2026-05-01T10:00:00Z", "customer_id": "ann", "channel": "web", "id": "e-1", "source": "shop"}
    assert is_valid(flat, "touchpoint")
    assert not is_valid({**flat, "customer_id": 7}, "touchpoint")


def test_headers_of_dead_letters_and_late_events_are_as_they_are_written() -> None:
    record = LogRecord(41, 1_777_629_600_000, b"ann", b"{", (("ce_type", b"x"),))
    place = Place("cx.touchpoints.v1", 3)
    for message, topic, reasons in (
        ("deadLetter", topics.DEAD_LETTERS, [reason.value for reason in Reason]),
        ("lateEvent", topics.LATE, ["late"]),
    ):
        for reason in reasons:
            output = put_aside(topic, record, place, [("reason", reason.encode())])
            assert is_valid({name: (value or b"").decode() for name, value in output.headers}, message, "headers")
    assert not is_valid({"reason": "unheard_of", "origin-topic": "x"}, "deadLetter", "headers")


def test_headers_of_a_webhook_are_as_they_are_sent() -> None:
    headers = {"X-Streamer-Alert-Id": "a", "X-Streamer-Timestamp": "1", "X-Streamer-Signature": signature(b"secret", "1", b"{}")}
    assert is_valid(headers, "webhookAlert", "headers")
    assert not is_valid({**headers, "X-Streamer-Signature": "md5=x"}, "webhookAlert", "headers")


def test_the_pages_name_no_channel_that_is_not_in_it() -> None:
    said = set(re.findall(r"\bcx\.[a-z-]+\.v1\b", (ROOT / "docs/how-to/forward-alerts.md").read_text()))
    assert said <= {channel["address"] for channel in DOCUMENT["channels"].values()}
