"""The canonical touchpoint event as the fold sees it: flat, typed, only the fields in use."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple, final

import msgspec
from mypy_extensions import mypyc_attr

from streamer.touchpoints.details import Details


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


@final
@mypyc_attr(acyclic=True)
class Touchpoint:
    """One customer touchpoint. `time` is event time in milliseconds, `offset` the record's; money is in minor units.

    A plain class, whose attributes the compiled copy reads directly. Most events have few of the fields: they are defaults of the class.
    """

    platform: str = ""
    segment: str = ""
    region: str = ""
    persona: str = ""
    product_category: str = ""
    stage: str = ""
    step: str = ""
    journey: str = ""
    journey_id: str = ""
    session_id: str = ""
    checkout_id: str = ""
    order_id: str = ""
    cart_id: str = ""
    issue_id: str = ""
    case_id: str = ""
    contact_id: str = ""
    reason: str = ""
    severity: str = ""
    resolved: bool | None = None
    team: str = ""
    partner: str = ""
    owner: str = ""
    initiator: str = ""
    from_team: str = ""
    to_team: str = ""
    handoff_kind: str = ""
    context_passed: bool | None = None
    currency: str = ""
    revenue_minor: int | None = None
    friction_kind: str = ""
    friction_code: str = ""
    field: str = ""
    analytics_consent: bool | None = None
    # Set by the processor only, see journeys/processor.py: when it happened, if that is not when it counts; 1: an older row does not say.
    late_completion: int = 0
    value_level: str = ""
    details: Details | None = None
    account_id: str = ""
    due_ms: int | None = None  # by when its case is to be done
    late_consent: int = 0  # as `late_completion`, of one that tells of consent late

    def __init__(self, time: int, offset: int, id_: str, source: str, type_: str, channel: str) -> None:
        self.time = time
        self.offset = offset
        self.id = id_
        self.source = source
        self.type = type_
        self.channel = channel

    def values(self) -> tuple[object, ...]:
        """The fields in the order of `FIELDS`, which is that of the packed form."""
        return (
            self.time, self.offset, self.id, self.source, self.type, self.channel, self.platform, self.segment, self.region,
            self.persona, self.product_category, self.stage, self.step, self.journey, self.journey_id, self.session_id,
            self.checkout_id, self.order_id, self.cart_id, self.issue_id, self.case_id, self.contact_id, self.reason, self.severity,
            self.resolved, self.team, self.partner, self.owner, self.initiator, self.from_team, self.to_team, self.handoff_kind,
            self.context_passed, self.currency, self.revenue_minor, self.friction_kind, self.friction_code, self.field,
            self.analytics_consent, self.late_completion, self.value_level, self.details, self.account_id, self.due_ms,
            self.late_consent,
        )  # fmt: skip

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Touchpoint) and self.values() == other.values()

    __hash__ = None  # type: ignore[assignment]  # it can be filled after it is made

    def __repr__(self) -> str:
        return f"Touchpoint({dict(zip(FIELDS, self.values(), strict=True))})"


FIELDS: Final = (
    "time", "offset", "id", "source", "type", "channel", "platform", "segment", "region", "persona", "product_category", "stage", "step",
    "journey", "journey_id", "session_id", "checkout_id", "order_id", "cart_id", "issue_id", "case_id", "contact_id", "reason", "severity",
    "resolved", "team", "partner", "owner", "initiator", "from_team", "to_team", "handoff_kind", "context_passed", "currency",
    "revenue_minor", "friction_kind", "friction_code", "field", "analytics_consent", "late_completion", "value_level", "details",
    "account_id", "due_ms", "late_consent",
)  # fmt: skip
# The names of the packed form of row schema 1, a map without defaults.
_SHORT: Final = dict(zip(
    (
        "t", "o", "i", "s", "y", "c", "pl", "sg", "rg", "pe", "pc", "st", "sp", "j", "ji", "se", "ck", "or", "ca", "is", "cs", "co", "re",
        "sv", "rs", "tm", "pa", "ow", "in", "ft", "tt", "hk", "cp", "cu", "rv", "fk", "fc", "fi", "ac", "lc",
    ),
    FIELDS,
    strict=False,
))  # fmt: skip


def touchpoint_of(packed: Sequence[Any] | dict[str, Any]) -> Touchpoint:
    """The touchpoint of its packed form: the values in order, of an older build fewer; of row schema 1 a map by short names."""
    if isinstance(packed, dict):
        named = {_SHORT[name]: value for name, value in packed.items()}
        touchpoint = Touchpoint(*(named.pop(name) for name in FIELDS[:_REQUIRED]))
        for name, value in named.items():
            setattr(touchpoint, name, value)
        return touchpoint
    row = packed if len(packed) == len(FIELDS) else [*packed, *_DEFAULTS[len(packed) :]]
    one = Touchpoint(row[0], row[1], row[2], row[3], row[4], row[5])
    one.platform, one.segment, one.region, one.persona, one.product_category = row[6], row[7], row[8], row[9], row[10]
    one.stage, one.step, one.journey, one.journey_id, one.session_id = row[11], row[12], row[13], row[14], row[15]
    one.checkout_id, one.order_id, one.cart_id, one.issue_id, one.case_id = row[16], row[17], row[18], row[19], row[20]
    one.contact_id, one.reason, one.severity, one.resolved, one.team = row[21], row[22], row[23], row[24], row[25]
    one.partner, one.owner, one.initiator, one.from_team, one.to_team = row[26], row[27], row[28], row[29], row[30]
    one.handoff_kind, one.context_passed, one.currency, one.revenue_minor, one.friction_kind = row[31], row[32], row[33], row[34], row[35]
    one.friction_code, one.field, one.analytics_consent, one.late_completion = row[36], row[37], row[38], row[39]
    one.value_level = row[40]
    if row[41] is not None:
        one.details = msgspec.convert(row[41], Details)
    one.account_id, one.due_ms, one.late_consent = row[42], row[43], row[44]
    return one


_REQUIRED: Final = 6
_DEFAULTS: Final = Touchpoint(0, 0, "", "", "", "").values()
