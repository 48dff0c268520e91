"""Journey instances: open, completed, failed, abandoned, recovered. Design section 4 fixes what each event does.

At a deadline d: abandoned +1 and open -1 in pane(d). A completion at t >= d while recoverable: recovered +1, completed +1 in
pane(t), abandoned -1 in pane(d). Other activity then: abandoned -1 in pane(d), open +1, a new deadline. An event at exactly a
deadline comes after it. What arrives out of order is folded again in order, so nothing here looks back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamer.journeys import cells
from streamer.journeys.plan import COMPLETE, FAIL, JourneyPlan
from streamer.journeys.state import Instance, State, cause_of, pack_cause, packed_cause_of, remember, unpack_cause
from streamer.metrics.counters import Counter

if TYPE_CHECKING:
    from streamer.journeys.sinks import Sink
    from streamer.touchpoints.touchpoint import Touchpoint

# Plain integers: IntEnum arithmetic would double the cost of a count.
_STARTED: Final = int(Counter.STARTED)
_OPEN: Final = int(Counter.OPEN)
_COMPLETED: Final = int(Counter.COMPLETED)
_ABANDONED: Final = int(Counter.ABANDONED)
_RECOVERED: Final = int(Counter.RECOVERED)
_FAILED: Final = int(Counter.FAILED)
_FRICTION: Final = int(Counter.FRICTION_INSTANCES)
_SUPPRESSED: Final = int(Counter.SUPPRESSED)


def find(state: State, plan: JourneyPlan, event: Touchpoint, *, explicit: bool = False) -> tuple[Instance, str] | None:
    """The instance an event belongs to, and the id that told: the strongest id first, conflicting stronger ids exclude.

    Without any id the journey's youngest instance is meant (a derived session), unless `explicit`.
    """
    if not state.instances:
        return None
    candidates = [instance for instance in state.instances if instance.journey == plan.id]
    if not candidates:
        return None
    stronger: list[tuple[str, str]] = []
    for name, read in plan.readers:
        value = read(event)
        if value:
            for instance in candidates:
                if instance.ids.get(name) == value and all(instance.ids.get(n, v) == v for n, v in stronger):
                    return instance, name
            stronger.append((name, value))
    if stronger or explicit:
        return None
    return candidates[-1], "derived_session"


def apply(state: State, plan: JourneyPlan, role: int, event: Touchpoint, found: tuple[Instance, str], sink: Sink) -> None:
    """Fold one event into the instance it belongs to, as `find` has found it."""
    instance, told_by = found
    sink.note("matched_by_" + told_by)
    for name, read in plan.readers:
        value = read(event)
        if value:
            instance.ids.setdefault(name, value)
    if event.revenue_minor is not None:
        instance.value_minor, instance.currency = event.revenue_minor, event.currency
    if role == COMPLETE:
        complete(state, instance, event.time, sink)
    elif role == FAIL:
        _fail(state, instance, event.time, sink)
    else:
        _go_on(instance, event, sink)


def begin(state: State, plan: JourneyPlan, event: Touchpoint, cell: cells.Cell, sink: Sink, limit: int) -> Instance:
    """A new instance; the one longest without activity makes room if there are too many."""
    t = event.time
    if len(state.instances) >= limit:
        oldest = min(state.instances, key=lambda instance: (instance.last[0], instance.last[1]))
        if not oldest.abandoned_at:
            _count_open(oldest, t, -1, sink)
        state.instances.remove(oldest)
        sink.note("cut_journeys")
    ids = {name: value for name, read in plan.readers if (value := read(event))}
    sink.note("begun_by_" + next(iter(ids), "derived_session"))
    cause = cause_of(event)
    instance = Instance(
        plan.id, ids, t, t + plan.deadline_ms, plan.deadline_ms, plan.recoverable_ms, cell, cause
    )  # fmt: skip
    instance.step, instance.value_minor, instance.currency = event.step, event.revenue_minor or 0, event.currency
    instance.causes, instance.cause_count = [pack_cause(cause)], 1
    state.instances.append(instance)
    sink.count(_STARTED, cell, t)
    sink.count(_OPEN, cell, t)
    return instance


def _go_on(instance: Instance, event: Touchpoint, sink: Sink) -> None:
    if instance.abandoned_at:
        sink.count_back(_ABANDONED, instance.cell, instance.abandoned_at)
        _count_open(instance, event.time, 1, sink)
        instance.abandoned_at = 0
    instance.due = event.time + instance.deadline_ms
    instance.last = cause_of(event)
    if event.step:
        instance.step = event.step


def _count_open(instance: Instance, time_ms: int, n: int, sink: Sink) -> None:
    """It is among the open ones again, or no more: for the event that began it."""
    cause = unpack_cause(instance.causes[0]) if instance.causes else None  # a row of the oldest schema may have none
    sink.count_for(cause, _OPEN, instance.cell, time_ms, n)


def complete(state: State, instance: Instance, time_ms: int, sink: Sink) -> None:
    """The instance is won at `time_ms`; an abandoned one has recovered."""
    if instance.abandoned_at:
        sink.count_back(_ABANDONED, instance.cell, instance.abandoned_at)
        sink.count(_RECOVERED, instance.cell, time_ms)
    else:
        _count_open(instance, time_ms, -1, sink)
    sink.count(_COMPLETED, instance.cell, time_ms)
    state.instances.remove(instance)


def _fail(state: State, instance: Instance, time_ms: int, sink: Sink) -> None:
    """Ends lost. One already abandoned stays counted as abandoned, it only cannot recover any more. [H]"""
    if not instance.abandoned_at:
        _count_open(instance, time_ms, -1, sink)
        sink.count(_FAILED, instance.cell, time_ms)
    state.instances.remove(instance)


def fire(state: State, instance: Instance, sink: Sink) -> None:
    """The instance's due time has come: an open one is abandoned, an abandoned one cannot recover any more."""
    due = instance.due
    if instance.abandoned_at:
        state.instances.remove(instance)
        return
    sink.count(_ABANDONED, instance.cell, due)
    _count_open(instance, due, -1, sink)
    instance.abandoned_at = due
    instance.due = due + instance.recoverable_ms


def suppress(state: State, instance: Instance, time_ms: int, sink: Sink) -> None:
    """What becomes of the open instance cannot be seen any more: it must not look abandoned."""
    _count_open(instance, time_ms, -1, sink)
    sink.count(_SUPPRESSED, instance.cell, time_ms)
    state.instances.remove(instance)


def add_friction(instance: Instance, signals: int, event: Touchpoint, sink: Sink, limit: int) -> None:
    """Friction in the instance: counted once per instance, in the pane of its start."""
    if not instance.friction:
        sink.count(_FRICTION, instance.cell, instance.started)
    instance.friction += signals
    instance.cause_count += 1
    remember(instance.causes, packed_cause_of(event), limit)
