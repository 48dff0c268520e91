"""The recount: net counts and alerts in force of one customer, from the definitions in `docs/reference/journeys.md` alone.

Brute force over the sorted history. Nothing is kept from one moment to the next but the state of the alerts: what an instance,
an issue or a case is at a moment is read off its events each time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tests.oracle.effort import Group, cases_of, effort_tenths, issues_of
from tests.oracle.instances import Change, Instance, add_signals, instances_of
from tests.oracle.plan import ABANDONMENT, CASES, EVENT, ISSUES, RECOVERABILITY, REPEATS, Event, Moment, Plan, duration_ms, matches, plan_of

Cell = tuple[tuple[str, str], ...]
Entity = tuple[str, str, str, str]  # rule, kind of entity, journey, id
Signals = dict[str, Any]

PANE_MS = 10_000
FRICTION = ("payment.failed", "form.error", "friction.signal")
TRANSFER = ("cold", "warm")
EFFORT = {"channel_switches", "repeat_contacts", "transfers", "cold_transfers", "effort_index"}
JOURNEY = {"journey", "channel", "segment", "persona", "product_category", "region", "platform"}
CONTACT = JOURNEY | {"team"}
CASE = {"journey", "channel", "segment", "product_category", "region", "team", "partner"}
OF_JOURNEYS = {"TOUCHPOINTS", "STARTED", "OPEN", "COMPLETED", "ABANDONED", "RECOVERED", "FAILED", "FRICTION_INSTANCES", "SUPPRESSED"}
OF_CASES = {"CASES", "CASES_HANDED_OFF", "HANDOFFS", "CASES_PING_PONG", "PING_PONGS"}


class Recount(NamedTuple):
    """sums: non-zero net counts by (counter, cell, pane). in_force: signals of each alert. open_instances: neither won nor lost."""

    sums: dict[tuple[str, Cell, int], int]
    in_force: dict[Entity, Signals]
    open_instances: int


class World(NamedTuple):
    """One customer's whole history, understood."""

    plan: Plan
    events: list[Event]
    instances: list[Instance]
    issues: list[Group]
    cases: list[Group]
    end: Moment


def recount(events: Iterable[Event], definitions: Mapping[str, Any], clock: int) -> Recount:
    """events: of one customer, all within the allowed lateness, in any order. clock: of the partition at the end."""
    world = _world(list(events), plan_of(definitions), clock)
    sums = _sums(world)
    still_open = sum(instance.life(world.end).state == "open" for instance in world.instances)
    return Recount({key: n for key, n in sums.items() if n}, _in_force(world), still_open)


def sums_at(events: Iterable[Event], plan: Plan, clock: int) -> Counter[tuple[str, Cell, int]]:
    """Net counts alone, by (counter, cell, pane)."""
    return _sums(_world(list(events), plan, clock))


def _sums(world: World) -> Counter[tuple[str, Cell, int]]:
    sums: Counter[tuple[str, Cell, int]] = Counter()
    for change in _changes(world):
        sums[change.counter, _cell(change, world.plan.dimensions), change.time // PANE_MS] += change.n
    return sums


def _world(events: list[Event], plan: Plan, clock: int) -> World:
    seen: set[tuple[str, str]] = set()
    unique = []
    for event in sorted(events, key=lambda e: e["offset"]):
        if (event["source"], event["id"]) not in seen:
            seen.add((event["source"], event["id"]))
            unique.append(event)
    history = sorted(unique, key=lambda e: (e["time"], e["offset"]))
    instances = instances_of(history, plan)
    cases = cases_of(history, plan)
    issues = issues_of(history, plan, cases)
    kinds = [["friction"] if event["type"] in FRICTION else [] for event in history]
    found = [one for issue in issues for one in issue.signals if one[1] not in ("contact", "ping_pong")]
    for position, kind in found + [one for case in cases for one in case.signals if one[1] == "ping_pong"]:
        kinds[position].append(kind)
    add_signals(instances, history, kinds, plan)
    last = max([clock, *(event["time"] for event in history)])
    return World(plan, history, instances, issues, cases, Moment(last, EVENT, len(history)))


def _changes(world: World) -> list[Change]:
    found = []
    for event in world.events:
        roles = [journey.id for journey in world.plan.journeys if journey.role(event)]
        found.append(Change("TOUCHPOINTS", 1, event["time"], event, roles[0] if roles else event.get("journey", "")))
    for instance in world.instances:
        found += instance.life(world.end).changes
        if instance.signals:
            found.append(Change("FRICTION_INSTANCES", 1, instance.begin["time"], instance.begin, instance.plan.id))
    for group in [*world.issues, *world.cases]:
        found += group.changes
    return found


def _cell(change: Change, dimensions: list[str]) -> Cell:
    carried = JOURNEY if change.counter in OF_JOURNEYS else CASE if change.counter in OF_CASES else CONTACT
    values = {**change.event, "journey": change.journey, "team": change.team}
    return tuple((name, values.get(name) or "") for name in dimensions if name in carried and values.get(name))


def _moments(world: World) -> list[Moment]:
    """Every event, and every time at which anything might fall due."""
    plan = world.plan
    due = set()
    for instance in world.instances:
        for _, event, _ in instance.members:
            deadline = event["time"] + instance.plan.deadline
            due |= {(deadline, ABANDONMENT), (deadline + instance.plan.recoverable_for, RECOVERABILITY)}
    for event in world.events:
        due |= {(event["time"] + plan.repeat_within + 1, REPEATS), (event["time"] + plan.window, ISSUES)}
        due |= {(event["time"] + plan.retention, CASES)}
    times = [event["time"] for event in world.events]
    moments = [Moment(time, kind, bisect_left(times, time)) for time, kind in due if time <= world.end.time]
    return sorted(moments + [Moment(time, EVENT, i + 1) for i, time in enumerate(times)])


class _Told:
    """What is in force, when each last fired, and what waits for its cooldown to be over."""

    def __init__(self) -> None:
        self.in_force: dict[Entity, Signals] = {}
        self.fired: dict[Entity, int] = {}
        self.waiting: dict[Entity, tuple[int, Mapping[str, Any]]] = {}
        # By entity and rule: what the rule was last evaluated with.
        self.before: dict[tuple[int, str], Signals | None] = {}
        self.named: dict[tuple[Entity, int], None] = {}

    def holds(self, rule: Mapping[str, Any], key: Entity, signals: Signals, time: int) -> None:
        if key not in self.in_force:
            allowed = self.fired.get(key, -(10**15)) + duration_ms(rule.get("cooldown", "0s"))
            if time < allowed:
                self.waiting[key] = (allowed, rule)
                return
            self.fired[key] = time
            self.waiting.pop(key, None)
        self.in_force[key] = {name: value for name, value in signals.items() if name in _names(rule["when"])}

    def wake(self, until: int) -> None:
        """Cooldowns that are over by then: what still holds fires, with the numbers as they are."""
        for key, (time, rule) in sorted(self.waiting.items(), key=lambda item: (item[1][0], item[0])):
            if time > until:
                continue
            del self.waiting[key]
            for named, entity in self.named:
                signals = self.before.get((entity, rule["id"]))
                if named == key and signals is not None and _holds(rule["when"], signals):
                    self.holds(rule, key, signals, time)


def _in_force(world: World) -> dict[Entity, Signals]:
    told = _Told()
    for moment in _moments(world):
        # At the time of an event its deadlines are over; of deadlines at one time this is the last.
        told.wake(moment.time if moment.phase == EVENT else moment.time - 1)
        consents = [event.get("analytics_consent") for event in world.events[: moment.seen]]
        refused = [consent for consent in consents if consent is not None][-1:] == [False]
        for rule in world.plan.rules:
            for entity, (journey, name), signals in _entities(world, rule["on"], moment):
                key = (rule["id"], rule["on"], journey, name)
                changed = told.before.get((entity, rule["id"])) != signals
                told.before[entity, rule["id"]] = signals
                told.named[key, entity] = None
                if not changed and not refused and not _looked_at(world, rule, entity, moment):
                    continue
                if refused or signals is None or not _holds(rule["when"], signals):
                    if signals is not None or changed:  # an entity long gone says nothing about its successor of the same name
                        told.in_force.pop(key, None)
                        told.waiting.pop(key, None)
                    continue
                told.holds(rule, key, signals, moment.time)
    told.wake(world.end.time)
    return told.in_force


def _looked_at(world: World, rule: Mapping[str, Any], entity: int, at: Moment) -> bool:
    """Whether a rule is evaluated although none of its signals changed: where they might have.

    A rule on the customer at each contact and case event, and when an issue or a case ends; one on an issue that names more than
    its effort at each of the issue's events.
    """
    plan = world.plan
    if rule["on"] == "customer" and at.phase == EVENT:
        contacts = [kind for name in ("started", "resolved", "reopened", "transferred", "switch_on") for kind in plan.contacts[name]]
        return matches(world.events[at.seen - 1]["type"], [*contacts, *plan.cases["events"]])
    if rule["on"] == "customer" and at.phase in (ISSUES, CASES):
        groups, length = (world.issues, plan.window) if at.phase == ISSUES else (world.cases, plan.retention)
        lasts = [group.last_time(at.seen) for group in groups]
        return any(last is not None and last + length == at.time for last in lasts)
    if rule["on"] == "issue" and at.phase == EVENT and _names(rule["when"]) - EFFORT:
        return any(at.seen - 1 in [position for position, _ in issue.items] for issue in world.issues if id(issue) == entity)
    return False


def _holds(when: str, signals: Signals) -> bool:
    return bool(eval(when, {"__builtins__": {}}, signals))  # noqa: S307  the test's own definitions


def _names(when: str) -> set[str]:
    return set(compile(when, "rule", "eval").co_names)


def _entities(world: World, on: str, at: Moment) -> list[tuple[int, tuple[str, str], Signals | None]]:
    """(identity, (journey, id), signals or None if it is not there) of every entity that there ever was or will be."""
    if on == "journey":
        return [(id(i), (i.plan.id, i.name), _of_instance(i, world, at)) for i in world.instances]
    if on == "issue":
        return [(id(i), ("", i.key[1]), _of_issue(i, world, at)) for i in world.issues]
    return [(0, ("", ""), _of_customer(world, at))]


def _effort(kinds: list[str], plan: Plan) -> Signals:
    return {
        "channel_switches": kinds.count("switch"),
        "repeat_contacts": kinds.count("repeat"),
        "transfers": sum(kind in TRANSFER for kind in kinds),
        "cold_transfers": kinds.count("cold"),
        "effort_index": effort_tenths(kinds, plan) / 10,
    }


def _of_instance(instance: Instance, world: World, at: Moment) -> Signals | None:
    state = instance.life(at).state
    if state == "ended":
        return None
    kinds = [kind for position, kind in instance.signals if position < at.seen]
    who = {name: instance.begin.get(name, "") for name in ("channel", "platform", "segment", "region")}
    return {"journey": instance.plan.id, "abandoned": state == "abandoned", "friction": len(kinds), **who, **_effort(kinds, world.plan)}


def _of_issue(issue: Group, world: World, at: Moment) -> Signals | None:
    if not issue.alive(at, world.plan.window, ISSUES):
        return None
    kinds = [kind for position, kind in issue.signals if position < at.seen]
    return {"contacts": kinds.count("contact"), **_effort(kinds, world.plan)}


def _of_customer(world: World, at: Moment) -> Signals:
    plan = world.plan
    kinds = []
    for issue in world.issues:
        if issue.alive(at, plan.window, ISSUES):
            kinds += [kind for position, kind in issue.signals if position < at.seen]
    repeats = 0
    for issue in world.issues:
        times = [world.events[position]["time"] for position, kind in issue.signals if kind == "repeat" and position < at.seen]
        repeats += sum(not at.fired(time + plan.repeat_within + 1, REPEATS) for time in times)  # at exactly its end still within
    known = [case for case in world.cases if case.alive(at, plan.retention, CASES)]
    return {
        "contacts": kinds.count("contact"),
        **_effort(kinds, plan),
        "repeat_contacts": repeats,
        "handoffs": sum(case.count(at.seen, "handoff") for case in known),
        "ping_pongs": sum(case.count(at.seen, "ping_pong") for case in known),
        "ping_pongs_of_case": max((case.count(at.seen, "ping_pong") for case in known), default=0),
    }
