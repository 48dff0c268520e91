"""Service (E2, E3, E5, E6): information asked for again, generic service, and when contacts are answered and resolved.

An issue here is what has the same issue_id, else case_id, else reason; what names none of them goes on with the issue that the
customer's last event belonged to. It ends `contacts.window` after its last event.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streamer.journeys.chapter import Chapter, next_end
from streamer.journeys.chapters.first_contact import FirstContact
from streamer.journeys.contacts import is_routed
from streamer.journeys.exemplars import cause_in, evidence
from streamer.journeys.plan import PLANS_MAX, is_by_customer, matches
from streamer.metrics.chapters import service
from streamer.metrics.counters import Counter

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.journeys.cells import Cells
    from streamer.journeys.sinks import Sink
    from streamer.journeys.state import Kept, State
    from streamer.rules.language import Value
    from streamer.touchpoints.touchpoint import Touchpoint

# Beyond these the oldest goes, and of an issue's fields the newest is not remembered.
WAITING_MAX: Final = 50
TEMPLATES_MAX: Final = 20
FIELDS_MAX: Final = 50

_INFORMED: Final = int(Counter.CONTACTS_INFORMED)
_REPEATING: Final = int(Counter.CONTACTS_REPEATING)
_HANDLED: Final = int(Counter.CONTACTS_HANDLED)
_GENERIC: Final = int(Counter.CONTACTS_GENERIC)
# list -> (due, in time)
_WAITS: Final = {
    "unanswered": (int(Counter.CONTACTS_RESPONSE_DUE), int(Counter.CONTACTS_ANSWERED_IN_TIME)),
    "unresolved": (int(Counter.CONTACTS_RESOLUTION_DUE), int(Counter.CONTACTS_RESOLVED_IN_TIME)),
}
# list -> the list of those whose deadline has passed
_LATE: Final = {"unanswered": "unanswered_late", "unresolved": "unresolved_late"}
# list -> (counters of the times, upper bounds)
_TIMES: Final = {
    "unanswered": (tuple(int(c) for c in service.FIRST_RESPONSES), tuple(int(edge * 1000) for edge in service.FIRST_RESPONSE_EDGES)),
    "unresolved": (tuple(int(c) for c in service.RESOLUTIONS), tuple(int(edge * 1000) for edge in service.RESOLUTION_EDGES)),
}
_QUEUE_WAITS: Final = tuple(int(counter) for counter in service.QUEUE_WAITS)
_QUEUE_WAIT_EDGES_MS: Final = tuple(int(edge * 1000) for edge in service.QUEUE_WAIT_EDGES)
_WAIT_TYPES: Final = ("contact.handled", "contact.ended")
# What an issue knows of an identity check: there was none, there was one, and people changed since.
_UNVERIFIED: Final = 0
_VERIFIED: Final = 1
_VERIFIED_BY_OTHERS: Final = 2
# Of a contact in an issue: when, its packed cell, whether something is known before, whether something was asked for again.
_TIME: Final = 0
_CELL: Final = 1
_IS_INFORMED: Final = 2
_REPEATS: Final = 3


class _Roles(NamedTuple):
    """What an event type can be."""

    starts: bool
    reopens: bool
    moves: bool
    resolves: bool
    responds: bool


class Service(Chapter):
    """data: `issues`: name -> issue; `latest`: the name of the last event's; `unanswered`, `unresolved`: [time, name, packed cell] of
    contacts, the oldest first, until their deadline; `unanswered_late`, `unresolved_late`: the same from then on, while their issue is
    open. An issue: `begun`, `last` times, `contact` (see above) or None, `moved`, `verified`, `fields`: name -> captures, `templates`:
    [time, packed cell], `fallbacks`, `repeats`, the latest `reason` told. And what `FirstContact` keeps.
    """

    id = "service"

    def __init__(self, definitions: Definitions, cells: Cells, evidenced: bytes) -> None:
        super().__init__(definitions, cells, evidenced)
        settings, contacts = definitions.service, definitions.contacts
        assert settings is not None  # noqa: S101  otherwise the chapter is off
        self._contacts = contacts
        self._moved, self._routing = (*contacts.transferred, *settings.handed_over), frozenset(contacts.routing)
        self._responded = settings.responded
        own = ("info.captured", "auth.verified", "contact.handled")
        self._own = frozenset(own)
        self.types = (*own, "contact.ended", *contacts.started, *contacts.reopened, *contacts.resolved, *self._moved, *settings.responded)
        self._roles: dict[str, _Roles] = {}
        self._window_ms, self._issue_limit = int(contacts.window), definitions.limits.issues_per_customer
        self._template_within = int(settings.template_within)
        wanted = bool(self.evidenced[int(Counter.FIRST_CONTACTS_DUE)])
        self._first_contact = FirstContact(int(contacts.repeat_within), cells, keeps_events=wanted)
        effort = definitions.effort
        self._asked_tenths, self._generic_tenths = round(effort.repeated_field * 10), round(effort.generic * 10)
        self._within = {"unanswered": int(settings.response_within), "unresolved": int(settings.resolution_within)}

    def is_evidence(self, event: Touchpoint) -> bool:
        """Of asking again and of generic service."""
        return event.type in self._own or self._roles_of(event.type).moves

    def _roles_of(self, event_type: str) -> _Roles:
        roles = self._roles.get(event_type)
        if roles is None:
            contacts = self._contacts
            roles = _Roles(
                matches(event_type, contacts.started),
                matches(event_type, contacts.reopened),
                matches(event_type, self._moved),
                matches(event_type, contacts.resolved),
                matches(event_type, self._responded),
            )
            if len(self._roles) < PLANS_MAX:
                self._roles[event_type] = roles
        return roles

    def apply(self, kept: Kept, event: Touchpoint, state: State, sink: Sink) -> int:
        """Fold one event; asking again and generic service are friction."""
        self.moved, self.effort_tenths = self.first_look and not kept.data, 0
        roles, details = self._roles_of(event.type), event.details
        if details is not None and details.wait_ms is not None and event.type in _WAIT_TYPES:
            cell = self.cells.own(event)
            sink.count(_QUEUE_WAITS[bisect_left(_QUEUE_WAIT_EDGES_MS, details.wait_ms)], cell, event.time)
        contact = roles.reopens or (roles.starts and is_by_customer(event))
        machine = event.initiator == "system" or (details is not None and details.human is False)
        responds = roles.responds and not contact and not machine
        resolves = roles.resolves and event.resolved is not False
        moves = roles.moves and not is_routed(event, self._routing)
        field = details.info_field if details is not None and event.type == "info.captured" else ""
        verifies, handles = event.type == "auth.verified", event.type == "contact.handled"
        if not (contact or moves or responds or roles.resolves or field or verifies or handles):
            return 0
        name = self._name(kept, event)
        issue = self._issue(kept, name, event, sink)
        if responds:
            self._served(kept, "unanswered", name, event.time, sink)
        if resolves:
            self._served(kept, "unresolved", name, event.time, sink)
        if roles.resolves:
            self._first_contact.ended(kept.data, name, issue["reason"], event, sink)
        friction = self._contact(kept, issue, name, event, sink) if contact else 0
        again = 0
        if moves:
            again += self._move(issue, event, sink)
        asked = self._capture(issue, field, sink) if field else 0
        if verifies:
            asked += int(issue["verified"] == _VERIFIED_BY_OTHERS)
            issue["verified"] = _VERIFIED
        if again or asked or field or handles:
            self.moved = True
        if again or asked:
            self._ask_again(issue, again + asked, sink)
        if handles:
            friction += self._handle(issue, event, sink)
        self.set_due(kept)
        self.effort_tenths = asked * self._asked_tenths + friction * self._generic_tenths
        return friction + asked

    def _name(self, kept: Kept, event: Touchpoint) -> str:
        if event.issue_id or event.case_id:
            return "i:" + (event.issue_id or event.case_id)
        if event.reason:
            return "r:" + event.reason
        latest: str = kept.data.get("latest", "")
        return latest

    def _issue(self, kept: Kept, name: str, event: Touchpoint, sink: Sink) -> dict[str, Any]:
        issues: dict[str, dict[str, Any]] = kept.data.setdefault("issues", {})
        issue = issues.get(name)
        if issue is None:
            if len(issues) >= self._issue_limit:
                oldest = min(issues, key=lambda other: (issues[other]["last"], other))
                del issues[oldest]
                self.moved = True
                self._forget_late(kept, oldest)
                sink.note("cut_service_issues")
            issue = issues[name] = {
                "begun": event.time, "last": 0, "contact": None, "moved": False, "verified": _UNVERIFIED, "fields": {}, "templates": [],
                "fallbacks": 0, "repeats": 0,
            }  # fmt: skip
        issue["last"], issue["reason"] = event.time, event.reason or issue.get("reason", "")
        kept.data["latest"] = name
        return issue

    def _served(self, kept: Kept, wait: str, name: str, now: int, sink: Sink) -> None:
        """Every contact of the issue that waits has got what it waits for, in time or late."""
        due, in_time = _WAITS[wait]
        counters, edges = _TIMES[wait]
        for where in (wait, _LATE[wait]):
            for time, _, packed, *_ in _taken(kept, where, name):
                cell = self.cells.unpack(packed)
                if where == wait:
                    sink.count(due, cell, now)
                    sink.count(in_time, cell, now)
                sink.count(counters[bisect_left(edges, now - time)], cell, now)

    def _contact(self, kept: Kept, issue: dict[str, Any], name: str, event: Touchpoint, sink: Sink) -> int:
        """A contact begins; returns how many templates before it have been no help."""
        self._first_contact.contacted(kept.data, name, issue["reason"], event, sink)
        unhelpful = [one for one in issue["templates"] if event.time - one[0] <= self._template_within]
        for time, packed in unhelpful:
            sink.count(_GENERIC, self.cells.unpack(packed), time)
        issue["templates"] = []
        cell = self.cells.own(event)
        informed = issue["contact"] is not None or issue["moved"]
        issue["contact"] = [event.time, cell.packed, informed, False]
        if informed:
            sink.count(_INFORMED, cell, event.time)
        for wait in _WAITS:
            waiting: list[list[Any]] = kept.data.setdefault(wait, [])
            if len(waiting) >= WAITING_MAX:
                del waiting[0]
                sink.note("cut_waiting_contacts")
            waiting.append([event.time, name, cell.packed, *evidence(event, wanted=bool(self.evidenced[_WAITS[wait][0]]))])
        return len(unhelpful)

    def _move(self, issue: dict[str, Any], event: Touchpoint, sink: Sink) -> int:
        """Other people have the issue now; returns 1 if they know nothing of it."""
        issue["moved"] = True
        if issue["verified"]:
            issue["verified"] = _VERIFIED_BY_OTHERS
        contact = issue["contact"]
        if contact is not None and not contact[_IS_INFORMED]:
            contact[_IS_INFORMED] = True
            cell = self.cells.unpack(contact[_CELL])
            sink.count(_INFORMED, cell, contact[_TIME])
            if contact[_REPEATS]:
                sink.count(_REPEATING, cell, contact[_TIME])
        return int(event.handoff_kind == "cold" or (event.handoff_kind != "warm" and event.context_passed is False))

    def _capture(self, issue: dict[str, Any], field: str, sink: Sink) -> int:
        """The customer gives a piece of information; returns 1 if not for the first time."""
        fields: dict[str, int] = issue["fields"]
        if field not in fields and len(fields) >= FIELDS_MAX:
            sink.note("cut_info_fields")
            return 0
        fields[field] = fields.get(field, 0) + 1
        return int(fields[field] > 1)

    def _ask_again(self, issue: dict[str, Any], times: int, sink: Sink) -> None:
        issue["repeats"] += times
        contact = issue["contact"]
        if contact is None or contact[_REPEATS]:
            return
        contact[_REPEATS] = True
        if contact[_IS_INFORMED]:
            sink.count(_REPEATING, self.cells.unpack(contact[_CELL]), contact[_TIME])

    def _handle(self, issue: dict[str, Any], event: Touchpoint, sink: Sink) -> int:
        """A contact was handled; returns 1 if in a generic way."""
        cell, details = self.cells.own(event), event.details
        sink.count(_HANDLED, cell, event.time)
        if details is None:
            return 0
        issue["fallbacks"] = max(issue["fallbacks"], details.bot_fallbacks)
        if details.bot_fallbacks >= 1 or details.profile_viewed is False or details.tag == "generic":
            sink.count(_GENERIC, cell, event.time)
            return 1
        if details.template_id:
            templates: list[list[Any]] = issue["templates"]
            if len(templates) >= TEMPLATES_MAX:
                del templates[0]
                sink.note("cut_templates")
            templates.append([event.time, cell.packed])
        return 0

    def set_due(self, kept: Kept) -> None:
        """When the first of what is kept is over."""
        due = next_end(kept.data.get("issues", {}), "last", self._window_ms)
        for wait, within in self._within.items():
            if waiting := kept.data.get(wait):
                due = min(due, waiting[0][0] + within)
        kept.due = min(due, self._first_contact.next_due(kept.data))

    def fire(self, kept: Kept, due: int, state: State, sink: Sink) -> None:
        """Count contacts that have waited too long, and what nobody came back about; forget issues that have ended."""
        self._first_contact.fire(kept.data, due, sink)
        for wait, within in self._within.items():
            waiting: list[list[Any]] = kept.data.get(wait, [])
            while waiting and waiting[0][0] + within <= due:
                time, name, packed, *cause = waiting.pop(0)
                sink.at_deadline(cause_in(cause))
                sink.count(_WAITS[wait][0], self.cells.unpack(packed), time + within)
                self._keep_late(kept, wait, [time, name, packed], sink)
            if not waiting:
                kept.data.pop(wait, None)
        issues: dict[str, dict[str, Any]] = kept.data.get("issues", {})
        for name in [name for name, issue in issues.items() if issue["last"] + self._window_ms <= due]:
            del issues[name]
            self._forget_late(kept, name)
        if not issues:
            kept.data.pop("issues", None)
            kept.data.pop("latest", None)
            kept.causes, kept.cause_count = [], 0
        self.set_due(kept)

    def _keep_late(self, kept: Kept, wait: str, contact: list[Any], sink: Sink) -> None:
        """Its deadline has passed. It may still get what it waits for, while the issue that it began or belongs to is open."""
        issue = kept.data.get("issues", {}).get(contact[1])
        # Rows of earlier builds do not tell when an issue began.
        if issue is None or issue.get("begun", 0) > contact[0]:
            return
        late: list[list[Any]] = kept.data.setdefault(_LATE[wait], [])
        if len(late) >= WAITING_MAX:
            del late[0]
            sink.note("cut_late_contacts")
        late.append(contact)

    def _forget_late(self, kept: Kept, name: str) -> None:
        for late in _LATE.values():
            _taken(kept, late, name)

    def signal(self, kept: Kept, name: str) -> Value:
        """Of the open issues."""
        issues: list[dict[str, Any]] = list(kept.data.get("issues", {}).values())
        if name == "captures_of_field":
            return max((int(n) for issue in issues for n in issue["fields"].values()), default=0)
        if name == "info_repeats":
            return sum(int(issue["repeats"]) for issue in issues)
        return max((int(issue["fallbacks"]) for issue in issues), default=0)


def _taken(kept: Kept, where: str, name: str) -> list[list[Any]]:
    """The contacts of an issue out of a list, which goes when it is empty."""
    waiting: list[list[Any]] = kept.data.get(where, [])
    taken = [one for one in waiting if one[1] == name]
    if len(taken) == len(waiting):
        kept.data.pop(where, None)
    elif taken:
        kept.data[where] = [one for one in waiting if one[1] != name]
    return taken
