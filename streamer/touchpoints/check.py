"""What a producer is told about an event before it is sent: whether it would be accepted, and what to do if not."""

from __future__ import annotations

import difflib
import re
from typing import Final, NamedTuple, get_args

import msgspec

from streamer.touchpoints import form, model
from streamer.touchpoints.catalogue import CHANNELS
from streamer.touchpoints.decode import decode
from streamer.touchpoints.key import key_of
from streamer.touchpoints.text import clean
from streamer.touchpoints.touchpoint import Reason, Rejected

OK: Final = "ok"
NOT_IN_SCHEMA: Final = "not_in_schema"
DETAIL_LENGTH_MAX: Final = 300

ADVICE: Final = {
    Reason.INVALID_JSON: "Send one JSON object in UTF-8; NaN, Infinity and trailing text are not JSON.",
    Reason.OVERSIZE: "Keep an event below 1 MiB and a customer's id within 128 characters; send a reference to what is larger.",
    Reason.WRONG_TYPE: "Send the type that the schema names: `streamer events schema` prints it.",
    Reason.MISSING_FIELD: f"Every event needs type, time and channel, one of: {', '.join(CHANNELS)}.",
    Reason.INVALID_TIME: "Write when it happened with its offset, as in 2026-11-21T10:15:03.120Z.",
    Reason.MISSING_CUSTOMER: "Set customer_id if the customer is known, else anonymous_id.",
    Reason.UNKEYED: "Set the record's key to customer_id, or to anonymous_id when there is none.",
    Reason.MISROUTED: "Set the record's key to the customer_id or anonymous_id of the event itself.",
    Reason.FUTURE: "Set the producer's clock right: events more than 5 minutes ahead of their arrival are rejected.",
}
SCHEMA_ADVICE: Final = "It would be accepted, but that part is ignored, cut or changed; `props` takes fields of your own."

_decode_event = msgspec.json.Decoder(form.Event).decode
_decode_flat = msgspec.json.Decoder(model.FlatEvent).decode
_decode_cloud = msgspec.json.Decoder(model.CloudEvent).decode

_UNKNOWN_FIELD = re.compile("unknown field `([^`]*)`")


def _places(envelope: type[model.Closed], prefix: str) -> dict[str, str]:
    """Where each field belongs, by its name: `commerce.checkout_id` for `checkout_id`."""
    groups = {
        f"{prefix}{field.name}.": kind
        for field in msgspec.structs.fields(model.Data)
        for kind in get_args(field.type)
        if isinstance(kind, type) and issubclass(kind, model.Closed)
    }
    places = {name: f"{group}{name}" for group, kind in reversed(groups.items()) for name in kind.__struct_fields__}
    return places | {name: prefix + name for name in model.Data.__struct_fields__} | {name: name for name in envelope.__struct_fields__}


_PLACES_FLAT: Final = _places(model.FlatEvent, "")
_PLACES_CLOUD: Final = _places(model.CloudEvent, "data.")


class Finding(NamedTuple):
    """What is said about one event. `reason`: "ok", a dead letter's reason, or "not_in_schema" for one that is accepted in part."""

    reason: str
    detail: str = ""
    advice: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the processor would apply the event."""
        return self.reason in (OK, NOT_IN_SCHEMA)


def check(value: bytes, arrival_ms: int) -> Finding:
    """Check one event in its flat or structured form as if it arrived at `arrival_ms` (milliseconds since the epoch), rightly keyed."""
    try:
        event = _decode_event(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        event = form.Event()
    data = event.data or event
    key = (key_of(event.type, data.customer_id, data.anonymous_id) or "").encode()
    result = decode(0, arrival_ms, key, value, ())
    if isinstance(result, Rejected):
        return Finding(result.reason.value, result.detail, ADVICE[result.reason])
    try:
        (_decode_flat if event.data is None else _decode_cloud)(value)
    except msgspec.MsgspecError as exc:
        detail = clean(str(exc), DETAIL_LENGTH_MAX)
        places = _PLACES_FLAT if event.data is None else _PLACES_CLOUD
        return Finding(NOT_IN_SCHEMA, detail, _suggestion(detail, places) + SCHEMA_ADVICE)
    return Finding(OK)


def _suggestion(detail: str, places: dict[str, str]) -> str:
    unknown = _UNKNOWN_FIELD.search(detail)
    close = difflib.get_close_matches(unknown[1], places, n=1) if unknown else []
    return f"Did you mean `{places[close[0]]}`? " if close else ""
