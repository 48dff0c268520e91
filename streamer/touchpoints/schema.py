"""The JSON Schema of the canonical event, draft 2020-12, generated from `model.py` and committed as schemas/touchpoint.schema.json."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import orjson

from streamer.touchpoints.model import CloudEvent, Data, FlatEvent

SCHEMA_ID: Final = "urn:cx:touchpoint:1"
_CUSTOMER = {
    "anyOf": [
        {"required": [name], "properties": {name: {"type": "string"}}}  # null does not count
        for name in ("customer_id", "anonymous_id")
    ]
}


def json_schema() -> dict[str, Any]:
    """The schema of one event: flat or CloudEvents structured; `#/$defs/Data` is the value of binary mode."""
    (flat, cloud, _), definitions = msgspec.json.schema_components((FlatEvent, CloudEvent, Data), ref_template="#/$defs/{name}")
    for name in ("FlatEvent", "Data"):
        definitions[name] |= _CUSTOMER
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "cx.touchpoint/1",
        "description": "One customer touchpoint. The envelope is closed, `props` is free.",
        "oneOf": [flat, cloud],
        "$defs": definitions,
    }


def schema_text() -> bytes:
    """The committed file's content."""
    return orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
