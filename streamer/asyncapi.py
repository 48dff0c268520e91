"""The AsyncAPI 3 document of every channel, generated from the records' own schemas and committed as schemas/asyncapi.json.

Addresses are those of the default settings (`topic_prefix`, `redis_prefix`).
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from streamer import topics
from streamer.alerts import schema as alert_schema
from streamer.alerts.connection import Keys
from streamer.sinks import webhook
from streamer.touchpoints import schema as touchpoint_schema
from streamer.touchpoints.touchpoint import Reason

VERSION: Final = "1.0.0"
_INFO: Final = """\
Customer-journey metrics and alerts on Kafka. Producers send touchpoints; alerts come out in Kafka, the durable record, and in a Redis
stream, a projection of it. What cannot be applied is kept with the reason.

Prefixes of topics and keys are settings; here are the defaults. Kafka is to be read with `isolation.level=read_committed`."""


def document() -> dict[str, Any]:
    """The whole document."""
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Journey stream processor", "version": VERSION, "description": _INFO, "license": {"name": "Apache-2.0"}},
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {"host": "127.0.0.1:9092", "protocol": "kafka", "description": "The setting `kafka_bootstrap`."},
            "redis": {"host": "127.0.0.1:6379", "protocol": "redis", "description": "The setting `redis_url`."},
        },
        "channels": {**_topics(), **_redis(), "webhook": _webhook()},
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def text() -> bytes:
    """The committed file's content."""
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def _channel(server: str, address: str | None, messages: tuple[str, ...], description: str) -> dict[str, Any]:
    return {
        "address": address,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        **({"servers": [{"$ref": f"#/servers/{server}"}]} if server else {}),
    }


def _topics() -> dict[str, Any]:
    def topic(logical: str, message: str, description: str) -> dict[str, Any]:
        return _channel("kafka", topics.kafka_name(logical), (message,), description)

    kept = "the durable record. Keyed by fingerprint; kept for 30 days."
    touchpoints = topic(topics.TOUCHPOINTS, "touchpoint", "What happened to customers. Keyed by customer, whose events keep their order.")
    touchpoints["messages"]["touchpointBinary"] = {"$ref": "#/components/messages/touchpointBinary"}
    return {
        "touchpoints": touchpoints,
        "alerts": topic(topics.ALERTS, "alert", f"Alerts about customers, {kept}"),
        "aggregateAlerts": topic(topics.AGGREGATE_ALERTS, "alert", f"Alerts about slices, {kept}"),
        "deadLetters": topic(topics.DEAD_LETTERS, "deadLetter", "Records that cannot be used, with the reason and where they were."),
        "late": topic(topics.LATE, "lateEvent", "Events that came after the allowed lateness and are in no metric."),
    }


def _redis() -> dict[str, Any]:
    keys = Keys()
    return {
        "alertStream": _channel(
            "redis", keys.stream, ("alertInRedis",), "A stream; the record is the field `alert`. Bounded; read it in a consumer group."
        ),
        "alertWake": _channel("redis", keys.wake, ("wake",), "A pub/sub channel: a hint that the stream has something new. May be missed."),
        "deadDeliveries": _channel("redis", keys.dead, ("deadDelivery",), "A stream of what consumer groups and sinks gave up."),
    }


def _webhook() -> dict[str, Any]:
    return _channel("", None, ("webhookAlert",), "A POST to each URL that `streamer alerts forward` is configured with.")


def _operations() -> dict[str, Any]:
    """From the product's point of view: it receives touchpoints and sends the rest."""
    sent = ("alerts", "aggregateAlerts", "deadLetters", "late", "alertStream", "alertWake", "deadDeliveries", "webhook")
    return {
        "receiveTouchpoints": {"action": "receive", "channel": {"$ref": "#/channels/touchpoints"}},
        **{f"send{name[0].upper()}{name[1:]}": {"action": "send", "channel": {"$ref": f"#/channels/{name}"}} for name in sent},
    }


def _messages() -> dict[str, Any]:
    key = {"kafka": {"key": {"type": "string"}, "bindingVersion": "0.5.0"}}
    alert = {"$ref": "#/components/schemas/Alert"}
    published = {"allOf": [alert, {"type": "object", "required": ["published_at"]}]}
    entry_id = {"type": "string", "pattern": r"^\d+-\d+$"}
    anything = {"description": "The original bytes, whatever they are."}
    return {
        "touchpoint": {
            "title": "Touchpoint, flat or CloudEvents structured",
            "bindings": key,
            "payload": {"oneOf": [{"$ref": "#/components/schemas/FlatEvent"}, {"$ref": "#/components/schemas/CloudEvent"}]},
        },
        "touchpointBinary": {
            "title": "Touchpoint, CloudEvents binary",
            "bindings": key,
            "headers": _headers({name: _text() for name in ("ce_id", "ce_source", "ce_type", "ce_time")}, required=("ce_type",)),
            "payload": {"$ref": "#/components/schemas/Data"},
        },
        "alert": {"title": "One transition of one alert", "bindings": key, "payload": alert},
        "alertInRedis": {
            "title": "The same with published_at",
            "payload": published,
        },
        "wake": {
            "title": "The id of the newest entry",
            "contentType": "text/plain",
            "payload": entry_id,
        },
        "deadLetter": {
            "title": "A record that cannot be used",
            "bindings": key,
            "contentType": "application/octet-stream",
            "headers": _origin({"enum": [reason.value for reason in Reason]}),
            "payload": anything,
        },
        "lateEvent": {
            "title": "An event that came too late",
            "bindings": key,
            "contentType": "application/octet-stream",
            "headers": _origin({"const": "late"}),
            "payload": anything,
        },
        "deadDelivery": {"title": "An alert that a reader gave up", "payload": {"$ref": "#/components/schemas/DeadDelivery"}},
        "webhookAlert": {
            "title": "One transition, signed",
            "headers": _headers(
                {
                    webhook.ALERT_ID: _text("The same in each repetition."),
                    webhook.TIMESTAMP: _text("Unix time of this attempt, in seconds.", pattern=r"^\d+$"),
                    webhook.SIGNATURE: _text(
                        "HMAC-SHA256 of timestamp, full stop and body with the shared secret.", pattern="^sha256=[0-9a-f]{64}$"
                    ),
                },
                required=(webhook.ALERT_ID, webhook.TIMESTAMP, webhook.SIGNATURE),
            ),
            "payload": alert,
        },
    }


def _text(description: str = "", **more: Any) -> dict[str, Any]:
    return {"type": "string", **({"description": description} if description else {}), **more}


def _headers(properties: dict[str, Any], *, required: tuple[str, ...]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def _origin(reason: dict[str, Any]) -> dict[str, Any]:
    """Headers of a record that was put aside; the original ones follow with the prefix `o-`."""
    numbers = {f"origin-{name}": _text(pattern=r"^-?\d+$") for name in ("partition", "offset", "timestamp")}
    properties = {"reason": {"type": "string", **reason}, "detail": _text("Never quotes the event."), "origin-topic": _text(), **numbers}
    return {
        **_headers(properties, required=("reason", "origin-topic", *numbers)),
        "patternProperties": {"^o-": _text("A header of the original record.")},
    }


def _schemas() -> dict[str, Any]:
    """Every structure of the records' own schemas, which refer to each other in this document instead of in theirs."""
    found: dict[str, Any] = {}
    for schema in (alert_schema.json_schema(), touchpoint_schema.json_schema()):
        for name, definition in schema["$defs"].items():
            if name in found:
                raise ValueError(f"two structures are called {name}")
            found[name] = _relocated(definition)
    found["DeadDelivery"] = {
        "type": "object",
        "properties": {
            "alert": _text("The record, as JSON."),
            "entry_id": _text("Its id in the stream."),
            "group": _text(),
            "consumer": _text(),
            "deliveries": _text(pattern=r"^\d+$"),
            "reason": _text("`max_deliveries`, `undecodable`, or a sink's, such as `HTTP 400`."),
        },
        "required": ["entry_id", "group", "consumer", "deliveries", "reason"],
    }
    return found


def _relocated(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _relocated(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_relocated(part) for part in value]
    return value.replace("#/$defs/", "#/components/schemas/") if isinstance(value, str) and value.startswith("#/$defs/") else value
