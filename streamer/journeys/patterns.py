"""Sequences and absences (design section 8): which of the file's patterns a customer's events make, and when.

Of each pattern and value of its shared id there is at most one match on its way. For the first i events of it the latest possible
beginning is kept: no other can be within `within` when that one is not. An event counts for the farthest place it can; when the
pattern is complete it begins anew, so that no event is in two matches.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, final

from streamer.journeys.chapter import Chapter
from streamer.journeys.plan import matches
from streamer.journeys.state import NEVER
from streamer.metrics.catalogue import PATTERN_PREFIX, PATTERNS

if TYPE_CHECKING:
    from streamer.definitions import Definitions, Pattern
    from streamer.journeys.cells import Cells
    from streamer.journeys.sinks import Sink
    from streamer.journeys.state import Kept, State
    from streamer.rules.language import Value
    from streamer.touchpoints.touchpoint import Touchpoint

# Values of a shared id, and matches, that are kept of one pattern and customer; beyond, the oldest goes and is counted.
KEPT_MAX: Final = 50
TYPES_MAX: Final = 10_000
# Places in what is kept of a pattern.
_BEGUN: Final = 0  # value of the shared id -> the latest beginning of its first 1, 2, ... events, 0 for none
_WAITING: Final = 1  # value of the shared id -> when it is seen, if none of `without` comes before
_SEEN: Final = 2  # when it was seen


@final
class _Plan:
    """A pattern, its spans in milliseconds."""

    __slots__ = ("absence", "counts_for", "events", "id", "read", "within", "without")

    def __init__(self, pattern: Pattern) -> None:
        self.id = pattern.id
        self.events = pattern.events
        self.within = int(pattern.within)
        self.without = pattern.without
        self.absence = pattern.absence_ms
        self.counts_for = int(pattern.counts_for)
        self.read: Callable[[Touchpoint], str] | None = None if pattern.same is None else attrgetter(pattern.same)


class Patterns(Chapter):
    """data: pattern id -> what is kept of it."""

    id = PATTERNS

    def __init__(self, definitions: Definitions, cells: Cells, evidenced: bytes) -> None:
        super().__init__(definitions, cells, evidenced)
        self._plans = [_Plan(pattern) for pattern in definitions.pattern]
        self.types = tuple(dict.fromkeys([kind for plan in self._plans for kind in (*plan.events, *plan.without)]))
        self._of_type: dict[str, list[tuple[_Plan, list[int], bool]]] = {}

    def apply(self, kept: Kept, event: Touchpoint, state: State, sink: Sink) -> int:
        """Go on with every pattern that the event is in."""
        for plan, places, ends in self._roles(event.type):
            value = "" if plan.read is None else plan.read(event)
            if plan.read is not None and not value:
                continue
            found = kept.data.get(plan.id)
            if found is None:
                found = kept.data[plan.id] = [{}, {}, []]
            if ends:
                found[_WAITING].pop(value, None)
            if places:
                self._go_on(plan, found, places, value, event.time, sink)
        self.set_due(kept)
        return 0

    def _roles(self, kind: str) -> list[tuple[_Plan, list[int], bool]]:
        """(pattern, its places from the last to the first, whether it is among `without`) of an event type."""
        roles = self._of_type.get(kind)
        if roles is None:
            roles = []
            for plan in self._plans:
                places = [place for place in reversed(range(len(plan.events))) if matches(kind, plan.events[place : place + 1])]
                ends = matches(kind, plan.without)
                if places or ends:
                    roles.append((plan, places, ends))
            if len(self._of_type) < TYPES_MAX:
                self._of_type[kind] = roles
        return roles

    def _go_on(self, plan: _Plan, found: list[Any], places: list[int], value: str, time: int, sink: Sink) -> None:
        begun: list[int] = found[_BEGUN].get(value) or [0] * (len(plan.events) - 1)
        last = len(plan.events) - 1
        for place in places:
            first = time if place == 0 else begun[place - 1]
            if not first or time - first > plan.within:
                continue
            if place < last:
                begun[place] = first
                continue
            begun = [0] * last
            if plan.absence:
                found[_WAITING].setdefault(value, time + plan.absence)
            else:
                found[_SEEN].append(time)
            break
        found[_BEGUN].pop(value, None)
        if any(begun):
            found[_BEGUN][value] = begun  # the latest last
        for part in (found[_BEGUN], found[_WAITING]):
            if len(part) > KEPT_MAX:
                del part[next(iter(part))]
                sink.note("cut_patterns")
        self._bound_seen(found, sink)

    def _bound_seen(self, found: list[Any], sink: Sink) -> None:
        if len(found[_SEEN]) > KEPT_MAX:
            del found[_SEEN][0]
            sink.note("cut_patterns")

    def fire(self, kept: Kept, due: int, state: State, sink: Sink) -> None:
        """See what nothing has ended, and forget what is over."""
        for plan in self._plans:
            found = kept.data.get(plan.id)
            if found is None:
                continue
            for value in [value for value, at in found[_WAITING].items() if at <= due]:
                found[_SEEN].append(found[_WAITING].pop(value))
                self._bound_seen(found, sink)
            found[_SEEN] = [at for at in found[_SEEN] if at + plan.counts_for > due]
            for value in [value for value, begun in found[_BEGUN].items() if max(begun) + plan.within < due]:
                del found[_BEGUN][value]
        self.set_due(kept)

    def adopt(self, kept: Kept, before: Definitions) -> None:
        """A pattern that is changed begins anew, and one that is gone leaves nothing: what is kept has the shape of the one it was of."""
        same = {pattern.id for pattern in self.definitions.pattern if pattern in before.pattern}
        for gone in [id_ for id_ in kept.data if id_ not in same]:
            del kept.data[gone]
        self.set_due(kept)

    def set_due(self, kept: Kept) -> None:
        """Set the next deadline, and drop what is empty."""
        due = NEVER
        for plan in self._plans:
            found = kept.data.get(plan.id)
            if found is None:
                continue
            if not (found[_BEGUN] or found[_WAITING] or found[_SEEN]):
                del kept.data[plan.id]
                continue
            for at in found[_WAITING].values():
                due = min(due, at)
            for at in found[_SEEN][:1]:
                due = min(due, at + plan.counts_for)
            for begun in found[_BEGUN].values():
                due = min(due, max(begun) + plan.within + 1)
        kept.due = due

    def signal(self, kept: Kept, name: str) -> Value:
        """How often the pattern was seen."""
        found = kept.data.get(name.removeprefix(PATTERN_PREFIX))
        return 0 if found is None else len(found[_SEEN])
