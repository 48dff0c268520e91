"""Steps (B2 per step, J1-J4): follows each journey instance from step to step.

What belongs to a step of an instance is counted in the cell of the event with which the instance came to the step first. Friction is in
the pane of that event, too: of the instances that came to a step in a window, some met friction on it. How a stay ends is counted when it
does: it cannot be known before the deadline.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final

from streamer.journeys.cells import EVENT, Cell
from streamer.journeys.chapter import Chapter
from streamer.journeys.plan import COMPLETE, FAIL
from streamer.journeys.state import NEVER, Kept
from streamer.metrics.chapters import steps
from streamer.metrics.counters import Counter

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.journeys.cells import Cells
    from streamer.journeys.sinks import Sink
    from streamer.journeys.state import Instance, State
    from streamer.rules.language import Value
    from streamer.touchpoints.touchpoint import Touchpoint

# Plain integers, because an enumeration's members cost twice.
_REACHED: Final = int(Counter.STEPS_REACHED)
_ABANDONED: Final = int(Counter.STEPS_ABANDONED)
_FRICTION: Final = int(Counter.STEPS_FRICTION)
_WALKED: Final = int(Counter.JOURNEYS_WALKED)
_TOUCHPOINTS: Final = int(Counter.JOURNEY_TOUCHPOINTS)
_TOUCHPOINTS_SQUARED: Final = int(Counter.JOURNEY_TOUCHPOINTS_SQUARED)
_WITH_STEPS: Final = int(Counter.JOURNEYS_WITH_STEPS)
_PROGRESS: Final = int(Counter.JOURNEY_PROGRESS)
_PROGRESS_SQUARED: Final = int(Counter.JOURNEY_PROGRESS_SQUARED)
_TRANSITIONS: Final = int(Counter.STEP_TRANSITIONS)
_STALLS: Final = int(Counter.STEP_STALLS)
_STAYS: Final = tuple(int(counter) for counter in steps.STAYS)
_STAY_EDGES_MS: Final = tuple(int(edge * 1000) for edge in steps.STAY_EDGES)
_WHOLE: Final = 1000  # progress is in thousandths

# What is kept of an instance: cell: of its beginning; n: its events; done: its progress, or -1 if its steps have no names; steps: by step,
# when it came there first, whether it met friction there, and the cell; on: the step it is on; since: when it came there last;
# due: when it stalls, or 0; stalled: whether it has.
_Record = dict[str, Any]


class Steps(Chapter):
    """data: by instance, what is kept of it. It sees instances instead of events: the fold calls it."""

    id = "steps"

    def __init__(self, definitions: Definitions, cells: Cells, evidenced: bytes) -> None:
        super().__init__(definitions, cells, evidenced)
        assert definitions.steps is not None  # noqa: S101  otherwise the chapter is off
        self.types = ()
        self._limit = definitions.steps.steps_per_instance
        self._stall_after = {journey.id: definitions.stall_after_ms(journey) for journey in definitions.journey}
        self._places = {journey.id: {step: place for place, step in enumerate(journey.steps)} for journey in definitions.journey}

    def began(self, state: State, instance: Instance, event: Touchpoint, sink: Sink) -> None:
        """An instance has begun with the event."""
        instance.number = event.offset
        kept = state.kept.get(self.id)
        if kept is None:
            kept = state.kept[self.id] = Kept()
            self.moved = self.moved or self.first_look
        cell = self.cells.with_value(self.cells.of(EVENT, instance.journey, event), "step", "")
        named = bool(self._places[instance.journey])
        record: _Record = {
            "cell": cell.packed, "n": 0, "done": 0 if named else -1, "steps": {}, "on": "", "since": 0, "due": 0, "stalled": False,
        }  # fmt: skip
        kept.data[_key(instance)] = record
        sink.count(_WALKED, cell, instance.started)
        if named:
            sink.count(_WITH_STEPS, cell, instance.started)
        self._touch(instance, record, sink)
        self._come_to(instance, record, event, sink)
        self.set_due(kept)

    def went_on(self, state: State, instance: Instance, role: int, event: Touchpoint, abandoned_at: int, sink: Sink) -> None:
        """The event has been folded into the instance with its role; abandoned_at: as it was before."""
        kept = state.kept.get(self.id)
        record = self._record(kept, instance)
        if kept is None or record is None:
            return
        self._touch(instance, record, sink)
        if role == COMPLETE:
            self._complete(instance, record, event.time, abandoned_at, sink)
        elif role == FAIL:
            if not abandoned_at:
                self._leave(record, event.time, sink)
        else:
            if abandoned_at:
                self._take_back(record, abandoned_at, sink)
                if record["on"]:
                    record["due"] = event.time + self._stall_after[instance.journey]
            self._come_to(instance, record, event, sink)
        if role in (COMPLETE, FAIL):
            self.dropped(state, instance)
        else:
            self.set_due(kept)

    def completed_late(self, state: State, instance: Instance, time_ms: int, abandoned_at: int, sink: Sink) -> None:
        """A late event has completed the instance at the clock; of such an event nothing else counts."""
        record = self._record(state.kept.get(self.id), instance)
        if record is not None:
            self._complete(instance, record, time_ms, abandoned_at, sink)
            self.dropped(state, instance)

    def abandoned(self, state: State, instance: Instance, sink: Sink) -> None:
        """The instance's deadline has passed."""
        kept = state.kept.get(self.id)
        record = self._record(kept, instance)
        if kept is None or record is None:
            return
        if record["on"]:
            sink.count(_ABANDONED, self._cell_of_step(record), instance.abandoned_at)
        record["due"], record["stalled"] = 0, False
        self.set_due(kept)

    def met_friction(self, state: State, instance: Instance, sink: Sink) -> None:
        """A friction signal in the instance."""
        record = self._record(state.kept.get(self.id), instance)
        if record is None or not record["on"]:
            return
        step = record["steps"][record["on"]]
        if not step[1]:
            step[1] = True
            sink.count(_FRICTION, self.cells.unpack(step[2]), step[0])

    def dropped(self, state: State, instance: Instance) -> None:
        """The instance is gone, for whatever reason: what has been counted stays."""
        kept = state.kept.get(self.id)
        record = None if kept is None else kept.data.pop(_key(instance), None)
        if kept is None or record is None:
            return
        self.moved = self.moved or record["stalled"]
        self.set_due(kept)
        if not kept.data:
            del state.kept[self.id]

    def apply(self, kept: Kept, event: Touchpoint, state: State, sink: Sink) -> int:
        """No event is looked at by itself."""
        return 0

    def fire(self, kept: Kept, due: int, state: State, sink: Sink) -> None:
        """Instances have stalled."""
        last = {_key(instance): instance.last for instance in state.instances} if self.evidenced[_STALLS] else {}
        for key, record in kept.data.items():
            if record["due"] == due:
                sink.at_deadline(last.get(key))
                record["due"], record["stalled"] = 0, True
                sink.count(_STALLS, self._cell_of_step(record), due)
        self.set_due(kept)

    def signal(self, kept: Kept, name: str) -> Value:
        """`stalled`."""
        return sum(1 for record in kept.data.values() if record["stalled"])

    def _record(self, kept: Kept | None, instance: Instance) -> _Record | None:
        """None of an instance that began when the chapter was off."""
        if kept is None:
            return None
        record: _Record | None = kept.data.get(_key(instance))
        return record

    def _touch(self, instance: Instance, record: _Record, sink: Sink) -> None:
        n: int = record["n"]
        record["n"] = n + 1
        cell = self.cells.unpack(record["cell"])
        sink.count(_TOUCHPOINTS, cell, instance.started)
        sink.count(_TOUCHPOINTS_SQUARED, cell, instance.started, 2 * n + 1)

    def _come_to(self, instance: Instance, record: _Record, event: Touchpoint, sink: Sink) -> None:
        """The event tells the step that the instance is on from now on."""
        step, t = event.step, event.time
        if not step or step == record["on"]:
            return
        cell = self.cells.of(EVENT, instance.journey, event)
        if step not in record["steps"]:
            if len(record["steps"]) >= self._limit:
                sink.note("cut_steps")
                return
            record["steps"][step] = [t, False, cell.packed]
            sink.count(_REACHED, cell, t)
        if record["on"]:
            self._leave(record, t, sink)
            sink.count(_TRANSITIONS, self.cells.with_value(cell, "previous_step", record["on"]), t)
        self.moved = self.moved or record["stalled"]
        record["on"], record["since"], record["stalled"] = step, t, False
        record["due"] = t + self._stall_after[instance.journey]
        places = self._places[instance.journey]
        if step in places:
            self._progress(instance, record, places[step] * _WHOLE // len(places), sink)

    def _leave(self, record: _Record, time_ms: int, sink: Sink) -> None:
        """The stay on the step has ended."""
        if not record["on"]:
            return
        sink.count(_STAYS[bisect_left(_STAY_EDGES_MS, time_ms - record["since"])], self._cell_of_step(record), time_ms)

    def _complete(self, instance: Instance, record: _Record, time_ms: int, abandoned_at: int, sink: Sink) -> None:
        if abandoned_at:
            self._take_back(record, abandoned_at, sink)
        self._leave(record, time_ms, sink)
        self._progress(instance, record, _WHOLE, sink)

    def _progress(self, instance: Instance, record: _Record, done: int, sink: Sink) -> None:
        before: int = record["done"]
        if 0 <= before < done:
            cell = self.cells.unpack(record["cell"])
            sink.count(_PROGRESS, cell, instance.started, done - before)
            sink.count(_PROGRESS_SQUARED, cell, instance.started, done * done - before * before)
            record["done"] = done

    def _take_back(self, record: _Record, abandoned_at: int, sink: Sink) -> None:
        """It was not abandoned at the step after all."""
        if record["on"]:
            sink.count_back(_ABANDONED, self._cell_of_step(record), abandoned_at)

    def _cell_of_step(self, record: _Record) -> Cell:
        return self.cells.unpack(record["steps"][record["on"]][2])

    def set_due(self, kept: Kept) -> None:
        """When the first of what is kept is over."""
        kept.due = min((record["due"] for record in kept.data.values() if record["due"]), default=NEVER)


def _key(instance: Instance) -> str:
    return f"{instance.number} {instance.journey}"
