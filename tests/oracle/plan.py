"""Definitions as the recount reads them: a dict from `tomllib`, with the documented defaults filled in. No code of the product.

An event is a dict: `time` (milliseconds), `offset`, `id`, `source`, `type`, `channel`, and any of the optional flat fields
(`checkout_id`, `issue_id`, `team`, `handoff_kind`, ...). What is not there is `""` or None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Event = Mapping[str, Any]

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def duration_ms(text: str) -> int:
    unit = "ms" if text.endswith("ms") else text[-1]
    return int(text.removesuffix(unit)) * _UNITS_MS[unit]


class JourneyPlan(NamedTuple):
    id: str
    roles: dict[str, list[str]]
    identified_by: list[str]
    deadline: int
    recoverable_for: int

    def role(self, event: Event) -> str | None:
        """The event's role in this journey: the first of start, complete, fail, activity that names its type."""
        if event["type"].startswith("journey.") and event.get("journey", "") != self.id:
            return None
        return next((role for role, patterns in self.roles.items() if matches(event["type"], patterns)), None)

    def ids(self, event: Event) -> dict[str, str]:
        """The event's values of the ids that tell instances of this journey apart, strongest first."""
        fields = {name: event.get("session_id" if name == "session" else name) or "" for name in self.identified_by}
        return {name: value for name, value in fields.items() if value}


class Plan(NamedTuple):
    journeys: list[JourneyPlan]
    contacts: dict[str, Any]
    window: int
    repeat_within: int
    tenths: dict[str, int]
    medium_tenths: int
    high_tenths: int
    cases: dict[str, Any]
    retention: int
    dimensions: list[str]
    rules: list[dict[str, Any]]


def matches(kind: str, patterns: list[str]) -> bool:
    return any(kind.startswith(p[:-1]) if p.endswith(".*") else kind == p for p in patterns)


def plan_of(definitions: Mapping[str, Any]) -> Plan:
    contacts = {
        "scope": "issue",
        "started": ["contact.started"],
        "resolved": ["contact.ended", "case.resolved", "case.closed"],
        "reopened": ["case.reopened"],
        "transferred": ["contact.transferred"],
        "routing": ["ivr"],
        "switch_on": ["contact.started", "knowledge.searched"],
        "window": "72h",
        "repeat_within": "7d",
        "channel_groups": {},
        **definitions.get("contacts", {}),
    }
    effort = {
        "repeat_contact": 3, "cold_transfer": 2, "warm_transfer": 1, "channel_switch": 1.5, "ping_pong": 1, "medium": 2, "high": 5,
        **definitions.get("effort", {}),
    }  # fmt: skip
    tenths = {name: round(points * 10) for name, points in effort.items()}
    cases = {
        "events": ["case.*", "handoff.accepted"],
        "owner": ["owner", "to_team", "team"],
        "journey": "service_case",
        "retention": "90d",
        **definitions.get("cases", {}),
    }
    by = [dimension for part in definitions.get("slice", []) for dimension in part["by"]]
    return Plan(
        [_journey(part) for part in definitions.get("journey", [])],
        contacts,
        duration_ms(contacts["window"]),
        duration_ms(contacts["repeat_within"]),
        tenths,
        tenths["medium"],
        tenths["high"],
        cases,
        duration_ms(cases["retention"]),
        list(dict.fromkeys(by)),
        [rule for rule in definitions.get("rule", []) if "on" in rule],
    )


def _journey(part: Mapping[str, Any]) -> JourneyPlan:
    return JourneyPlan(
        part["id"],
        {role: part.get(role, []) for role in ("start", "complete", "fail", "activity")},
        part.get("identified_by", ["journey_id", "checkout_id", "order_id", "cart_id", "session"]),
        duration_ms(part.get("deadline", "30m")),
        duration_ms(part.get("recoverable_for", "24h")),
    )


class Moment(NamedTuple):
    """A point in the customer's history. phase: 0 abandonment, 1 end of recoverability, 2 repeats leaving their window,
    3 issues ending, 4 cases ending, 5 an event, which comes after every deadline of its time. seen: how many events there have been."""

    time: int
    phase: int
    seen: int

    def fired(self, deadline: int, kind: int) -> bool:
        return (deadline, kind) <= (self.time, self.phase)


ABANDONMENT, RECOVERABILITY, REPEATS, ISSUES, CASES, EVENT = range(6)
