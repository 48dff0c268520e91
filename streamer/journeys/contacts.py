"""Contacts within an issue: channel switches (E1), transfers (E4), repetitions (E5), and the effort index over them (E7).

An issue begins with its first customer-initiated contact, search or transfer and ends `window` after its last. Rates over issues are
attributed to the pane of the issue's start, rates over contacts to the contact's, so that k <= n in every window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from streamer.journeys.plan import is_by_customer
from streamer.journeys.state import Issue, State, packed_cause_of, remember
from streamer.metrics.counters import Counter

if TYPE_CHECKING:
    from streamer.definitions import Definitions, Effort
    from streamer.journeys.cells import Cell
    from streamer.journeys.plan import Plan
    from streamer.journeys.sinks import Sink
    from streamer.touchpoints.touchpoint import Touchpoint

_CONTACTS: Final = int(Counter.CONTACTS)
_REPEAT_CONTACTS: Final = int(Counter.REPEAT_CONTACTS)
_CONTACTS_TRANSFERRED: Final = int(Counter.CONTACTS_TRANSFERRED)
_TRANSFERS: Final = int(Counter.TRANSFERS)
_COLD_TRANSFERS: Final = int(Counter.COLD_TRANSFERS)
_ISSUES: Final = int(Counter.ISSUES)
_ISSUES_SWITCHED: Final = int(Counter.ISSUES_SWITCHED)
_CHANNEL_SWITCHES: Final = int(Counter.CHANNEL_SWITCHES)
_WEB_TO_PHONE: Final = int(Counter.WEB_TO_PHONE)
_EFFORT_MEDIUM: Final = int(Counter.ISSUES_EFFORT_MEDIUM)
_EFFORT_HIGH: Final = int(Counter.ISSUES_EFFORT_HIGH)
_EFFORT: Final = int(Counter.EFFORT_TENTHS)
_EFFORT_SQUARED: Final = int(Counter.EFFORT_TENTHS_SQUARED)


# Begins the key of an issue that is named by an id, and of one by a reason.
_ID: Final = "i:"
_REASON: Final = "r:"
# Contacts of an issue that are remembered by their ids; beyond these the one told longest ago goes.
CONTACT_IDS_MAX: Final = 20
# Resolutions are remembered by reason, and by the key of such an issue after this, which is in no reason.
_BY_KEY: Final = "\x1f"


class Signals(NamedTuple):
    """Effort signals that one event gave. found_tenths: the effort, in tenths of a point, of what chapters have found in it."""

    switches: int = 0
    repeats: int = 0
    transfers: int = 0
    cold: int = 0
    ping_pongs: int = 0
    found_tenths: int = 0

    @property
    def total(self) -> int:
        """Signals in all; a cold transfer is one signal."""
        return self.switches + self.repeats + self.transfers + self.ping_pongs


NONE: Final = Signals()
# Of an event that belongs to an issue and gave no signal.
QUIET: Final = Signals()


def is_routed(event: Touchpoint, routing: frozenset[str]) -> bool:
    """Whether a machine passes the contact on to the first person, which is no transfer (E4)."""
    return event.channel in routing or event.from_team in routing


class ContactFold:
    """Folds contact events into a customer's issues. watched: whether a rule looks at their number, so that each is evidence; where none
    does, those that repeat nothing would only take the places of others.
    """

    def __init__(self, definitions: Definitions, *, watched: bool) -> None:
        contacts, limits = definitions.contacts, definitions.limits
        self._scope: str = contacts.scope
        self._watched = watched
        self._groups: dict[str, str] = contacts.channel_groups
        self._routing = frozenset(contacts.routing)
        self._window_ms, self._repeat_within_ms = int(contacts.window), int(contacts.repeat_within)
        self._burst, self._switch_within_ms = contacts.switch_burst, int(contacts.switch_within)
        self._issue_limit, self._repeat_limit = limits.issues_per_customer, limits.events_per_customer
        self._evidence_limit = limits.evidence_per_alert
        self._resolutions_limit = 2 * limits.issues_per_customer  # one may be remembered by its reason and by its id
        effort: Effort = definitions.effort
        # Tenths of a point, so that sums are integers.
        self._repeat, self._cold = round(effort.repeat_contact * 10), round(effort.cold_transfer * 10)
        self._warm, self._switch = round(effort.warm_transfer * 10), round(effort.channel_switch * 10)
        self.ping_pong_tenths = round(effort.ping_pong * 10)
        self._medium, self._high = round(effort.medium * 10), round(effort.high * 10)

    def key_of(self, state: State, event: Touchpoint, instance_key: str) -> str:
        """What the event's effort belongs to, by the scope: an id is prefixed `i:`, a reason `r:`."""
        if self._scope == "issue":
            if named := event.issue_id or event.case_id:
                return _ID + named
            if event.contact_id and (key := self._key_of_contact(state, _ID, event)):
                return key
            if event.contact_id and not event.reason and (key := self._key_of_contact(state, _REASON, event)):
                return key
            return _REASON + event.reason
        return "j:" + instance_key if self._scope == "journey" else ""

    def _key_of_contact(self, state: State, named_by: str, event: Touchpoint) -> str:
        """The issue named in such a way that the event's contact was told to be about, less than `window` ago; "" if there is none."""
        for key, issue in state.issues.items():
            told = issue.contact_ids.get(event.contact_id)
            if told is not None and event.time - told < self._window_ms and key.startswith(named_by):
                return key
        return ""

    def _tell_contact(self, state: State, issue: Issue, event: Touchpoint, sink: Sink) -> None:
        """The event says by itself what its contact is about: others of the contact need not. The latest that does counts."""
        if self._scope != "issue" or not (event.issue_id or event.case_id or (event.reason and issue.key == _REASON + event.reason)):
            return
        for other in state.issues.values():
            if other.key[:2] == issue.key[:2]:
                other.contact_ids.pop(event.contact_id, None)
        issue.contact_ids[event.contact_id] = event.time
        if len(issue.contact_ids) > CONTACT_IDS_MAX:
            del issue.contact_ids[next(iter(issue.contact_ids))]
            sink.note("cut_contact_ids")

    def apply(self, state: State, plan: Plan, event: Touchpoint, key: str, cell: Cell, sink: Sink) -> tuple[Issue | None, Signals]:
        """Fold one contact event; returns the issue it belongs to and the signals it gave."""
        by_customer = is_by_customer(event)
        issue = state.issues.get(key)
        if plan.resolves:
            self._resolve(state, issue, key, event, sink)
        transferred = plan.transfers and not is_routed(event, self._routing)
        begins = transferred or plan.reopens or (by_customer and (plan.starts_contact or plan.switches))
        if not begins:
            return issue, NONE
        if issue is None:
            issue = self._begin(state, key, event, cell, sink)
        issue.last, issue.due = event.time, event.time + self._window_ms
        issue.severity, issue.reason = event.severity or issue.severity, issue.reason or event.reason
        if event.contact_id:
            self._tell_contact(state, issue, event, sink)
        repeats = switches = transfers = cold = 0
        counted = False
        if plan.reopens or (plan.starts_contact and by_customer):
            repeats = self._contact(state, issue, event, cell, sink, reopened=plan.reopens)
            counted = self._watched
        if plan.switches and by_customer:
            switches = self._switched(issue, event, cell, sink)
        if transferred:
            transfers = 1
            cold = self._transfer(issue, event, cell, sink)
        signals = QUIET
        if repeats or switches or transfers:
            signals = Signals(switches, repeats, transfers, cold)
            points = repeats * self._repeat + switches * self._switch + cold * self._cold + (transfers - cold) * self._warm
            self.add_effort(issue, points, sink)
        if repeats or switches or transfers or counted or issue.cause_count == 0:
            issue.cause_count += 1
            remember(issue.causes, packed_cause_of(event), self._evidence_limit)
        return issue, signals

    def _begin(self, state: State, key: str, event: Touchpoint, cell: Cell, sink: Sink) -> Issue:
        if len(state.issues) >= self._issue_limit:
            oldest = min(state.issues.values(), key=lambda issue: (issue.last, issue.key))
            del state.issues[oldest.key]
            sink.note("cut_issues")
        issue = state.issues[key] = Issue(key, event.time, event.time, event.time + self._window_ms, cell, event.reason)
        sink.count(_ISSUES, cell, event.time)
        return issue

    def _contact(self, state: State, issue: Issue, event: Touchpoint, cell: Cell, sink: Sink, *, reopened: bool) -> int:
        t = event.time
        issue.contacts += 1
        issue.contact_started, issue.contact_cell, issue.contact_transferred = t, cell, False
        sink.count(_CONTACTS, cell, t)
        reason = event.reason or issue.reason
        latest = max(issue.resolved_at, state.resolved.get(reason, 0) if reason else 0, state.resolved.get(_BY_KEY + issue.key, 0))
        if not reopened and not (latest and t - latest <= self._repeat_within_ms):
            return 0
        issue.repeats += 1
        state.repeats.append(t)
        if len(state.repeats) > self._repeat_limit:
            del state.repeats[0]
            sink.note("cut_repeats")
        sink.count(_REPEAT_CONTACTS, cell, t)
        return 1

    def _switched(self, issue: Issue, event: Touchpoint, cell: Cell, sink: Sink) -> int:
        group = self._groups.get(event.channel, event.channel)
        before, issue.group = issue.group, group
        if not before or before == group:
            return 0
        if not issue.switches:
            sink.count(_ISSUES_SWITCHED, issue.cell, issue.started)
        issue.switches += 1
        sink.count(_CHANNEL_SWITCHES, cell, event.time)
        if before == "self_service" and group == "phone":
            sink.count(_WEB_TO_PHONE, cell, event.time)
        if self._burst:
            self._count_recent(issue.recent_switches, event.time)
        return 1

    def _count_recent(self, recent: list[int], time_ms: int) -> None:
        if len(recent) >= self._burst:
            recent.clear()
        while recent and recent[0] <= time_ms - self._switch_within_ms:
            del recent[0]
        recent.append(time_ms)

    def _transfer(self, issue: Issue, event: Touchpoint, cell: Cell, sink: Sink) -> int:
        if issue.contact_cell is None:
            # Its start was not seen: the transfer proves that there is a contact, and k <= n needs it counted.
            issue.contacts += 1
            issue.contact_started, issue.contact_cell, issue.contact_transferred = event.time, cell, False
            sink.count(_CONTACTS, cell, event.time)
        if not issue.contact_transferred:
            issue.contact_transferred = True
            sink.count(_CONTACTS_TRANSFERRED, issue.contact_cell, issue.contact_started)
        cold = int(event.handoff_kind == "cold" or (event.handoff_kind != "warm" and event.context_passed is False))
        issue.transfers += 1
        issue.cold += cold
        sink.count(_TRANSFERS, cell, event.time)
        if cold:
            sink.count(_COLD_TRANSFERS, cell, event.time)
        return cold

    def _resolve(self, state: State, issue: Issue | None, key: str, event: Touchpoint, sink: Sink) -> None:
        if event.resolved is False:
            return
        if issue is not None:
            issue.resolved_at = event.time
        if reason := event.reason or (issue.reason if issue else ""):
            self._remember(state, reason, event.time, sink)
        if key.startswith(_ID):  # the issue may be over long before its resolution is too old
            self._remember(state, _BY_KEY + key, event.time, sink)

    def _remember(self, state: State, name: str, time_ms: int, sink: Sink) -> None:
        state.resolved.pop(name, None)
        state.resolved[name] = time_ms
        if len(state.resolved) > self._resolutions_limit:
            del state.resolved[next(iter(state.resolved))]
            sink.note("cut_resolutions")

    def add_effort_of(self, issue: Issue, event: Touchpoint, tenths: int, sink: Sink) -> None:
        """Raise the effort index for something else than a contact event's own signals."""
        self.add_effort(issue, tenths, sink)
        cause = packed_cause_of(event)
        if not issue.causes or issue.causes[-1] != cause:
            issue.cause_count += 1
            remember(issue.causes, cause, self._evidence_limit)

    def add_effort(self, issue: Issue, tenths: int, sink: Sink) -> None:
        """Raise an issue's effort index; its sum, squares and band are counted in the pane of the issue's start."""
        before, after = issue.effort_tenths, issue.effort_tenths + tenths
        issue.effort_tenths = after
        sink.count(_EFFORT, issue.cell, issue.started, tenths)
        sink.count(_EFFORT_SQUARED, issue.cell, issue.started, after * after - before * before)
        _move(issue, self._band(before), self._band(after), sink)

    def adopt(self, issue: Issue, before: ContactFold, sink: Sink) -> None:
        """Go on with an issue of other definitions: it counts in the band that these put it into, from which it is taken back later."""
        _move(issue, before._band(issue.effort_tenths), self._band(issue.effort_tenths), sink)

    def _band(self, tenths: int) -> int:
        return _EFFORT_HIGH if tenths > self._high else _EFFORT_MEDIUM if tenths >= self._medium else 0


def _move(issue: Issue, was: int, now: int, sink: Sink) -> None:
    """From one band of effort to another, 0 for none."""
    if was != now:
        if was:
            sink.count(was, issue.cell, issue.started, -1)
        if now:
            sink.count(now, issue.cell, issue.started)
