"""The alert record: one transition of one episode, as it stands in Kafka and, with `published_at`, in Redis.

Transitions: `firing`, `amended` (its numbers changed), `resolved` (it ended), `retracted` (it should not have fired).
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

SCHEMA_VERSION = 1
State = Literal["firing", "amended", "resolved", "retracted"]
ENDS: Final = ("resolved", "retracted")


class RuleRef(msgspec.Struct, frozen=True, kw_only=True):
    """The rule that decided, with its text at that time."""

    id: str
    version: int
    text: str


class Entity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whom the alert is about (entity rules): a customer, perhaps one of his journeys or issues, or an account and no single customer."""

    canonical_id: str = ""
    journey: str = ""
    journey_id: str = ""
    issue_id: str = ""
    account_id: str = ""


class Evidence(msgspec.Struct, frozen=True):
    """One event that caused the alert, and where it lies in the log. `time` is RFC 3339."""

    event_id: str
    type: str
    time: str
    topic: str
    partition: int
    offset: int


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A turn of the episode, RFC 3339. `pending`: the condition began to hold, and had to hold for a while (aggregate rules)."""

    state: Literal["pending", "firing", "amended", "resolved", "retracted"]
    time: str


class Measured(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The numbers put into the rule. k, n and the interval for rates; `signals` for entity rules.

    baseline, delta: what is usual, and how far the value is from it. confidence: of the interval, if it is not 0.95.
    """

    name: str
    value: float | None = None
    k: int | None = None
    n: int | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    confidence: float | None = None
    baseline: float | None = None
    delta: float | None = None
    signals: dict[str, float | int | bool | str] = {}


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The window of an aggregate alert, RFC 3339.

    watermark: every source partition had passed it when this was decided. What comes later, within the allowed lateness, may change the
    numbers, and is told as another transition; empty in alerts of older versions.
    """

    start: str
    end: str
    watermark: str = ""


class Child(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A series that fires under a group's alert, and its numbers."""

    slice: dict[str, str]
    value: float | None = None
    k: int | None = None
    n: int | None = None
    ci_low: float | None = None
    ci_high: float | None = None


class Alert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One transition. Times are RFC 3339 in UTC with milliseconds.

    event_time: of the cause; detected_at: the arrival of the cause or the journalled clock; expires_at: when a consumer may forget an
    episode that nobody ended. timeline: when it began, and this transition. children: of a group, the series that fire, at most 20 of
    `children_count`. during_source_silence: a deadline decided it, and nothing newer had come for a minute in the customer's partition
    of the source. `published_at` exists in Redis only, and `held` in its active set: a storm kept the alert out of the stream.
    """

    alert_id: str
    episode_id: str
    fingerprint: str
    schema_version: int
    state: State
    severity: str
    rule: RuleRef
    entity: Entity | None = None
    slice: dict[str, str] | None = None
    metric: Measured
    window: Window | None = None
    children: list[Child] = []
    children_count: int = 0
    evidence: list[Evidence] = []
    evidence_count: int = 0
    timeline: list[Moment] = []
    why: str
    counterfactual: str = ""
    suggested_action: str = ""
    owner_team: str = ""
    runbook: str = ""
    dashboard: str = ""
    event_time: str
    detected_at: str
    expires_at: str
    during_source_silence: bool = False
    published_at: str | None = None
    held: bool = False

    @property
    def series(self) -> dict[str, str] | None:
        """The labels of the series it is about, also of an account's; None of an alert about a customer, or about no series."""
        if self.entity is not None and self.entity.account_id:
            return {"account": self.entity.account_id}
        return self.slice


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Alert)


def encode(alert: Alert) -> bytes:
    """The record's bytes in Kafka."""
    return _encoder.encode(alert)


def decode(data: bytes) -> Alert:
    """The alert of a record's bytes. Raises msgspec.ValidationError."""
    return _decoder.decode(data)
