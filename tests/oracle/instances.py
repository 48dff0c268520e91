"""Journey instances recounted: each is the list of its events, and what became of it is read off that list whenever asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from tests.oracle.plan import ABANDONMENT, EVENT, RECOVERABILITY, Event, JourneyPlan, Moment, Plan


class Change(NamedTuple):
    """A counter change at an event time, with the dimensions of `event`; `journey` and `team` replace the event's own."""

    counter: str
    n: int
    time: int
    event: Event
    journey: str
    team: str = ""


class Life(NamedTuple):
    """state: open, abandoned (recoverable), or ended."""

    state: str
    changes: list[Change]


@dataclass(eq=False)
class Instance:
    plan: JourneyPlan
    members: list[tuple[int, Event, str]] = field(default_factory=list)  # (position, event, role)
    signals: list[tuple[int, str]] = field(default_factory=list)  # (position, kind)

    @property
    def begin(self) -> Event:
        return self.members[0][1]

    @property
    def name(self) -> str:
        """The strongest id of the event that started it, else its time."""
        return next(iter(self.plan.ids(self.begin).values()), str(self.begin["time"]))

    def ids(self, seen: int) -> dict[str, str]:
        """Ids known after `seen` events: of each, the first that was told."""
        known: dict[str, str] = {}
        for position, event, role in self.members:
            if position < seen and role != "linked":
                known = {**self.plan.ids(event), **known}
        return known

    def life(self, at: Moment) -> Life:
        changes: list[Change] = []

        def change(counter: str, n: int, time: int) -> None:
            changes.append(Change(counter, n, time, self.begin, self.plan.id))

        known = [(event["time"], role) for position, event, role in self.members if position < at.seen]
        if not known:
            return Life("ended", changes)
        last = known[0][0]
        change("STARTED", 1, last)
        change("OPEN", 1, last)
        for time, role in known[1:]:
            deadline = last + self.plan.deadline
            abandoned = deadline <= time
            if abandoned:
                change("ABANDONED", 1, deadline)
                change("OPEN", -1, deadline)
            if role == "complete":
                change("COMPLETED", 1, time)
            if role in ("complete", "start", "activity") and abandoned:
                change("ABANDONED", -1, deadline)
                change("RECOVERED" if role == "complete" else "OPEN", 1, time)
            if role in ("complete", "fail", "linked"):
                if role == "fail" and not abandoned:
                    change("FAILED", 1, time)
                if role == "linked":
                    change("SUPPRESSED", 1, time)
                if not abandoned:
                    change("OPEN", -1, time)
                return Life("ended", changes)
            last = time
        deadline = last + self.plan.deadline
        if not at.fired(deadline, ABANDONMENT):
            return Life("open", changes)
        change("ABANDONED", 1, deadline)
        change("OPEN", -1, deadline)
        gone = at.fired(deadline + self.plan.recoverable_for, RECOVERABILITY)
        return Life("ended" if gone else "abandoned", changes)


def instances_of(events: list[Event], plan: Plan) -> list[Instance]:
    """Every instance of a customer, in the order they began, with its events."""
    instances: list[Instance] = []
    for position, event in enumerate(events):
        before = Moment(event["time"], EVENT, position)
        if event["type"] == "identity.linked":
            for instance in instances:
                if instance.life(before).state == "open":
                    instance.members.append((position, event, "linked"))
        for journey in plan.journeys:
            role = journey.role(event)
            if role is None:
                continue
            alive = [i for i in instances if i.plan is journey and i.life(before).state != "ended"]
            found = _belongs_to(event, journey, alive, position)
            if found is None and role == "start":
                found = Instance(journey)
                instances.append(found)
            if found is not None:
                found.members.append((position, event, role))
    return instances


def _belongs_to(event: Event, journey: JourneyPlan, alive: list[Instance], seen: int, *, named: bool = False) -> Instance | None:
    """named: only by an id of its own, not as a derived session."""
    told = journey.ids(event)
    if not told:
        return alive[-1] if alive and not named else None
    for rank, name in enumerate(journey.identified_by):
        stronger = journey.identified_by[:rank]
        for instance in alive:  # several: the oldest
            ids = instance.ids(seen)
            differs = any(s in told and s in ids and told[s] != ids[s] for s in stronger)
            if name in told and ids.get(name) == told[name] and not differs:
                return instance
    return None


def add_signals(instances: list[Instance], events: list[Event], kinds: list[list[str]], plan: Plan) -> None:
    """Friction: the signals of an event go, in each journey, to the live instance that the event names by an id."""
    for position, event in enumerate(events):
        after = Moment(event["time"], EVENT, position + 1)
        for journey in plan.journeys:
            alive = [i for i in instances if i.plan is journey and i.life(after).state != "ended"]
            found = _belongs_to(event, journey, alive, position + 1, named=True)
            if found is not None:
                found.signals += [(position, kind) for kind in kinds[position]]
