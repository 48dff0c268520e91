"""Value: customer sacrifice (C1), levels of value (V1-V3), goals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from streamer.journeys.chapter import Chapter
from streamer.journeys.state import NEVER
from streamer.metrics.chapters import value
from streamer.metrics.counters import Counter
from streamer.touchpoints.details import SHARE_DIGITS

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.journeys import state as states
    from streamer.journeys.cells import Cells
    from streamer.journeys.sinks import Sink
    from streamer.journeys.state import Instance, Kept
    from streamer.rules.language import Value as Number
    from streamer.touchpoints.touchpoint import Touchpoint

_ONE: Final = 10**SHARE_DIGITS
# Sums of weight times distance must stay far inside 64 bits.
_WEIGHT_MAX: Final = 1000 * _ONE
_PREFERENCES: Final = int(Counter.PREFERENCES)
_WEIGHTED: Final = int(Counter.SACRIFICE_WEIGHTED)
_WEIGHT: Final = int(Counter.SACRIFICE_WEIGHT)
_SACRIFICE: Final = int(Counter.SACRIFICE)
_SACRIFICE_SQUARED: Final = int(Counter.SACRIFICE_SQUARED)
_JOURNEYS: Final = int(Counter.JOURNEYS)
_GOALS: Final = int(Counter.GOALS)
_PROGRESSED: Final = int(Counter.GOALS_PROGRESSED)
_REACHED: Final = int(Counter.GOALS_REACHED)
# level -> (its bit in `Instance.levels`, touchpoints, journeys)
_LEVELS: Final = {
    level: (1 << n, int(touchpoints), int(journeys)) for n, (level, (_, touchpoints, journeys, _)) in enumerate(value.LEVELS.items())
}


class Value(Chapter):
    """data: `preferences`: [time, weight, distance] of each statement, the latest last; `goals`: id -> [time set, packed cell, progressed,
    time of its last event]. Which levels an instance has seen stands in the instance.
    """

    id = "value"

    def __init__(self, definitions: Definitions, cells: Cells, evidenced: bytes) -> None:
        super().__init__(definitions, cells, evidenced)
        settings = definitions.value
        assert settings is not None  # noqa: S101  otherwise the chapter is off
        self.types = ("preference.stated", "goal.set", "goal.progressed", "goal.reached")
        self._sacrifice_within, self._goal_within = int(settings.sacrifice_within), int(settings.goal_within)
        self._preferences_limit, self._goals_limit = int(settings.preferences_per_customer), int(settings.goals_per_customer)

    def touchpoint(self, event: Touchpoint, sink: Sink) -> None:
        """Any event that has a level."""
        sink.count(_LEVELS[event.value_level][1], self.cells.own(event), event.time)

    def begun(self, instance: Instance, event: Touchpoint, sink: Sink) -> None:
        """A journey instance has begun with the event."""
        sink.count(_JOURNEYS, instance.cell, instance.started)
        self.touched(instance, event, sink)

    def touched(self, instance: Instance, event: Touchpoint, sink: Sink) -> None:
        """The event belongs to the instance: its level counts once in it, in the pane of the instance's start. Orders count for all."""
        if event.value_level:
            bit, _, journeys = _LEVELS[event.value_level]
            if not instance.levels & bit:
                instance.levels |= bit
                sink.count(journeys, instance.cell, instance.started)
        sink.levels |= instance.levels

    def apply(self, kept: Kept, event: Touchpoint, state: states.State, sink: Sink) -> int:
        """Fold a statement or an event of a goal."""
        if event.type == "preference.stated":
            self._state(kept, event, sink)
        else:
            self._goal(kept, event, sink)
        self.set_due(kept)
        return 0

    def _state(self, kept: Kept, event: Touchpoint, sink: Sink) -> None:
        details = event.details
        if details is None or details.distance is None:
            return
        distance, weight = details.distance, _ONE if details.weight is None else details.weight
        if not (0 <= distance <= _ONE and 0 < weight <= _WEIGHT_MAX):
            sink.note("preference_out_of_scale")
            return
        cell = self.cells.own(event)
        if details.attribute:
            cell = self.cells.with_value(cell, "cause", details.attribute)
        for counter, n in (
            (_PREFERENCES, 1), (_WEIGHTED, weight * distance), (_WEIGHT, weight), (_SACRIFICE, distance),
            (_SACRIFICE_SQUARED, distance * distance),
        ):  # fmt: skip
            sink.count(counter, cell, event.time, n)
        stated: list[Any] = kept.data.setdefault("preferences", [])
        stated.append([event.time, weight, distance])
        if len(stated) > self._preferences_limit:
            del stated[0]
            sink.note("cut_preferences")

    def _goal(self, kept: Kept, event: Touchpoint, sink: Sink) -> None:
        goals = kept.data.setdefault("goals", {})
        key = event.details.goal_id if event.details is not None else ""
        goal = goals.get(key)
        if goal is None and event.type == "goal.set":
            if len(goals) >= self._goals_limit:
                del goals[min(goals, key=lambda name: (goals[name][3], name))]
                sink.note("cut_goals")
            cell = self.cells.own(event)
            sink.count(_GOALS, cell, event.time)
            goals[key] = [event.time, cell.packed, False, event.time]
        elif goal is not None:
            goal[3] = event.time
            cell = self.cells.unpack(goal[1])
            if event.type != "goal.set" and not goal[2]:
                goal[2] = True
                sink.count(_PROGRESSED, cell, goal[0])
            if event.type == "goal.reached":
                sink.count(_REACHED, cell, goal[0])
                del goals[key]
        if not goals:
            del kept.data["goals"]

    def set_due(self, kept: Kept) -> None:
        """When the first of what is kept is over."""
        due = NEVER
        if "preferences" in kept.data:
            due = kept.data["preferences"][0][0] + self._sacrifice_within
        for goal in kept.data.get("goals", {}).values():
            due = min(due, goal[3] + self._goal_within)
        kept.due = due

    def fire(self, kept: Kept, due: int, state: states.State, sink: Sink) -> None:
        """Forget what is too old."""
        stated = [one for one in kept.data.pop("preferences", []) if one[0] + self._sacrifice_within > due]
        goals = {key: goal for key, goal in kept.data.pop("goals", {}).items() if goal[3] + self._goal_within > due}
        if stated:
            kept.data["preferences"] = stated
        if goals:
            kept.data["goals"] = goals
        self.set_due(kept)

    def signal(self, kept: Kept, name: str) -> Number:
        """`sacrifice_index`, `preferences_stated`."""
        stated = kept.data.get("preferences", [])
        if name == "preferences_stated":
            return len(stated)
        weight = sum(one[1] for one in stated)
        return sum(one[1] * one[2] for one in stated) / (weight * _ONE) if weight else 0.0
