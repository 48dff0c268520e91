"""What a record becomes: the touchpoint in each form, or the first reason why not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamer.touchpoints.control import encode_control
from streamer.touchpoints.decode import decode
from streamer.touchpoints.touchpoint import Control, Reason, Rejected, Touchpoint

ARRIVAL_MS = 1_795_256_104_000  # 2026-11-21T10:15:04Z
TIME = "2026-11-21T10:15:03.120Z"
TIME_MS = 1_795_256_103_120
ENVELOPE = {"id": "e-1", "source": "/shop/web", "type": "checkout.started", "time": TIME}
DATA: dict[str, Any] = {
    "customer_id": "c-1",
    "channel": "web",
    "platform": "ios",
    "commerce": {"checkout_id": "k-1", "currency": "EUR", "revenue": "84.90"},
}


def structured(data: dict[str, Any] = DATA, **envelope: Any) -> bytes:
    return json.dumps({"specversion": "1.0", **ENVELOPE, **envelope, "data": data}).encode()


def flat(**fields: Any) -> bytes:
    return json.dumps({k: v for k, v in {**ENVELOPE, **DATA, **fields}.items() if v is not ...}).encode()


def decoded(value: bytes, headers: list[tuple[str, bytes]] | None = None, key: bytes | None = b"c-1") -> Touchpoint:
    result = decode(7, ARRIVAL_MS, key, value, headers or [])
    assert isinstance(result, Touchpoint), result
    return result


def rejected(value: bytes | None, key: bytes | None = b"c-1", headers: list[tuple[str, bytes]] | None = None) -> Rejected:
    result = decode(7, ARRIVAL_MS, key, value, headers or [])
    assert isinstance(result, Rejected), result
    return result


def test_all_three_forms_of_one_event_are_the_same_touchpoint() -> None:
    headers = [("ce_specversion", b"1.0"), *((f"ce_{name}", content.encode()) for name, content in ENVELOPE.items())]
    expected = Touchpoint(
        TIME_MS, 7, "e-1", "/shop/web", "checkout.started", "web", platform="ios", checkout_id="k-1", currency="EUR", revenue_minor=8490
    )
    assert decoded(structured()) == expected
    assert decoded(flat()) == expected
    assert decoded(json.dumps(DATA).encode(), headers) == expected


@pytest.mark.parametrize("kind", ["begin", "end"])
def test_a_control_record_round_trips_without_a_key(kind: Any) -> None:
    value, headers = encode_control(kind, TIME_MS)
    assert decode(7, ARRIVAL_MS, None, value, headers) == Control(kind, TIME_MS)


def test_the_first_failing_check_names_the_reason() -> None:
    assert rejected(None).reason is Reason.INVALID_JSON
    assert rejected(b"{").reason is Reason.INVALID_JSON
