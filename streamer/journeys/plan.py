"""What an event type means under the definitions, worked out once per type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final, final

from streamer.definitions import Definitions, Journey
from streamer.journeys.chapter import Chapter
from streamer.touchpoints.key import LINK_TYPE
from streamer.touchpoints.touchpoint import Touchpoint

START: Final = 1
COMPLETE: Final = 2
FAIL: Final = 3
ACTIVITY: Final = 4

# Friction signals by themselves (design section 6); effort signals count as friction too, see `fold.py`.
FRICTION_TYPES: Final = frozenset({"payment.failed", "form.error", "friction.signal"})

# Types seen per process are bounded, because producers name them.
PLANS_MAX: Final = 10_000


@final
class JourneyPlan:
    """A journey with the readers of its ids, strongest first. `session` is read from session_id."""

    __slots__ = ("deadline_ms", "definition", "id", "readers", "recoverable_ms")

    def __init__(self, definition: Journey) -> None:
        self.definition = definition
        self.id = definition.id
        self.deadline_ms = int(definition.deadline)
        self.recoverable_ms = int(definition.recoverable_for)
        self.readers: list[tuple[str, Callable[[Touchpoint], str]]] = [
            (name, attrgetter("session_id" if name == "session" else name)) for name in definition.identified_by
        ]


@final
class Plan:
    """What one event type does. journeys: (journey, role) it takes part in; journey: the first one's id, or empty.

    watched: those of the chapters that rules look at. active: False if such an event changes nothing but the count of touchpoints.
    for_chapters: it concerns nothing but chapters.
    """

    __slots__ = (
        "active", "case", "chapters", "contact", "for_chapters", "friction", "journey", "journeys", "links", "reopens", "resolves",
        "starts_contact", "switches", "transfers", "watched",
    )  # fmt: skip

    def __init__(
        self, journeys: list[tuple[JourneyPlan, int]], event_type: str, definitions: Definitions, chapters: Sequence[Chapter]
    ) -> None:
        contacts = definitions.contacts
        self.journeys = journeys
        self.journey = journeys[0][0].id if journeys else ""
        self.starts_contact, self.switches = matches(event_type, contacts.started), matches(event_type, contacts.switch_on)
        self.transfers, self.resolves = matches(event_type, contacts.transferred), matches(event_type, contacts.resolved)
        self.reopens = matches(event_type, contacts.reopened)
        self.contact = self.starts_contact or self.switches or self.transfers or self.resolves or self.reopens
        self.case, self.friction = matches(event_type, definitions.cases.events), event_type in FRICTION_TYPES
        self.links = event_type == LINK_TYPE
        self.chapters = [chapter for chapter in chapters if matches(event_type, chapter.types)]
        self.watched = [chapter for chapter in self.chapters if chapter.watched]
        core = bool(journeys) or self.contact or self.case or self.friction or self.links
        self.active, self.for_chapters = core or bool(self.chapters), not core


def is_by_customer(event: Touchpoint) -> bool:
    """Whether the customer did it; who says nothing of that means him."""
    return event.initiator not in ("company", "system")


def matches(event_type: str, patterns: Sequence[str]) -> bool:
    """True if a pattern names the type, or its beginning with `.*`."""
    return any(event_type == p or (p.endswith(".*") and event_type.startswith(p[:-1])) for p in patterns)


class Plans:
    """The plans of a definitions file, per event type and, for `journey.*` types, per journey named in the event."""

    def __init__(self, definitions: Definitions, chapters: Sequence[Chapter] = ()) -> None:
        self._definitions = definitions
        self._chapters = chapters
        self.journeys = [JourneyPlan(journey) for journey in definitions.journey]
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
        roles = []
        for journey in self.journeys:
            role = _role(journey.definition, event_type)
            if role and (not event_type.startswith("journey.") or named == journey.id):
                roles.append((journey, role))
        return Plan(roles, event_type, self._definitions, self._chapters)


def _role(journey: Journey, event_type: str) -> int:
    for role, patterns in ((START, journey.start), (COMPLETE, journey.complete), (FAIL, journey.fail), (ACTIVITY, journey.activity)):
        if matches(event_type, patterns):
            return role
    return 0
