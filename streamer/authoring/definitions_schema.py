"""The JSON Schema of a definitions file, draft 2020-12, generated from the structures and committed as schemas/definitions.schema.json.

For editors: completion, hover texts, and what is wrong while one types. `streamer rules check` knows more.
"""

from __future__ import annotations

import inspect
import re
from typing import Any, Final, get_args, get_origin

import msgspec
import orjson

from streamer.definitions import NO_KEYS, Definitions
from streamer.durations import Duration, Part, written
from streamer.metrics.catalogue import METRICS
from streamer.metrics.counters import DIMENSIONS
from streamer.validation import without_none

SCHEMA_ID: Final = "urn:cx:definitions:1"
_DURATION: Final = {"type": "string", "pattern": r"^\d+(ms|s|m|h|d)$", "examples": ["30s", "30m", "24h", "7d"]}
# In a docstring, `key: what it is` or `key, other: what they are`, at the beginning of a sentence or a line.
_EXPLAINED: Final = re.compile(r"(?:^|(?<=[.;:\]])\s+|\n\s*)((?:\w+, )*\w+):\s")


def json_schema() -> dict[str, Any]:
    """The schema of the whole file."""
    parts: dict[str, dict[str, Any]] = {}
    root = _table(Definitions, parts)
    for name in NO_KEYS:
        del root["properties"][name]
    dimension = {"enum": list(DIMENSIONS)}
    parts["Slice"]["properties"]["by"]["items"] = dimension
    parts["Rule"]["properties"]["by"]["items"] = dimension
    parts["Rule"]["properties"]["metric"]["enum"] = [metric.id for metric in METRICS]
    root["properties"]["windows"]["items"] = _DURATION
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **root,
        "title": "Definitions of journeys, slices and rules",
        "$defs": parts,
    }


def schema_text() -> bytes:
    """The committed file's content."""
    return orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def _table(kind: type[Part], parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A structure; those it refers to go to `parts`."""
    text = inspect.getdoc(kind) or ""
    fields = msgspec.structs.fields(kind)
    explained = _explanations(text, {field.name for field in fields} | {field.encode_name for field in fields})
    properties = {}
    for field in fields:
        schema = _value(field.type, parts)
        if (default := _default(field)) is not None:
            schema["default"] = default
        if sentence := explained.get(field.encode_name, explained.get(field.name)):
            schema["description"] = sentence
        properties[field.encode_name] = schema
    return {
        "type": "object",
        "description": " ".join(text.split("\n\n")[0].split()),
        "properties": properties,
        "required": [field.encode_name for field in fields if field.required],
        "additionalProperties": False,
    }


def _value(kind: Any, parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    kind = without_none(kind)
    if isinstance(kind, type) and issubclass(kind, Part):
        if kind.__name__ not in parts:
            parts[kind.__name__] = {}  # it comes first, and may refer to itself
            parts[kind.__name__] = _table(kind, parts)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    if kind is Duration:
        return dict(_DURATION)
    if get_origin(kind) is tuple:
        return {"type": "array", "items": _value(get_args(kind)[0], parts)}
    if get_origin(kind) is dict:
        return {"type": "object", "additionalProperties": _value(get_args(kind)[1], parts)}
    return msgspec.json.schema(kind)


def _default(field: msgspec.structs.FieldInfo) -> Any:
    """What holds if the key is not there, as it would be written; None if nothing does."""
    match field.default:
        case Duration() as duration:
            return written(duration)
        case bool() | int() | float() | str() as value:
            return value
        case tuple() as values if all(isinstance(value, str) for value in values):
            return list(values)
        case _:
            return None


def _explanations(text: str, names: set[str]) -> dict[str, str]:
    """Key -> its sentence of the docstring."""
    found: dict[str, str] = {}
    matches = [match for match in _EXPLAINED.finditer(text) if set(match[1].split(", ")) <= names]
    for match, following in zip(matches, [*matches, None][1:], strict=True):
        sentence = " ".join(text[match.end() : following.start() if following else None].split()).rstrip(";")
        found |= dict.fromkeys(match[1].split(", "), sentence[:1].upper() + sentence[1:])
    return found
