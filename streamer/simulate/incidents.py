"""What can go wrong, and the ground truth of it: when, where, and which metrics must move.

A kind says what its slice may name, and lists its moves. The life areas ask `Life.struck`; nothing else knows of incidents.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from streamer.alerts.times import rfc3339
from streamer.durations import parse_duration
from streamer.errors import InputError
from streamer.simulate.people import REGIONS
from streamer.simulate.scenario import CHECKOUT_DEADLINE_MS, HOUR_MS, MOBILE, PLATFORMS, QUEUES, STEPS

if TYPE_CHECKING:
    from collections.abc import Mapping


class Move(NamedTuple):
    """A metric that must move, how much later than the incident it begins and ends to, and the slice it is seen in.

    fixed: what the slice is besides what it shares with the incident. shared: dimensions of the incident's own slice that the metric's
    counters carry; one that the incident leaves open is looked at whole, but `spread` over the platforms.
    """

    metric: str
    direction: Literal["up", "down"]
    fixed: Mapping[str, str] = {}
    shared: tuple[str, ...] = ("region",)
    from_later_ms: int = 0
    until_later_ms: int = 0


class Kind(NamedTuple):
    """A kind of incident. may: the slice's dimensions and their known values. usual: what it is unless a slice is given.

    rules: aggregate rules of the default definitions that are to see it, one of them at least. also: others that may fire for what it does:
    who waited, was passed on, heard nothing or got his order late says so when he is asked about it. What else fires is false.
    effects_ms: how long after its end either may begin to: deadlines, promises and surveys take their time.
    journey: the journey it is about, if one. spread: the platforms on which it strikes; a move is told for each.
    """

    usual: Mapping[str, str]
    may: Mapping[str, tuple[str, ...]]
    moves: tuple[Move, ...]
    rules: tuple[str, ...]
    also: tuple[str, ...] = ()
    effects_ms: int = HOUR_MS
    journey: str = ""
    spread: tuple[str, ...] = ()


_CHECKOUT: Final = {"journey": "checkout"}
_PAYMENT: Final = {"journey": "checkout", "step": "payment"}
_DELIVERY: Final = {"journey": "delivery"}
_CASES: Final = {"journey": "service_case"}
_DEADLINE: Final = CHECKOUT_DEADLINE_MS
_ON_PLATFORM: Final = ("platform", "region")
_ON_STEP: Final = ("step", *_ON_PLATFORM)
_IN_QUEUE: Final = ("channel", "region")
# Customers give up: at once there are fewer orders, and the deadlines of those who left pass half an hour later.
_GIVING_UP: Final = (
    Move("friction_rate", "up", _CHECKOUT, _ON_PLATFORM),
    Move("abandon_rate", "up", _CHECKOUT, _ON_PLATFORM, _DEADLINE, _DEADLINE),
    Move("close_rate", "down", _CHECKOUT, _ON_PLATFORM, _DEADLINE, _DEADLINE),
    Move("close_odds", "down", _CHECKOUT, _ON_PLATFORM, _DEADLINE, _DEADLINE),
    Move("journeys_abandoned", "up", _CHECKOUT, _ON_PLATFORM, _DEADLINE, _DEADLINE),
    Move("journeys_completed", "down", _CHECKOUT, _ON_PLATFORM),
)

# To add a metric of a new chapter, name it in the kinds whose behaviour moves it: that is all, tests/unit/simulate/test_incidents.py
# measures every move. Kept to metrics of the catalogue that the behaviour is made to move, and that move by more than chance.
KINDS: Final[Mapping[str, Kind]] = {
    "payment-outage": Kind(
        {"platform": "ios"},
        {"platform": PLATFORMS, "region": REGIONS},
        (
            *_GIVING_UP,
            Move("step_friction_rate", "up", _PAYMENT, _ON_PLATFORM),
            Move("abandoned_at_step", "up", _PAYMENT, _ON_PLATFORM, _DEADLINE, _DEADLINE),
            Move("cause_signals", "up", {"step": "payment", "cause": "payment_error:provider_unavailable"}, _ON_PLATFORM),
        ),
        rules=("checkout-friction", "checkout-abandonment"),
        journey="checkout",
    ),
    "broken-mobile-step": Kind(
        {"step": "delivery"},
        {"step": STEPS, "platform": MOBILE, "region": REGIONS},
        (
            *_GIVING_UP,
            Move("step_friction_rate", "up", _CHECKOUT, _ON_STEP),
            Move("abandoned_at_step", "up", _CHECKOUT, _ON_STEP, _DEADLINE, _DEADLINE),
            Move("cause_signals", "up", {"cause": "form_error:cannot_submit"}, _ON_STEP),
            Move("digital_signals", "up", {"cause": "field_trouble"}, _ON_STEP),
            Move("field_trouble_rate", "up", shared=_ON_PLATFORM),  # of sessions, which have more than one step
            Move("confusion_rate", "up", shared=_ON_PLATFORM),
        ),
        rules=("checkout-friction", "checkout-abandonment"),
        journey="checkout",
        spread=MOBILE,
    ),
    "slow-queue": Kind(
        {"channel": "phone"},
        {"channel": QUEUES, "region": REGIONS},
        (
            Move("response_in_time_rate", "down", shared=_IN_QUEUE, until_later_ms=HOUR_MS // 4),
            Move("queue_wait_median", "up", shared=_IN_QUEUE, until_later_ms=HOUR_MS // 2),
            Move("queue_wait_p90", "up", shared=_IN_QUEUE, until_later_ms=HOUR_MS // 2),
            Move("switch_rate", "up", shared=_IN_QUEUE),
            Move("channel_switches", "up", until_later_ms=HOUR_MS),
            Move("repeat_rate", "up", until_later_ms=HOUR_MS),
            Move("effort_mean", "up", until_later_ms=HOUR_MS),
            Move("high_effort_rate", "up", until_later_ms=2 * HOUR_MS),
            Move("contacts", "up", until_later_ms=HOUR_MS),
        ),
        rules=("slow-response",),
        also=("csat-drop", "ces-drop"),
    ),
    "transfer-loop": Kind(
        {},
        {"region": REGIONS},
        (
            Move("transfer_rate", "up"),
            Move("cold_transfer_share", "up"),
            Move("repeat_info_rate", "up"),
            Move("generic_rate", "up"),
            Move("response_in_time_rate", "down", until_later_ms=HOUR_MS // 4),
            Move("effort_mean", "up"),
            Move("high_effort_rate", "up"),
            Move("handoff_rate", "up"),
            Move("handoffs", "up", until_later_ms=HOUR_MS),
            Move("handoff_completeness", "down", _CASES, until_later_ms=HOUR_MS),
            Move("handoff_cold_share", "up", _CASES, until_later_ms=HOUR_MS),
            Move("ping_pong_rate", "up"),
            Move("friction_rate", "up", _CASES),
            Move("touchpoints_per_journey", "up", _CASES),
            Move("csat_t2b_experience", "down", _CASES, until_later_ms=HOUR_MS),
            Move("csat_mean_experience", "down", _CASES, until_later_ms=HOUR_MS),
            Move("ces_agree_experience", "down", until_later_ms=HOUR_MS),
            Move("ces_mean_experience", "down", until_later_ms=HOUR_MS),
            Move("ces1_easy_experience", "down", until_later_ms=HOUR_MS),
        ),
        rules=("many-transfers",),
        also=("slow-response", "handoff-failures", "csat-drop", "ces-drop"),
        effects_ms=2 * HOUR_MS,
    ),
    "late-shipments": Kind(
        {},
        {"region": REGIONS},
        (
            Move("on_time_promised_rate", "down", _DELIVERY, from_later_ms=2 * HOUR_MS, until_later_ms=5 * HOUR_MS),
            Move("on_time_requested_rate", "down", _DELIVERY, from_later_ms=2 * HOUR_MS, until_later_ms=5 * HOUR_MS),
            Move("on_time_committed_rate", "down", _DELIVERY, from_later_ms=2 * HOUR_MS, until_later_ms=5 * HOUR_MS),
            Move("contacts", "up", _DELIVERY, from_later_ms=2 * HOUR_MS, until_later_ms=6 * HOUR_MS),
            Move("nps_experience", "down", from_later_ms=4 * HOUR_MS, until_later_ms=2 * HOUR_MS),
            Move("csat_t2b_experience", "down", _DELIVERY, from_later_ms=4 * HOUR_MS, until_later_ms=4 * HOUR_MS),
            Move("csat_mean_experience", "down", _DELIVERY, from_later_ms=4 * HOUR_MS, until_later_ms=4 * HOUR_MS),
        ),
        rules=("late-deliveries",),
        also=("nps-drop", "csat-drop"),  # answers about parcels come for hours
        effects_ms=6 * HOUR_MS,
        journey="delivery",
    ),
    "silent-cases": Kind(
        {},
        {"region": REGIONS},
        (
            Move("silent_case_rate", "up", _CASES, from_later_ms=2 * HOUR_MS, until_later_ms=2 * HOUR_MS),
            Move("silences", "up", _CASES, from_later_ms=2 * HOUR_MS, until_later_ms=2 * HOUR_MS),
            Move("untold_owner_change_rate", "up", _CASES, until_later_ms=24 * HOUR_MS),
            Move("missed_due_date_rate", "up", _CASES, from_later_ms=2 * HOUR_MS, until_later_ms=2 * HOUR_MS),
            Move("information_sent", "down", _CASES),
            Move("status_inquiry_share", "up", from_later_ms=HOUR_MS, until_later_ms=4 * HOUR_MS),
            Move("contacts", "up", _CASES, from_later_ms=HOUR_MS, until_later_ms=4 * HOUR_MS),
            Move("friction_rate", "up", _CASES),
        ),
        rules=("asking-for-status",),
        also=("csat-drop",),
        effects_ms=4 * HOUR_MS,
        journey="service_case",
    ),
    "survey-drop": Kind(
        {},
        {"region": REGIONS},
        (
            Move("nps_experience", "down"),
            Move("nps_relationship", "down"),
            Move("csat_t2b_experience", "down"),
            Move("csat_mean_experience", "down"),
            Move("ces_agree_experience", "down"),
            Move("ces_mean_experience", "down"),
            Move("ces1_easy_experience", "down"),
        ),
        rules=("nps-drop", "csat-drop", "ces-drop"),
    ),
}

_INCIDENT: Final = re.compile(r"(?P<kind>[a-z-]+)(?P<slice>(?::[a-z]+=[a-z-]+)*)@(?P<sign>[+-])(?P<at>[0-9a-z]+),(?P<length>[0-9a-z]+)")


class Incident(NamedTuple):
    """Something that goes wrong. slice: (dimension, value) pairs. Times in milliseconds since the epoch; end is exclusive."""

    kind: str
    slice: tuple[tuple[str, str], ...]
    start_ms: int
    end_ms: int

    def strikes(self, time_ms: float, where: Mapping[str, str]) -> bool:
        """Whether it is going on there and then."""
        return self.start_ms <= time_ms < self.end_ms and all(where.get(dimension) == value for dimension, value in self.slice)

    def moves(self) -> list[tuple[Move, dict[str, str], int, int]]:
        """Each metric that must move, with the slice, and from when until when."""
        kind, own = KINDS[self.kind], dict(self.slice)
        places = [{"platform": platform} for platform in kind.spread] if kind.spread and "platform" not in own else [{}]
        return [
            (
                move,
                {**move.fixed, **place, **{name: own[name] for name in move.shared if name in own}},
                self.start_ms + move.from_later_ms,
                self.end_ms + move.until_later_ms,
            )
            for move in kind.moves
            for place in places
        ]

    def label(self) -> dict[str, Any]:
        """The ground truth as JSON: when, where, which metrics must move where and when, and which rules may fire until when."""
        kind = KINDS[self.kind]
        return {
            "incident": self.kind,
            "start": rfc3339(self.start_ms),
            "end": rfc3339(self.end_ms),
            "slice": ({"journey": kind.journey} if kind.journey else {}) | dict(self.slice),
            "metrics": [
                {"metric": move.metric, "direction": move.direction, "slice": where, "from": rfc3339(from_ms), "until": rfc3339(until_ms)}
                for move, where, from_ms, until_ms in self.moves()
            ],
            "rules": list(kind.rules),
            "also": list(kind.also),
            "effects_until": rfc3339(self.end_ms + kind.effects_ms),
        }


def parse_incident(text: str, *, start_ms: int, now_ms: int, end_ms: int | None = None) -> Incident:
    """An incident such as `payment-outage@+10m,5m`: 10 minutes after the start, for 5 minutes.

    `@-31m,6m` counts back from `now_ms` (the end of the past). `payment-outage:platform=android:region=us-east` says where; what is not
    said is as usual for the kind. end_ms: when the simulation ends, if it does. Raises InputError.
    """

    def wrong(what: str) -> InputError:
        return InputError(f"--incident {text!r}: {what}")

    match = _INCIDENT.fullmatch(text)
    if match is None:
        raise wrong("expected e.g. payment-outage@+10m,5m or payment-outage:platform=android@-31m,6m")
    kind = KINDS.get(match["kind"])
    if kind is None:
        raise wrong(f"unknown incident; known are {', '.join(KINDS)}")
    where, said = dict(kind.usual), set[str]()
    for pair in match["slice"].split(":")[1:]:
        name, _, value = pair.partition("=")
        if name not in kind.may:
            raise wrong(f"{match['kind']} cannot be limited by {name}, but by {', '.join(kind.may)}")
        if value not in kind.may[name]:
            raise wrong(f"unknown {name}; known are {', '.join(kind.may[name])}")
        if name in said:
            raise wrong(f"{name} is said twice: say --incident once for each")
        said.add(name)
        where[name] = value
    try:
        at_ms, length_ms = parse_duration(match["at"]), parse_duration(match["length"])
    except ValueError as exc:
        raise wrong(str(exc)) from exc
    begin_ms = start_ms + at_ms if match["sign"] == "+" else now_ms - at_ms
    if length_ms == 0:
        raise wrong("it lasts no time")
    if begin_ms + length_ms <= start_ms or (end_ms is not None and begin_ms >= end_ms):
        until = "" if end_ms is None else f" to {rfc3339(end_ms)}"
        raise wrong(f"nobody is simulated while it lasts, only from {rfc3339(start_ms)}{until}")
    return Incident(match["kind"], tuple(sorted(where.items())), begin_ms, begin_ms + length_ms)
