"""First contact resolution (E5): of what has ended, what was resolved and the customer has not come back about within `repeat_within`."""

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

_ENDED: Final = int(Counter.RESOLUTIONS)
_STANDING: Final = int(Counter.RESOLUTIONS_STANDING)
_DUE: Final = int(Counter.FIRST_CONTACTS_DUE)
_FIRST: Final = int(Counter.FIRST_CONTACTS_RESOLVED)

# Of what has ended: when last, the name and reason, when first and the packed cell of then, how it stands; then the `evidence` of
# why it does not.
_AT: Final = 0
_NAME: Final = 1
_REASON: Final = 2
_FIRST_AT: Final = 3
_CELL: Final = 4
_STANDS: Final = 5
_CAUSE: Final = 6
_KEY: Final = "resolved"
# How it stands: it was resolved; the customer has come back; it has only ended, and nobody has said that it is resolved.
_RESOLVED: Final = 0
_REPEATED: Final = 1
_UNRESOLVED: Final = 2


@final
class FirstContact:
    """data: `resolved`: what a contact would still repeat or has repeated, until its time is over; that ended last at the end."""

    def __init__(self, repeat_within_ms: int, cells: Cells, *, keeps_events: bool) -> None:
        self._within = repeat_within_ms
        self._cells = cells
        self._keeps_events = keeps_events

    def ended(self, data: dict[str, Any], name: str, reason: str, event: Touchpoint, sink: Sink) -> None:
        """A contact about an issue ends, or its case. Once more, if one did before and the customer has not come back since.

        Unless the event says that nothing is resolved, it is; once it is, another end does not change that.
        """
        if not name:
            return
        resolved: list[list[Any]] = data.setdefault(_KEY, [])
        for place, known in enumerate(resolved):
            if known[_NAME] == name and known[_STANDS] != _REPEATED:
                del resolved[place]
                if known[_STANDS] == _UNRESOLVED and event.resolved is not False:
                    known[_STANDS:] = [_RESOLVED]
                    sink.count(_STANDING, self._cells.unpack(known[_CELL]), known[_FIRST_AT])
                resolved.append([event.time, name, reason, *known[_FIRST_AT:]])
                return
        if len(resolved) >= RESOLVED_MAX:
            del resolved[0]
            sink.note("cut_first_contacts")
        cell = self._cells.own(event)
        sink.count(_ENDED, cell, event.time)
        if event.resolved is False:
            stands = [_UNRESOLVED, *evidence(event, wanted=self._keeps_events)]
        else:
            stands = [_RESOLVED]
            sink.count(_STANDING, cell, event.time)
        resolved.append([event.time, name, reason, event.time, cell.packed, *stands])

    def contacted(self, data: dict[str, Any], name: str, reason: str, event: Touchpoint, sink: Sink) -> None:
        """The customer comes: about something that had ended? What is decided then counts when the time is over, as the rest."""
        for one in data.get(_KEY, ()):
            if one[_STANDS] != _REPEATED and ((name and one[_NAME] == name) or (reason and one[_REASON] == reason)):
                if one[_STANDS] == _RESOLVED:
                    sink.count(_STANDING, self._cells.unpack(one[_CELL]), one[_FIRST_AT], -1)
                one[_STANDS:] = [_REPEATED, *evidence(event, wanted=self._keeps_events)]

    def fire(self, data: dict[str, Any], due: int, sink: Sink) -> None:
        """The time to come back is over."""
        resolved: list[list[Any]] = data.get(_KEY, [])
        while resolved and resolved[0][_AT] + self._within < due:
            one = resolved.pop(0)
            cell, over = self._cells.unpack(one[_CELL]), one[_AT] + self._within
            sink.at_deadline(cause_in(one[_CAUSE:]))
            sink.count(_DUE, cell, over)
            if one[_STANDS] == _RESOLVED:
                sink.count(_FIRST, cell, over)
        if not resolved:
            data.pop(_KEY, None)

    def next_due(self, data: dict[str, Any]) -> int:
        """A contact at exactly the end still repeats."""
        resolved = data.get(_KEY)
        return resolved[0][_AT] + self._within + 1 if resolved else NEVER
