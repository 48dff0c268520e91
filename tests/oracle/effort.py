"""Cases and issues recounted: a key's events, cut where the gap to the next one reaches the window, and read off from there."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.oracle.instances import Change
from tests.oracle.plan import Event, Moment, Plan, matches

# Signal kinds and the name of their weight.
WEIGHTS = {
    "repeat": "repeat_contact", "cold": "cold_transfer", "warm": "warm_transfer", "switch": "channel_switch", "ping_pong": "ping_pong",
}  # fmt: skip


@dataclass(eq=False)
class Group:
    """An issue or a case: its key, its events, and what was found in it."""

    key: tuple[str, str]
    items: list[tuple[int, Event]] = field(default_factory=list)  # (position, event)
    signals: list[tuple[int, str]] = field(default_factory=list)  # (position, kind)
    changes: list[Change] = field(default_factory=list)

    def last_time(self, seen: int) -> int | None:
        return max((event["time"] for position, event in self.items if position < seen), default=None)

    def alive(self, at: Moment, length: int, kind: int) -> bool:
        last = self.last_time(at.seen)
        return last is not None and not at.fired(last + length, kind)

    def count(self, seen: int, *kinds: str) -> int:
        return sum(position < seen and kind in kinds for position, kind in self.signals)


def text(event: Event, name: str) -> str:
    return event.get(name) or ""


def find(groups: list[Group], key: tuple[str, str], time: int, length: int) -> Group | None:
    """The live group of a key just before an event at `time`: a gap of `length` or more has ended the earlier ones."""
    same = [group for group in groups if group.key == key]
    if same and same[-1].items[-1][1]["time"] + length > time:
        return same[-1]
    return None


def cases_of(events: list[Event], plan: Plan) -> list[Group]:
    cases: list[Group] = []
    for position, event in enumerate(events):
        case_id = text(event, "case_id") or text(event, "issue_id")
        if not case_id or not owner_of(event, plan) or not matches(event["type"], plan.cases["events"]):
            continue
        case = find(cases, ("id", case_id), event["time"], plan.retention)
        if case is None:
            case = Group(("id", case_id))
            cases.append(case)
        case.items.append((position, event))
    for case in cases:
        _read_owners(case, plan)
    return cases


def owner_of(event: Event, plan: Plan) -> str:
    return next((text(event, name) for name in plan.cases["owner"] if text(event, name)), "")


def _read_owners(case: Group, plan: Plan) -> None:
    begin = case.items[0][1]
    first_owner = owner_of(begin, plan)

    def change(counter: str, event: Event, team: str) -> None:
        case.changes.append(Change(counter, 1, event["time"], event, plan.cases["journey"], team))

    change("CASES", begin, first_owner)
    owners = [first_owner]
    for position, event in case.items[1:]:
        owner = owner_of(event, plan)
        if owner == owners[-1]:
            continue
        if case.count(position, "handoff") == 0:
            change("CASES_HANDED_OFF", begin, first_owner)
        change("HANDOFFS", event, owners[-1])
        case.signals.append((position, "handoff"))
        if owner in owners[-2:-1]:
            if case.count(position, "ping_pong") == 0:
                change("CASES_PING_PONG", begin, first_owner)
            change("PING_PONGS", event, owners[-1])
            case.signals.append((position, "ping_pong"))
        owners.append(owner)


def issues_of(events: list[Event], plan: Plan, cases: list[Group]) -> list[Group]:
    issues: list[Group] = []
    resolutions: list[tuple[int, Group | None, str, tuple[str, str]]] = []  # (time, issue, reason, key)
    contacts: dict[int, list[tuple[Event, bool]]] = {}  # by issue: (event that began it, transferred)
    for position, event in enumerate(events):
        time, key = event["time"], _key(events[: position + 1], plan)
        issue = find(issues, key, time, plan.window)
        if matches(event["type"], plan.contacts["resolved"]) and event.get("resolved") is not False:
            resolutions.append((time, issue, text(event, "reason") or _reason(issue), key))
        contact, reopening, switching, transfer = _kinds(event, plan)
        if contact or reopening or switching or transfer:
            if issue is None:
                issue = Group(key)
                issues.append(issue)
                issue.changes.append(_change("ISSUES", event))
            issue.items.append((position, event))
            begun = contacts.setdefault(id(issue), [])
            if contact or reopening:
                issue.changes.append(_change("CONTACTS", event))
                issue.signals.append((position, "contact"))
                begun.append((event, False))
                reason = text(event, "reason") or _reason(issue)
                if reopening or any(
                    time - r <= plan.repeat_within and (of is issue or (why and why == reason) or (name == key and key[0] == "id"))
                    for r, of, why, name in resolutions
                ):
                    issue.changes.append(_change("REPEAT_CONTACTS", event))
                    issue.signals.append((position, "repeat"))
            if switching:
                _switch(issue, position, event, plan)
            if transfer:
                _transfer(issue, position, event, begun)
        for case in cases:
            bounced = find(issues, key, time, plan.window)
            if bounced is not None and (position, "ping_pong") in case.signals:
                bounced.signals.append((position, "ping_pong"))
    for issue in issues:
        issue.changes += _effort_changes(issue, plan)
    return issues


def effort_tenths(signals: list[str], plan: Plan) -> int:
    return sum(plan.tenths[WEIGHTS[kind]] for kind in signals if kind in WEIGHTS)


def _key(events: list[Event], plan: Plan) -> tuple[str, str]:
    """Of the last of the events: as it says itself, or as an event of its contact has said not too long ago."""
    if plan.contacts["scope"] == "customer":
        return ("customer", "")
    event = events[-1]
    if told := _named(events, plan):
        return ("id", told)
    if not (told := text(event, "reason")):
        before = [
            text(other, "reason") for n, other in _of_contact(events, plan) if text(other, "reason") and not _named(events[: n + 1], plan)
        ]
        told = before[-1] if before else ""
    return ("reason", told)


def _named(events: list[Event], plan: Plan) -> str:
    """The id that the last event's issue has."""
    if told := _own_id(events[-1]):
        return told
    before = [_own_id(other) for _, other in _of_contact(events, plan) if _own_id(other)]
    return before[-1] if before else ""


def _own_id(event: Event) -> str:
    return text(event, "issue_id") or text(event, "case_id")


def _of_contact(events: list[Event], plan: Plan) -> list[tuple[int, Event]]:
    """Earlier events of the last one's contact which begin or go on with an issue, as long as that issue is sure to be open."""
    *earlier, event = events
    if not text(event, "contact_id"):
        return []
    same = [(n, other) for n, other in enumerate(earlier) if text(other, "contact_id") == text(event, "contact_id")]
    return [(n, other) for n, other in same if any(_kinds(other, plan)) and event["time"] - other["time"] < plan.window]


def _kinds(event: Event, plan: Plan) -> tuple[bool, bool, bool, bool]:
    """Whether it is a contact, a reopening, compared for its channel, a transfer."""
    by_customer = text(event, "initiator") not in ("company", "system")
    return (
        by_customer and matches(event["type"], plan.contacts["started"]),
        matches(event["type"], plan.contacts["reopened"]),
        by_customer and matches(event["type"], plan.contacts["switch_on"]),
        matches(event["type"], plan.contacts["transferred"]) and not _is_routed(event, plan),
    )


def _is_routed(event: Event, plan: Plan) -> bool:
    machines = plan.contacts["routing"]
    return event["channel"] in machines or text(event, "from_team") in machines


def _reason(issue: Group | None) -> str:
    return next((text(event, "reason") for _, event in issue.items if text(event, "reason")), "") if issue else ""


def _change(counter: str, event: Event) -> Change:
    return Change(counter, 1, event["time"], event, text(event, "journey"), text(event, "team"))


def _switch(issue: Group, position: int, event: Event, plan: Plan) -> None:
    groups = plan.contacts["channel_groups"]
    compared = [other for earlier, other in issue.items if earlier < position and _kinds(other, plan)[2]]
    if not compared:
        return
    before, now = (groups.get(e["channel"], e["channel"]) for e in (compared[-1], event))
    if before == now:
        return
    if issue.count(position, "switch") == 0:
        issue.changes.append(_change("ISSUES_SWITCHED", issue.items[0][1]))
    issue.changes.append(_change("CHANNEL_SWITCHES", event))
    issue.signals.append((position, "switch"))
    if (before, now) == ("self_service", "phone"):
        issue.changes.append(_change("WEB_TO_PHONE", event))


def _transfer(issue: Group, position: int, event: Event, contacts: list[tuple[Event, bool]]) -> None:
    if not contacts:
        contacts.append((event, False))
        issue.changes.append(_change("CONTACTS", event))
        issue.signals.append((position, "contact"))
    begun, transferred = contacts[-1]
    if not transferred:
        contacts[-1] = (begun, True)
        issue.changes.append(_change("CONTACTS_TRANSFERRED", begun))
    issue.changes.append(_change("TRANSFERS", event))
    kind = text(event, "handoff_kind")
    cold = kind == "cold" or (kind != "warm" and event.get("context_passed") == [])
    issue.signals.append((position, "cold" if cold else "warm"))
    if cold:
        issue.changes.append(_change("COLD_TRANSFERS", event))


def _effort_changes(issue: Group, plan: Plan) -> list[Change]:
    begin = issue.items[0][1]
    tenths = effort_tenths([kind for _, kind in issue.signals], plan)
    sums = {
        "EFFORT_TENTHS": tenths,
        "EFFORT_TENTHS_SQUARED": tenths * tenths,
        "ISSUES_EFFORT_MEDIUM": int(plan.medium_tenths <= tenths <= plan.high_tenths),
        "ISSUES_EFFORT_HIGH": int(tenths > plan.high_tenths),
    }
    return [_change(counter, begin)._replace(n=n) for counter, n in sums.items()]
