"""Communication (H5, H6): what the customer of an open case hears, and who answers for it."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streamer.journeys.chapter import Chapter
from streamer.journeys.exemplars import cause_in, evidence, kept_cause
from streamer.journeys.plan import PLANS_MAX, is_by_customer, matches
from streamer.journeys.state import NEVER, packed_cause_of
from streamer.metrics.counters import Counter

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.journeys.cells import Cell, Cells
    from streamer.journeys.sinks import Sink
    from streamer.journeys.state import Kept, State
    from streamer.rules.language import Value
    from streamer.touchpoints.touchpoint import Touchpoint

# Plain integers, because an enumeration's members cost twice.
_ANSWER_DUE: Final = int(Counter.CASES_ANSWER_DUE)
_SILENT: Final = int(Counter.CASES_SILENT)
_SILENCES: Final = int(Counter.SILENCES)
_ASKING: Final = int(Counter.CONTACTS_ASKING)
_ABOUT_STATUS: Final = int(Counter.CONTACTS_ABOUT_STATUS)
_OWNER_DUE: Final = int(Counter.CASES_OWNER_DUE)
_UNOWNED: Final = int(Counter.CASES_UNOWNED)
_CHANGES_DUE: Final = int(Counter.OWNER_CHANGES_DUE)
_UNTOLD: Final = int(Counter.OWNER_CHANGES_UNTOLD)
_DUE_DATES: Final = int(Counter.DUE_DATES)
_MISSED: Final = int(Counter.DUE_DATES_MISSED)
# Changes of owner of one case that wait to be told.
_CHANGES_MAX: Final = 20

# What is kept of a case: cell: of its opening; heard: when the customer heard from us last, or the opening; severity; owner;
# touched: its latest event; silent, was_silent: now, ever; unowned; silent_due, owner_due: when it will be, or 0; changes: of owner,
# not told yet. Where a rule wants the events behind what deadlines count: opened, heard_of: of the opening and of heard; and of a change.
# Once a due date has been told: due_date: the latest; date_due: the same until it has come, or 0; acted: whether the owner has done
# something since; overdue: whether it has come without that; promised: the event that told it, where a rule wants it.
_Case = dict[str, Any]


class _Role(NamedTuple):
    """What events of one type do."""

    opens: bool
    closes: bool
    tells: bool
    starts_contact: bool
    of_case: bool


class Communication(Chapter):
    """data: the open cases."""

    id = "communication"

    def __init__(self, definitions: Definitions, cells: Cells, evidenced: bytes) -> None:
        super().__init__(definitions, cells, evidenced)
        assert definitions.communication is not None  # noqa: S101  otherwise the chapter is off
        self._care = care = definitions.communication
        started, of_cases = definitions.contacts.started, definitions.cases.events
        self.types = tuple(dict.fromkeys((*care.opened, *care.closed, *care.messages, *started, *of_cases)))
        self._owners = tuple(attrgetter(name) for name in definitions.cases.owner)
        self._silent_after = int(care.silent_after)
        self._silent_after_high = int(care.silent_after_high)
        self._owner_within = int(care.owner_within)
        self._notice_within = int(care.notice_within)
        self._forget_after = int(care.forget_after)
        self._limit = definitions.limits.cases_per_customer
        self._roles: dict[str, _Role] = {}
        self._keeps_events = any(self.evidenced[counter] for counter in (_SILENT, _SILENCES, _UNOWNED, _UNTOLD, _MISSED))

    def apply(self, kept: Kept, event: Touchpoint, state: State, sink: Sink) -> int:
        """A case opens, goes on or closes; a customer asks; or hears something."""
        role = self._role_of(event.type)
        key = event.case_id or event.issue_id or event.journey_id
        case: _Case | None = kept.data.get(key)
        if role.starts_contact and is_by_customer(event):
            self._count_contact(event, sink)
        if role.closes:
            if case is not None:
                self._close(case, event.time, sink)
                del kept.data[key]
            self.set_due(kept)
            return 0
        hears = role.tells or (role.starts_contact and event.initiator == "company")
        owner = next((name for read in self._owners if (name := read(event))), "") if role.of_case else ""
        if case is not None:
            if "due_date" in case and event.initiator not in ("customer", "system") and (hears or (owner and owner == case["owner"])):
                case["acted"], case["overdue"] = True, False
            self._go_on(case, event, owner, sink)
        elif role.opens and key:
            case = self._open(kept, key, event, owner, sink)
        if case is not None:
            self._promise(case, event)
        if hears:
            for told in [kept.data[key]] if key in kept.data else [] if key else kept.data.values():
                self._hear(told, event, sink)
        self.set_due(kept)
        return 0

    def _role_of(self, event_type: str) -> _Role:
        role = self._roles.get(event_type)
        if role is None:
            care, definitions = self._care, self.definitions
            role = _Role(
                matches(event_type, care.opened),
                matches(event_type, care.closed),
                matches(event_type, care.messages),
                matches(event_type, definitions.contacts.started),
                matches(event_type, definitions.cases.events),
            )
            if len(self._roles) < PLANS_MAX:
                self._roles[event_type] = role
        return role

    def _count_contact(self, event: Touchpoint, sink: Sink) -> None:
        cell = self.cells.own(event)
        sink.count(_ASKING, cell, event.time)
        if event.reason in self._care.status_reasons:
            sink.count(_ABOUT_STATUS, cell, event.time)

    def _open(self, kept: Kept, key: str, event: Touchpoint, owner: str, sink: Sink) -> _Case:
        if len(kept.data) >= self._limit:
            oldest = min(kept.data, key=lambda one: (kept.data[one]["touched"], one))
            del kept.data[oldest]
            sink.note("cut_communication")
        t, cell = event.time, self.cells.own(event)
        case: _Case = {
            "cell": cell.packed, "heard": t, "severity": event.severity, "owner": owner, "touched": t,
            "silent": False, "was_silent": False, "unowned": False,
            "silent_due": t + self._within(event.severity), "owner_due": 0 if owner else t + self._owner_within, "changes": [],
        }  # fmt: skip
        if self._keeps_events:
            case["opened"] = case["heard_of"] = packed_cause_of(event)
        kept.data[key] = case
        if owner:
            sink.count(_OWNER_DUE, cell, t)
        return case

    def _close(self, case: _Case, time_ms: int, sink: Sink) -> None:
        """What waited for something has not waited too long."""
        cell = self.cells.unpack(case["cell"])
        if not case["was_silent"]:
            sink.count(_ANSWER_DUE, cell, time_ms)
        if case["owner_due"]:
            sink.count(_OWNER_DUE, cell, time_ms)
        if case.get("date_due"):
            sink.count(_DUE_DATES, cell, time_ms)
        self._told_of_changes(case, time_ms, sink)

    def _told_of_changes(self, case: _Case, time_ms: int, sink: Sink) -> None:
        for change in case["changes"]:
            sink.count(_CHANGES_DUE, self.cells.unpack(change[1]), time_ms)
        case["changes"].clear()

    def _promise(self, case: _Case, event: Touchpoint) -> None:
        """Another due date takes the place of the one before; one that is over when it is told is none."""
        due = event.due_ms
        if due is None or due <= event.time or due == case.get("due_date"):
            return
        case["due_date"] = case["date_due"] = due
        case["acted"] = case["overdue"] = False
        if self._keeps_events:
            case["promised"] = packed_cause_of(event)

    def _go_on(self, case: _Case, event: Touchpoint, owner: str, sink: Sink) -> None:
        t = event.time
        case["touched"] = t
        if event.severity and event.severity != case["severity"]:
            case["severity"] = event.severity
            if not case["silent"]:
                # Of a greater severity it may have been silent for too long already: then it is from now on.
                case["silent_due"] = max(t, case["heard"] + self._within(event.severity))
        if not owner or owner == case["owner"]:
            return
        if case["owner_due"]:
            sink.count(_OWNER_DUE, self.cells.unpack(case["cell"]), t)
        if case["owner"]:
            cell = self.cells.own(event)
            if len(case["changes"]) >= _CHANGES_MAX:
                del case["changes"][0]
                sink.note("cut_communication")
            case["changes"].append([t, cell.packed, *evidence(event, wanted=self._keeps_events)])
        case["owner"], case["owner_due"], case["unowned"] = owner, 0, False

    def _hear(self, case: _Case, event: Touchpoint, sink: Sink) -> None:
        case["heard"] = case["touched"] = event.time
        case["silent"], case["silent_due"] = False, event.time + self._within(case["severity"])
        if self._keeps_events:
            case["heard_of"] = packed_cause_of(event)
        self._told_of_changes(case, event.time, sink)

    def _within(self, severity: str) -> int:
        return self._silent_after_high if severity == "high" else self._silent_after

    def fire(self, kept: Kept, due: int, state: State, sink: Sink) -> None:
        """Cases fall silent, have had nobody for too long, have not told of a change; and are forgotten."""
        for key, case in list(kept.data.items()):
            cell = self.cells.unpack(case["cell"])
            if case["silent_due"] == due:
                case["silent"], case["silent_due"] = True, 0
                sink.at_deadline(kept_cause(case.get("heard_of")))
                sink.count(_SILENCES, cell, due)
                if not case["was_silent"]:
                    case["was_silent"] = True
                    sink.count(_ANSWER_DUE, cell, due)
                    sink.count(_SILENT, cell, due)
            if case["owner_due"] == due:
                case["unowned"], case["owner_due"] = True, 0
                sink.at_deadline(kept_cause(case.get("opened")))
                sink.count(_OWNER_DUE, cell, due)
                sink.count(_UNOWNED, cell, due)
            if case.get("date_due") == due:
                self._come_due(case, cell, sink)
            while case["changes"] and case["changes"][0][0] + self._notice_within == due:
                _, packed, *change = case["changes"].pop(0)
                sink.at_deadline(cause_in(change))
                of_change = self.cells.unpack(packed)
                sink.count(_CHANGES_DUE, of_change, due)
                sink.count(_UNTOLD, of_change, due)
            if case["touched"] + self._forget_after == due:
                del kept.data[key]
        self.set_due(kept)

    def _come_due(self, case: _Case, cell: Cell, sink: Sink) -> None:
        sink.at_deadline(kept_cause(case.get("promised")))
        sink.count(_DUE_DATES, cell, case["date_due"])
        if not case["acted"]:
            sink.count(_MISSED, cell, case["date_due"])
            case["overdue"] = True
        case["date_due"] = 0

    def signal(self, kept: Kept, name: str) -> Value:
        """`silent_cases`, `unowned_cases` and `overdue_cases`."""
        flag = name.removesuffix("_cases")
        return sum(1 for case in kept.data.values() if case.get(flag))

    def set_due(self, kept: Kept) -> None:
        """When the first of what is kept is over."""
        kept.due = min((self._due_of(case) for case in kept.data.values()), default=NEVER)

    def _due_of(self, case: _Case) -> int:
        due: int = case["touched"] + self._forget_after
        if case["silent_due"]:
            due = min(due, case["silent_due"])
        if case["owner_due"]:
            due = min(due, case["owner_due"])
        if case.get("date_due"):
            due = min(due, case["date_due"])
        if case["changes"]:
            due = min(due, case["changes"][0][0] + self._notice_within)
        return due
