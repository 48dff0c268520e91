"""The schema for producers: committed as generated, a valid schema, and of one mind with the decoder and the check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import jsonschema
import msgspec
import pytest

from streamer.touchpoints import form, model
from streamer.touchpoints.catalogue import CHANNELS, STAGES
from streamer.touchpoints.check import check
from streamer.touchpoints.schema import json_schema, schema_text

COMMITTED = Path(__file__).parents[3] / "schemas" / "touchpoint.schema.json"
ARRIVAL_MS = 1_795_256_104_000  # 2026-11-21T10:15:04Z

FLAT: dict[str, Any] = {"type": "checkout.started", "time": "2026-11-21T10:15:03.120Z", "customer_id": "c-1", "channel": "web"}
DATA = {"anonymous_id": "a-77", "channel": "web", "commerce": {"checkout_id": "c-9", "currency": "EUR", "revenue": "84.90"}}
CLOUD: dict[str, Any] = {"type": "checkout.started", "time": "2026-11-21T10:15:03.120Z", "source": "/shop/web", "id": "0192f", "data": DATA}


def test_the_committed_schema_is_the_generated_one() -> None:
    assert schema_text() == COMMITTED.read_bytes(), "regenerate it: streamer events schema > schemas/touchpoint.schema.json"


def test_the_schema_is_valid_draft_2020_12() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize(
    ("event", "valid"),
    [
        (FLAT, True),
        (CLOUD, True),
        (CLOUD | {"specversion": "1.0"}, True),
        (FLAT | {"props": {"anything": [1, {"goes": None}]}, "type": "com.acme.lottery.won"}, True),
        (FLAT | {"anonymous_id": None, "issue": {"reason": None}}, True),
        (FLAT | {"survey": {"instrument": "ces", "ces_version": "2.0", "score": 6}}, True),
        (CLOUD | {"specversion": "0.3"}, False),
        (CLOUD | {"customer_id": "c-1"}, False),
        ({name: content for name, content in CLOUD.items() if name != "id"}, False),
        (CLOUD | {"data": DATA | {"checkout_id": "c-9"}}, False),
        (CLOUD | {"data": DATA | {"anonymous_id": None}}, False),
        ({name: content for name, content in FLAT.items() if name != "customer_id"}, False),
        ({name: content for name, content in FLAT.items() if name != "channel"}, False),
        (FLAT | {"channel": "hologram"}, False),
        (FLAT | {"chanel": "web"}, False),
        (FLAT | {"customer_id": 5}, False),
        (FLAT | {"customer_id": "c" * 129}, False),
        (FLAT | {"step": "s" * 65}, False),
        (FLAT | {"stage": "later"}, False),
        (FLAT | {"commerce": {"revenue": "12,50"}}, False),
        (FLAT | {"commerce": {"currency": "euro"}}, False),
        (FLAT | {"handoff": {"context_passed": [1]}}, False),
    ],
)
def test_the_schema_and_the_check_agree(event: dict[str, Any], valid: bool) -> None:
    assert jsonschema.Draft202012Validator(json_schema()).is_valid(event) is valid
    assert (check(json.dumps(event).encode(), ARRIVAL_MS).reason == "ok") is valid


def test_every_field_the_decoder_reads_is_in_the_model() -> None:
    for part in (form.Issue, form.Actor, form.Handoff, form.Commerce, form.Friction, form.Consent, form.Data):
        assert set(part.__struct_fields__) <= set(getattr(model, part.__name__).__struct_fields__), part
    assert set(form.Event.__struct_fields__) <= set(model.FlatEvent.__struct_fields__) | set(model.CloudEvent.__struct_fields__)


def test_the_models_enumerations_are_the_decoders() -> None:
    assert get_args(model.Channel) == CHANNELS
    assert get_args(model.Stage) == STAGES


def test_optional_fields_may_be_null_as_the_decoder_takes_null_for_absent() -> None:
    fields = {
        field.name: None for field in msgspec.structs.fields(model.FlatEvent) if field.default is None and field.name != "customer_id"
    }
    assert check(json.dumps(FLAT | fields).encode(), ARRIVAL_MS).reason == "ok"
