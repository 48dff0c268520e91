"""The schema for alert consumers: committed as generated, valid, and of one mind with the records that are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from streamer.alerts.alert import Window, encode
from streamer.alerts.publisher import stamp
from streamer.alerts.schema import json_schema, schema_text
from tests.alert_support import alert

COMMITTED = Path(__file__).parents[3] / "schemas" / "alert.schema.json"
CHECKER = jsonschema.Draft202012Validator(json_schema(), format_checker=jsonschema.FormatChecker())


def record(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(encode(alert("ann")))
    return {**fields, **changes}


def test_the_committed_schema_is_the_generated_one() -> None:
    assert schema_text() == COMMITTED.read_bytes(), "regenerate it: streamer alerts schema > schemas/alert.schema.json"


def test_the_schema_is_valid_draft_2020_12() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("state", ["firing", "amended", "resolved", "retracted"])
def test_what_the_processors_write_and_what_redis_holds_is_valid(state: str) -> None:
    written = alert("ann", state, window=Window(start="2026-11-21T10:00:00.000Z", end="2026-11-21T10:05:00.000Z"))
    CHECKER.validate(json.loads(encode(written)))
    CHECKER.validate(json.loads(stamp(encode(written), written, "2026-11-21T10:15:04.000Z")))


def test_a_field_of_a_newer_writer_is_valid() -> None:
    CHECKER.validate(record(new_in_version_2=True))


@pytest.mark.parametrize(
    "broken",
    [
        record(state="ended"),
        record(rule="checkout"),
        record(entity={"journey": "checkout"}),
        record(evidence_count="1"),
        {name: value for name, value in record().items() if name != "why"},
        {name: value for name, value in record().items() if name != "fingerprint"},
    ],
    ids=["unknown-state", "rule-as-text", "entity-without-id", "count-as-text", "no-why", "no-fingerprint"],
)
def test_what_consumers_could_not_work_with_is_invalid(broken: dict[str, Any]) -> None:
    assert not CHECKER.is_valid(broken)
