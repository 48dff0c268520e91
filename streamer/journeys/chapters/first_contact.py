"""First contact resolution (E5): of what was resolved, what the customer has not come back about within `contacts.repeat_within`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

from streamer.journeys.exemplars import cause_in, evidence
from streamer.journeys.state import NEVER
from streamer.metrics.counters import Counter

if TYPE_CHECKING:
    from streamer.journeys.cells import Cells
    from streamer.journeys.sinks import Sink
    from streamer.touchpoints.touchpoint import Touchpoint

# Beyond these the oldest goes.
RESOLVED_MAX: Final = 50

_RESOLVED: Final = int(Counter.RESOLUTIONS)
_STANDING: Final = int(Counter.RESOLUTIONS_STANDING)
_DUE: Final = int(Counter.FIRST_CONTACTS_DUE)
_FIRST: Final = int(Counter.FIRST_CONTACTS_RESOLVED)

# Of what was resolved: when last, the name and reason, when first and the packed cell of then, whether the customer has come back;
# then the `evidence` of that.
_AT: Final = 0
_NAME: Final = 1
_REASON: Final = 2
_FIRST_AT: Final = 3
_CELL: Final = 4
_REPEATED: Final = 5
_CAUSE: Final = 6
_KEY: Final = "resolved"


@final
class FirstContact:
    """data: `resolved`: what a contact would still repeat or has repeated, until its time is over; that resolved last at the end."""

    def __init__(self, repeat_within_ms: int, cells: Cells, *, keeps_events: bool) -> None:
        self._within = repeat_within_ms
        self._cells = cells
        self._keeps_events = keeps_events

    def resolved(self, data: dict[str, Any], name: str, reason: str, event: Touchpoint, sink: Sink) -> None:
        """An issue is resolved. If it was before, and the customer has not come back since, it is the same once more."""
        if not name:
            return
        resolved: list[list[Any]] = data.setdefault(_KEY, [])
        for place, known in enumerate(resolved):
            if known[_NAME] == name and not known[_REPEATED]:
                del resolved[place]
                resolved.append([event.time, name, reason, *known[_FIRST_AT:]])
                return
        if len(resolved) >= RESOLVED_MAX:
            del resolved[0]
            sink.note("cut_first_contacts")
        cell = self._cells.own(event)
        sink.count(_RESOLVED, cell, event.time)
        sink.count(_STANDING, cell, event.time)
        resolved.append([event.time, name, reason, event.time, cell.packed, False])

    def contacted(self, data: dict[str, Any], name: str, reason: str, event: Touchpoint, sink: Sink) -> None:
        """The customer comes: about something that had been resolved? What is decided then counts when the time is over, as the rest."""
        for one in data.get(_KEY, ()):
            if not one[_REPEATED] and ((name and one[_NAME] == name) or (reason and one[_REASON] == reason)):
                one[_REPEATED:] = [True, *evidence(event, wanted=self._keeps_events)]
                sink.count(_STANDING, self._cells.unpack(one[_CELL]), one[_FIRST_AT], -1)

    def fire(self, data: dict[str, Any], due: int, sink: Sink) -> None:
        """The time to come back is over."""
        resolved: list[list[Any]] = data.get(_KEY, [])
        while resolved and resolved[0][_AT] + self._within < due:
            one = resolved.pop(0)
            cell, over = self._cells.unpack(one[_CELL]), one[_AT] + self._within
            sink.at_deadline(cause_in(one[_CAUSE:]))
            sink.count(_DUE, cell, over)
            if not one[_REPEATED]:
                sink.count(_FIRST, cell, over)
        if not resolved:
            data.pop(_KEY, None)

    def next_due(self, data: dict[str, Any]) -> int:
        """A contact at exactly the end still repeats."""
        resolved = data.get(_KEY)
        return resolved[0][_AT] + self._within + 1 if resolved else NEVER
