"""Control records: how `ingest` moves a partition's time without an event (design section 4)."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from streamer.touchpoints.times import TIME_MAX_MS
from streamer.touchpoints.touchpoint import Control, Reason, Rejected

HEADER: Final = "cx-control"
KINDS: Final = ("begin", "end")


class _Body(msgspec.Struct, gc=False):
    time_ms: int


_decode_body = msgspec.json.Decoder(_Body).decode


def encode_control(kind: Literal["begin", "end"], time_ms: int) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Value and headers of a control record that moves the partition's time to `time_ms` (milliseconds since the epoch)."""
    return msgspec.json.encode(_Body(time_ms)), [(HEADER, kind.encode())]


def decode_control(kind: bytes | None, value: bytes | None) -> Control | Rejected:
    """The control record with header value `kind`; one that is not understood is a dead letter."""
    name = kind.decode("ascii", "replace") if kind else ""
    if name not in KINDS:
        return Rejected(Reason.WRONG_TYPE, f"header {HEADER} must be begin or end")
    try:
        time_ms = _decode_body(value or b"").time_ms
    except msgspec.ValidationError as exc:
        return Rejected(Reason.WRONG_TYPE, f"control record: {exc}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Rejected(Reason.INVALID_JSON, "control record: not valid JSON")
    if not -TIME_MAX_MS <= time_ms <= TIME_MAX_MS:
        return Rejected(Reason.INVALID_TIME, "control record: time_ms is out of range")
    return Control(name, time_ms)
