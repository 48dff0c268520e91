"""The canonical touchpoint event as the fold sees it: flat, typed, only the fields in use."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

# The channels an event may name (domain catalogue 4.2); "other" is the answer to every new one.
CHANNELS = (
    "web", "app", "email", "chat", "bot", "phone", "ivr", "sms", "social", "store", "field", "partner", "mail", "other",
)  # fmt: skip


class Reason(StrEnum):
    """Why a record is a dead letter. The values are part of the interface (header `reason`)."""

    INVALID_JSON = "invalid_json"
    WRONG_TYPE = "wrong_type"
    MISSING_FIELD = "missing_field"
    INVALID_TIME = "invalid_time"
    MISSING_CUSTOMER = "missing_customer"
    UNKEYED = "unkeyed"
    MISROUTED = "misrouted"
    FUTURE = "future"
    OVERSIZE = "oversize"


class Rejected(NamedTuple):
    """A record that cannot be applied; `detail` says what was wrong without quoting customer data."""

    reason: Reason
    detail: str


class Control(NamedTuple):
    """A control record of `ingest`: `begin` and `end` move the partition's time without being an event."""

    kind: str
    time_ms: int


class Touchpoint(msgspec.Struct, omit_defaults=True, gc=False):
    """One customer touchpoint. `time` is event time in milliseconds, `offset` the record's; money is in minor units.

    The same structure is the packed form kept in a customer's row (msgpack map without defaults), so a new field with a
    default reads old rows.
    """

    time: int = msgspec.field(name="t")
    offset: int = msgspec.field(name="o")
    id: str = msgspec.field(name="i")
    source: str = msgspec.field(name="s")
    type: str = msgspec.field(name="y")
    channel: str = msgspec.field(name="c")
    platform: str = msgspec.field(name="pl", default="")
    segment: str = msgspec.field(name="sg", default="")
    region: str = msgspec.field(name="rg", default="")
    persona: str = msgspec.field(name="pe", default="")
    product_category: str = msgspec.field(name="pc", default="")
    stage: str = msgspec.field(name="st", default="")
    step: str = msgspec.field(name="sp", default="")
    journey: str = msgspec.field(name="j", default="")
    journey_id: str = msgspec.field(name="ji", default="")
    session_id: str = msgspec.field(name="se", default="")
    checkout_id: str = msgspec.field(name="ck", default="")
    order_id: str = msgspec.field(name="or", default="")
    cart_id: str = msgspec.field(name="ca", default="")
    issue_id: str = msgspec.field(name="is", default="")
    case_id: str = msgspec.field(name="cs", default="")
    contact_id: str = msgspec.field(name="co", default="")
    reason: str = msgspec.field(name="re", default="")
    severity: str = msgspec.field(name="sv", default="")
    resolved: bool | None = msgspec.field(name="rs", default=None)
    team: str = msgspec.field(name="tm", default="")
    partner: str = msgspec.field(name="pa", default="")
    owner: str = msgspec.field(name="ow", default="")
    initiator: str = msgspec.field(name="in", default="")
    from_team: str = msgspec.field(name="ft", default="")
    to_team: str = msgspec.field(name="tt", default="")
    handoff_kind: str = msgspec.field(name="hk", default="")
    context_passed: bool | None = msgspec.field(name="cp", default=None)
    currency: str = msgspec.field(name="cu", default="")
    revenue_minor: int | None = msgspec.field(name="rv", default=None)
    friction_kind: str = msgspec.field(name="fk", default="")
    friction_code: str = msgspec.field(name="fc", default="")
    field: str = msgspec.field(name="fi", default="")
    analytics_consent: bool | None = msgspec.field(name="ac", default=None)
    late_completion: bool = msgspec.field(name="lc", default=False)  # set by the processor only, see journeys/processor.py
