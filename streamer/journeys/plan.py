"""What an event type means under the definitions, worked out once per type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final, NamedTuple

from streamer.definitions import Definitions, Journey
from streamer.touchpoints.touchpoint import Touchpoint

START: Final = 1
COMPLETE: Final = 2
FAIL: Final = 3
ACTIVITY: Final = 4

# Friction signals by themselves (design section 6); effort signals count as friction too, see `fold.py`.
FRICTION_TYPES: Final = frozenset({"payment.failed", "form.error", "friction.signal"})
LINK_TYPE: Final = "identity.linked"

# Types seen per process are bounded, because producers name them.
PLANS_MAX: Final = 10_000


class JourneyPlan(NamedTuple):
    """A journey with the readers of its ids, strongest first. `session` is read from session_id."""

    definition: Journey
    readers: tuple[tuple[str, Callable[[Touchpoint], str]], ...]


class Plan(NamedTuple):
    """What one event type does. journeys: (journey, role) it takes part in; journey: the first one's id, or empty.

    active: False if such an event changes nothing but the count of touchpoints.
    """

    journeys: tuple[tuple[JourneyPlan, int], ...]
    journey: str
    starts_contact: bool
    switches: bool
    transfers: bool
    resolves: bool
    reopens: bool
    contact: bool
    case: bool
    friction: bool
    links: bool
    active: bool


def matches(event_type: str, patterns: Sequence[str]) -> bool:
    """True if a pattern names the type, or its beginning with `.*`."""
    return any(event_type == p or (p.endswith(".*") and event_type.startswith(p[:-1])) for p in patterns)


class Plans:
    """The plans of a definitions file, per event type and, for `journey.*` types, per journey named in the event."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self.journeys = tuple(
            JourneyPlan(j, tuple((name, attrgetter("session_id" if name == "session" else name)) for name in j.identified_by))
            for j in definitions.journey
        )
        self.by_id = {plan.definition.id: plan for plan in self.journeys}
        self._plans: dict[str, Plan] = {}
        self._named: dict[tuple[str, str], Plan] = {}

    def of(self, event: Touchpoint) -> Plan:
        """The plan for an event."""
        plan = self._plans.get(event.type)
        if plan is not None:
            return plan
        if event.type.startswith("journey."):
            plan = self._named.get((event.type, event.journey))
            if plan is None:
                plan = self._make(event.type, event.journey)
                if len(self._named) < PLANS_MAX:
                    self._named[event.type, event.journey] = plan
            return plan
        plan = self._make(event.type, "")
        if len(self._plans) < PLANS_MAX:
            self._plans[event.type] = plan
        return plan

    def _make(self, event_type: str, named: str) -> Plan:
        contacts = self._definitions.contacts
        roles = []
        for journey in self.journeys:
            role = _role(journey.definition, event_type)
            if role and (not event_type.startswith("journey.") or named == journey.definition.id):
                roles.append((journey, role))
        starts, switches = matches(event_type, contacts.started), matches(event_type, contacts.switch_on)
        transfers, resolves = matches(event_type, contacts.transferred), matches(event_type, contacts.resolved)
        reopens = matches(event_type, contacts.reopened)
        contact = starts or switches or transfers or resolves or reopens
        case, friction = matches(event_type, self._definitions.cases.events), event_type in FRICTION_TYPES
        links = event_type == LINK_TYPE
        return Plan(
            tuple(roles),
            roles[0][0].definition.id if roles else "",
            starts,
            switches,
            transfers,
            resolves,
            reopens,
            contact,
            case,
            friction,
            links,
            bool(roles) or contact or case or friction or links,
        )


def _role(journey: Journey, event_type: str) -> int:
    for role, patterns in ((START, journey.start), (COMPLETE, journey.complete), (FAIL, journey.fail), (ACTIVITY, journey.activity)):
        if matches(event_type, patterns):
            return role
    return 0
