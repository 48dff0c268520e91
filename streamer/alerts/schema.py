"""The JSON Schema of the alert record, draft 2020-12, generated from `alert.py` and committed as schemas/alert.schema.json."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import orjson

from streamer.alerts.alert import SCHEMA_VERSION, Alert

SCHEMA_ID: Final = f"urn:cx:alert:{SCHEMA_VERSION}"
_TIMES: Final = {
    "Alert": ("event_time", "detected_at", "expires_at", "published_at"),
    "Evidence": ("time",),
    "Moment": ("time",),
    "Window": ("start", "end"),
}


def json_schema() -> dict[str, Any]:
    """The schema of one record, as in Kafka and, with `published_at`, in Redis. Open: newer writers may add fields."""
    [root], definitions = msgspec.json.schema_components((Alert,), ref_template="#/$defs/{name}")
    for name, fields in _TIMES.items():
        for field in fields:
            definitions[name]["properties"][field]["format"] = "date-time"
    definitions["Entity"]["anyOf"] = [{"required": ["canonical_id"]}, {"required": ["account_id"]}]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": f"cx.alert/{SCHEMA_VERSION}",
        "description": "One transition of one alert. Readers ignore fields they do not know.",
        **root,
        "$defs": definitions,
    }


def schema_text() -> bytes:
    """The committed file's content."""
    return orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
