"""The fold of one customer: events in event order, deadlines in between. Pure; effects go to a sink.

In a fold a deadline has fired iff it is <= the clock or <= the customer's next event: an event at exactly the deadline comes
after it. Deadlines of one customer fire in (time, kind) order, the kinds in the order of `_fire_at`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import msgspec

from streamer.journeys import cells, instances
from streamer.journeys.cases import CaseFold
from streamer.journeys.chapters import chapters_of
from streamer.journeys.chapters.steps import Steps
from streamer.journeys.chapters.value import Value
from streamer.journeys.contacts import NONE, QUIET, ContactFold, Signals
from streamer.journeys.episodes import EpisodeFold, instance_id
from streamer.journeys.exemplars import evidenced_by
from streamer.journeys.plan import COMPLETE, FAIL, START, JourneyPlan, Plan, Plans
from streamer.journeys.state import NEVER, Instance, Issue, Kept, State, packed_cause_of, state_of
from streamer.metrics.counters import Counter
from streamer.rules import language

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.journeys.sinks import Sink
    from streamer.touchpoints.touchpoint import Touchpoint

_TOUCHPOINTS: Final = int(Counter.TOUCHPOINTS)
_STEPS: Final = "steps"  # a class that is compiled does not say its id

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


@final
class Fold:
    """The rules of one definitions file, applied to one customer's state at a time."""

    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        named = {name for rule in definitions.rule if rule.entity for name in (*language.names_in(rule.when), *rule.show)}
        self.evidenced = evidenced_by(definitions)
        self.cells = cells.Cells([*(name for s in definitions.slice for name in s.by), *named], definitions.account_counters)
        self.chapters = {chapter.id: chapter for chapter in chapters_of(definitions, self.cells, self.evidenced)}
        value = self.chapters.get("value")
        self._value = value if isinstance(value, Value) else None
        self.episodes = EpisodeFold(definitions, self.cells.dimensions, self.chapters)
        for chapter in self.chapters.values():
            chapter.first_look = chapter.id in self.episodes.chapters_of_strangers
            chapter.watched = chapter.id in self.episodes.watched_chapters
        self._plans = Plans(definitions, list(self.chapters.values()))
        steps = self.chapters.get(_STEPS)
        self._steps = steps if isinstance(steps, Steps) else None
        self._rules_on_steps = self._steps is not None and self._steps.watched
        self._contacts = ContactFold(definitions, watched=self.episodes.watches_contacts)
        self._by_journey = definitions.contacts.scope == "journey"
        self._cases = CaseFold(definitions, self.cells, watched=self.episodes.watches_cases)
        self._journey_limit = definitions.limits.journeys_per_customer
        self._evidence_limit = definitions.limits.evidence_per_alert
        self._repeat_within = int(definitions.contacts.repeat_within)

    def unpack(self, packed: bytes) -> State:
        """The state of packed bytes; empty bytes are a new customer's."""
        if not packed:
            return State()
        state = state_of(_decode(packed), self.cells.unpack)
        for gone in [name for name in state.kept if name not in self.chapters]:  # of other definitions, where the chapter was on
            del state.kept[gone]
        return state

    def adopt(self, state: State, before: Fold, time_ms: int, sink: Sink) -> None:
        """Go on with a state that was folded under other definitions: what means nothing under these ends."""
        sink.anonymous = state.refused
        sink.at_deadline()
        for name, kept in list(state.kept.items()):
            self.chapters[name].adopt(kept, before.definitions)
            if not kept.data:
                del state.kept[name]
        for issue in state.issues.values():
            self._contacts.adopt(issue, before._contacts, sink)
        known = {journey.id for journey in self.definitions.journey}
        self._suppress(state, [instance for instance in state.instances if instance.journey not in known], time_ms, sink)
        self.episodes.end_changed(state, before.episodes, time_ms, sink)

    def _suppress(self, state: State, those: list[Instance], time_ms: int, sink: Sink) -> None:
        for instance in [instance for instance in those if not instance.abandoned_at]:
            instances.suppress(state, instance, time_ms, sink)
            self._gone(state, instance, time_ms, sink)

    def pack(self, state: State) -> bytes:
        """The state as bytes, cells by name."""
        return _encode(state.packed())

    def plan(self, event: Touchpoint) -> Plan:
        """What the event does."""
        return self._plans.of(event)

    def touch(self, event: Touchpoint, plan: Plan, sink: Sink) -> None:
        """Count a touchpoint that changes nothing in the state, which need not be known; nor is it whether the customer may be named."""
        sink.at_deadline()
        self.count_touchpoint(event, plan, sink)

    def count_touchpoint(self, event: Touchpoint, plan: Plan, sink: Sink) -> None:
        """Count the touchpoint."""
        sink.count(_TOUCHPOINTS, self.cells.of(cells.JOURNEY, plan.journey or event.journey, event), event.time)
        if event.value_level and self._value is not None:
            self._value.touchpoint(event, sink)

    def apply(self, state: State, event: Touchpoint, sink: Sink, plan: Plan | None = None) -> bool:
        """Fold one event; deadlines up to its time must have fired. False if it certainly left the state as it was."""
        if plan is None:
            plan = self.plan(event)
        sink.event, sink.anonymous, sink.levels = event, state.refused, 0
        if self._steps is not None:
            self._steps.moved = False
        if event.late_completion or event.late_consent:
            self._apply_late(state, plan, event, sink)
            return True
        if event.analytics_consent is not None:
            self._consent(state, event, event.time, sink)
            sink.anonymous = state.refused
        if sink.counting:
            self.count_touchpoint(event, plan, sink)
        issue: Issue | None = None
        signals = NONE
        # By the scope `journey` it is of the instance that is there before the event; by others it does not matter when it is asked for.
        key = self._issue_key(state, event) if self._by_journey or plan.contact or plan.case else ""
        if plan.contact:
            issue, signals = self._contact(state, plan, event, key, sink)
        if plan.case and self._cases.apply(state, event, sink):
            signals = signals._replace(ping_pongs=1)
            issue = self._add_effort(state, event, key, self._contacts.ping_pong_tenths, sink)
        if plan.journeys:
            self._journeys(state, plan, event, sink)
        if plan.links:
            self._suppress(state, list(state.instances), event.time, sink)
        friction = found_tenths = 0
        if plan.chapters:
            friction, found_tenths = self._chapters(state, plan, event, sink)
            if found_tenths:
                signals = signals._replace(found_tenths=found_tenths)
                issue = self._add_effort(state, event, key or self._issue_key(state, event), found_tenths, sink)
        effort = 0 if signals is NONE or signals is QUIET else signals.total
        if effort or friction or plan.friction:
            self._friction(state, event, int(plan.friction) + friction + effort, signals, sink)
        if issue is not None and signals is not NONE:
            self.episodes.issue(state, issue, event.time, sink, effort=effort > 0 or found_tenths > 0)
        if plan.contact:
            self.episodes.journeys(state, event.time, sink)
        self._customer_rules(state, plan, event, sink, core=plan.contact or plan.case or found_tenths > 0)
        return plan.active or event.analytics_consent is not None

    def _customer_rules(self, state: State, plan: Plan, event: Touchpoint, sink: Sink, *, core: bool) -> None:
        moved = [chapter.id for chapter in plan.watched if chapter.moved]
        if self._rules_on_steps and (plan.journeys or plan.links) and self._has_steps_moved(state):
            moved.append(_STEPS)
        if core or moved:
            self.episodes.customer(state, event.time, sink, tuple(moved), core)

    def _has_steps_moved(self, state: State) -> bool:
        """Whether who stalls may have changed with the event."""
        steps = self._steps
        return steps is not None and (steps.moved or (steps.first_look and _STEPS not in state.kept))

    def _add_effort(self, state: State, event: Touchpoint, key: str, tenths: int, sink: Sink) -> Issue | None:
        """Effort that is no contact: of the issue of this key, if that is open."""
        issue = state.issues.get(key)
        if issue is not None:
            self._contacts.add_effort_of(issue, event, tenths, sink)
        return issue

    def _chapters(self, state: State, plan: Plan, event: Touchpoint, sink: Sink) -> tuple[int, int]:
        """What the chapters of the catalogue make of it; returns the friction signals it is, and the effort, in tenths of a point."""
        friction = found_tenths = 0
        for chapter in plan.chapters:
            found = state.kept.get(chapter.id)
            kept = Kept() if found is None else found
            friction += chapter.apply(kept, event, state, sink)
            found_tenths += chapter.effort_tenths
            if not kept.data:
                state.kept.pop(chapter.id, None)
                continue
            if found is None:
                state.kept[chapter.id] = kept
            if chapter.watched and chapter.is_evidence(event):
                kept.add_cause(packed_cause_of(event), self._evidence_limit)
        return friction, found_tenths

    def _contact(self, state: State, plan: Plan, event: Touchpoint, key: str, sink: Sink) -> tuple[Issue | None, Signals]:
        known = set(state.issues) if len(state.issues) >= self.definitions.limits.issues_per_customer else None
        cell = self.cells.of(cells.CONTACT, event.journey, event)
        issue, signals = self._contacts.apply(state, plan, event, key, cell, sink)
        if known:
            for gone in sorted(known - set(state.issues)):
                self.episodes.end_entity(state, "issue:" + gone, event.time, sink)
        return issue, signals

    def _issue_key(self, state: State, event: Touchpoint) -> str:
        """What the event's effort belongs to; only the scope `journey` needs its instance looked up."""
        belongs = self._instances_of(state, event) if self._by_journey else ()
        return self._contacts.key_of(state, event, instance_id(belongs[0]) if belongs else "")

    def _journeys(self, state: State, plan: Plan, event: Touchpoint, sink: Sink) -> None:
        for journey, role in plan.journeys:
            found = instances.find(state, journey, event)
            if found is None:
                if role == START:
                    self._begin(state, journey, event, sink)
                continue
            instance = found[0]
            if self._value is not None:
                self._value.touched(instance, event, sink)
            before, step, value = instance.abandoned_at, instance.step, instance.value_minor
            sink.cause = instance.last
            instances.apply(state, journey, role, event, found, sink)
            if self._steps is not None:
                self._steps.went_on(state, instance, role, event, before, sink)
                self._add_cause_of_step(state, event)
            if role in (COMPLETE, FAIL):
                self.episodes.end_entity(state, instance_id(instance), event.time, sink)
            elif before:
                self.episodes.journey(state, instance, event.time, sink)
            elif step != instance.step or value != instance.value_minor:
                self.episodes.progress(state, instance, event.time, sink)

    def _begin(self, state: State, journey: JourneyPlan, event: Touchpoint, sink: Sink) -> None:
        kept = state.instances[:]
        cell = self.cells.of(cells.JOURNEY, journey.id, event)
        instance = instances.begin(state, journey, event, cell, sink, self._journey_limit)
        if len(state.instances) <= len(kept):
            still = {id(one) for one in state.instances}
            for gone in kept:
                if id(gone) not in still:
                    self._gone(state, gone, event.time, sink)
        if self._steps is not None:
            self._steps.began(state, instance, event, sink)
            self._add_cause_of_step(state, event)
        if self._value is not None:
            self._value.begun(instance, event, sink)
        self.episodes.journey(state, instance, event.time, sink)

    def _gone(self, state: State, instance: Instance, time_ms: int, sink: Sink) -> None:
        """The instance is not looked at any more."""
        if self._steps is not None:
            self._steps.dropped(state, instance)
        self.episodes.end_entity(state, instance_id(instance), time_ms, sink)

    def _add_cause_of_step(self, state: State, event: Touchpoint) -> None:
        kept = state.kept.get(_STEPS) if self._rules_on_steps else None
        if kept is not None:
            kept.add_cause(packed_cause_of(event), self._evidence_limit)

    def _instances_of(self, state: State, event: Touchpoint) -> list[Instance]:
        """The instances an event names by an id of its own; a signal does not belong to a journey merely by coming while it is open."""
        found = (instances.find(state, journey, event, explicit=True) for journey in self._plans.journeys) if state.instances else ()
        return [match[0] for match in found if match]

    def _friction(self, state: State, event: Touchpoint, friction: int, signals: Signals, sink: Sink) -> None:
        for instance in self._instances_of(state, event):
            instances.add_friction(instance, friction, event, sink, self._evidence_limit)
            if self._steps is not None:
                self._steps.met_friction(state, instance, sink)
            instance.switches += signals.switches
            instance.repeats += signals.repeats
            instance.transfers += signals.transfers
            instance.cold += signals.cold
            instance.ping_pongs += signals.ping_pongs
            instance.found_tenths += signals.found_tenths
            self.episodes.journey(state, instance, event.time, sink)

    def _consent(self, state: State, event: Touchpoint, happened_ms: int, sink: Sink) -> None:
        """What was told of consent last counts, by when it was so: what is heard of late may have been overtaken."""
        if event.late_consent and happened_ms < state.consent_at:
            return
        state.consent_at, state.refused = happened_ms, not event.analytics_consent
        if state.refused:
            self.episodes.end_all(state, event.time, sink)

    def take_late(self, state: State, event: Touchpoint, clock_ms: int) -> list[str]:
        """Make an event that came late one that counts at the clock, if it ends an abandoned and still recoverable instance, or tells of
        consent what is not known yet; says which, as notes.
        """
        found, happened = [], event.time
        if self._completed_late(state, self._plans.of(event), event, happened):
            event.late_completion = happened
            found.append("late_recoveries")
        if event.analytics_consent is not None and _is_news(state, event, clock_ms):
            event.late_consent = happened
            found.append("late_consents")
        if found:
            event.time = clock_ms
        return found

    def _apply_late(self, state: State, plan: Plan, event: Touchpoint, sink: Sink) -> None:
        """Of what came late counts only that it tells of consent or completes something, from the clock on."""
        if event.late_consent:
            self._consent(state, event, event.late_consent, sink)
            sink.anonymous = state.refused
        if event.late_completion:
            self._complete_late(state, plan, event, sink)

    def _completed_late(self, state: State, plan: Plan, event: Touchpoint, happened_ms: int) -> list[Instance]:
        """What it completes; nothing that began after it, such as the next checkout with the same cart."""
        found = (instances.find(state, journey, event) for journey, role in plan.journeys if role == COMPLETE)
        return [match[0] for match in found if match and match[0].abandoned_at and match[0].started <= happened_ms]

    def _complete_late(self, state: State, plan: Plan, event: Touchpoint, sink: Sink) -> None:
        happened = event.late_completion
        for instance in self._completed_late(state, plan, event, happened if happened > 1 else event.time):
            sink.cause = instance.last
            if self._steps is not None:
                self._steps.completed_late(state, instance, event.time, instance.abandoned_at, sink)
            instances.complete(state, instance, event.time, sink)
            self.episodes.end_entity(state, instance_id(instance), event.time, sink)

    def next_due(self, state: State) -> int:
        """The next deadline of a state, or NEVER."""
        due = NEVER
        for instance in state.instances:
            due = min(due, instance.due)
        for issue in state.issues.values():
            due = min(due, issue.due)
        for case in state.cases.values():
            due = min(due, case.due)
        for kept in state.kept.values():
            due = min(due, kept.due)
        for episode in state.episodes.values():
            if not episode.firing:
                due = min(due, episode.wakes_at)
        if state.repeats:
            due = min(due, state.repeats[0] + self._repeat_within + 1)
        if state.resolved:
            # Insertion is in order of time; +1 because a contact at exactly the repeat window's end still repeats.
            due = min(due, next(iter(state.resolved.values())) + self._repeat_within + 1)
        return due

    def due_after(self, state: State, event: Touchpoint, plan: Plan, before: int) -> int:
        """A time before which no deadline comes, after an event; `before`: such a time as of before the event.

        NEVER if there is no deadline. Mostly an event puts off a deadline of one chapter: to learn which one is the next then would be to
        look at everything that is known of the customer, so it is only done when the one put off would have come.
        """
        if not plan.for_chapters or event.analytics_consent is not None or event.late_completion:
            return self.next_due(state)
        due = NEVER
        for chapter in plan.chapters:
            kept = state.kept.get(chapter.id)
            if kept is not None:
                due = min(due, kept.due)
        if due == NEVER:
            return self.next_due(state)
        for episode in state.episodes.values():
            if not episode.firing:
                due = min(due, episode.wakes_at)
        return min(due, before)

    def fire(self, state: State, until_ms: int, sink: Sink) -> int:
        """Fire every deadline <= `until_ms`, each at its own time; returns the next one."""
        while (due := self.next_due(state)) <= until_ms:
            self._fire_at(state, due, sink)
            # A shorter span of new definitions may be over since before what has fired already.
            state.fired = max(state.fired, due)
        return due

    def _fire_at(self, state: State, due: int, sink: Sink) -> None:
        changed: list[str] = []
        sink.anonymous = state.refused
        for instance in [i for i in state.instances if i.due == due and not i.abandoned_at]:
            sink.at_deadline(instance.last)
            instances.fire(state, instance, sink)
            if self._steps is not None:
                self._steps.abandoned(state, instance, sink)
                changed = [_STEPS] if self._rules_on_steps else []
            self.episodes.journey(state, instance, due, sink)
        for instance in [i for i in state.instances if i.due == due and i.abandoned_at]:
            instances.fire(state, instance, sink)
            self._gone(state, instance, due, sink)
        sink.at_deadline()
        if state.repeats and state.repeats[0] + self._repeat_within < due:
            while state.repeats and state.repeats[0] + self._repeat_within < due:
                del state.repeats[0]
            self.episodes.customer(state, due, sink)
        ended = [key for key, issue in state.issues.items() if issue.due == due]
        for key in ended:
            del state.issues[key]
            self.episodes.end_entity(state, "issue:" + key, due, sink)
        if ended:
            self.episodes.journeys(state, due, sink)
        closed = [key for key, case in state.cases.items() if case.due == due]
        for key in closed:
            del state.cases[key]
        for name in [name for name, kept in state.kept.items() if kept.due == due]:
            kept, chapter = state.kept[name], self.chapters[name]
            sink.at_deadline()
            chapter.moved = True
            chapter.fire(kept, due, state, sink)
            if not kept.data:
                del state.kept[name]
            if chapter.moved:
                changed.append(name)
        if ended or closed or changed:
            self.episodes.customer(state, due, sink, tuple(sorted(changed)), bool(ended or closed))
        for reason in [r for r, at in state.resolved.items() if at + self._repeat_within < due]:
            del state.resolved[reason]
        for key, episode in list(state.episodes.items()):
            if not episode.firing and episode.wakes_at <= due:
                self.episodes.wake(state, key, episode, due, sink)


def _is_news(state: State, event: Touchpoint, clock_ms: int) -> bool:
    """Whether what it tells of consent is newer than what is known, or will be until the clock reaches what is."""
    if event.time <= 0:
        return False  # 0 is no time of a late event
    if state.refused and not state.consent_at and event.analytics_consent:
        return False  # of a row that does not say since when
    if event.time == state.consent_at:
        return state.refused == event.analytics_consent
    return event.time > state.consent_at or state.consent_at > clock_ms
