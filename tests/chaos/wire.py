"""Events as they go over the wire and come back, for the traffic and for the recount; nothing of the product's decoder."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

GROUPS: Final = {
    "issue": ("issue_id", "case_id", "reason", "resolved"),
    "actor": ("team", "owner", "initiator"),
    "handoff": ("to_team", "handoff_kind", "context_passed"),
    "commerce": ("checkout_id", "order_id"),
}
_GROUPED: Final = {name for names in GROUPS.values() for name in names}
# A producer knows what it has broken on purpose.
POISON: Final = ("chaos", b"poison")


def encode(event: dict[str, Any]) -> bytes:
    """The flat form. `time` is milliseconds since the epoch, `customer` the record's key."""
    body = {name: value for name, value in event.items() if name not in _GROUPED and name not in ("time", "customer", "analytics_consent")}
    for group, names in GROUPS.items():
        part = {name.removeprefix("handoff_"): event[name] for name in names if event.get(name) not in (None, "")}
        if part:
            body[group] = part
    if event.get("analytics_consent") is not None:
        body["consent"] = {"categories": {"analytics": event["analytics_consent"]}}
    body["customer_id"] = event["customer"]
    body["time"] = datetime.fromtimestamp(event["time"] / 1000, UTC).isoformat(timespec="milliseconds")
    return json.dumps(body).encode()


def decode(value: bytes) -> dict[str, Any]:
    """The event of a value that `encode` made."""
    body = json.loads(value)
    event = {name: content for name, content in body.items() if name not in GROUPS and name not in ("customer_id", "consent")}
    for group, names in GROUPS.items():
        part = body.get(group, {})
        event |= {name: part[name.removeprefix("handoff_")] for name in names if name.removeprefix("handoff_") in part}
    if "consent" in body:
        event["analytics_consent"] = body["consent"]["categories"]["analytics"]
    event["customer"] = body["customer_id"]
    event["time"] = round(datetime.fromisoformat(body["time"]).timestamp() * 1000)
    return event
