"""First contact resolution (E5): of what was resolved, what the customer has not come back about within `contacts.repeat_within`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

from streamer.journeys.exemplars import evidence
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

# Of what was resolved: when last, the id and the reason it is known by, when first and the packed cell of then; then `evidence`.
_AT: Final = 0
_ID: Final = 1
_REASON: Final = 2
_FIRST_AT: Final = 3
_CELL: Final = 4
_KEY: Final = "resolved"


@final
class FirstContact:
    """data: `resolved`: what a contact would still repeat, that resolved last at the end."""

    def __init__(self, repeat_within_ms: int, cells: Cells, *, keeps_events: bool) -> None:
        self._within = repeat_within_ms
        self._cells = cells
        self._keeps_events = keeps_events

    def resolved(self, data: dict[str, Any], event: Touchpoint, sink: Sink) -> None:
        """Something is resolved. If it was before, and nobody has come back since, it is the same once more."""
        id_, reason = event.issue_id or event.case_id, event.reason
        if not id_ and not reason:
            return
        resolved: list[list[Any]] = data.setdefault(_KEY, [])
        for place, known in enumerate(resolved):
            if known[_ID] == id_ if id_ else (not known[_ID] and known[_REASON] == reason):
                del resolved[place]
                resolved.append([event.time, id_, reason, *known[_FIRST_AT:]])
                return
        if len(resolved) >= RESOLVED_MAX:
            del resolved[0]
            sink.note("cut_first_contacts")
        cell = self._cells.own(event)
        sink.count(_RESOLVED, cell, event.time)
        sink.count(_STANDING, cell, event.time)
        resolved.append([event.time, id_, reason, event.time, cell.packed, *evidence(event, wanted=self._keeps_events)])

    def contacted(self, data: dict[str, Any], event: Touchpoint, sink: Sink) -> None:
        """The customer comes: about something that had been resolved?"""
        id_, reason = event.issue_id or event.case_id, event.reason
        left = []
        for one in data.get(_KEY, ()):
            if (id_ and one[_ID] == id_) or (reason and one[_REASON] == reason):
                cell = self._cells.unpack(one[_CELL])
                sink.count_back(_STANDING, cell, one[_FIRST_AT])
                sink.count(_DUE, cell, one[_AT] + self._within)
            else:
                left.append(one)
        self._keep(data, left)

    def fire(self, data: dict[str, Any], due: int, sink: Sink) -> None:
        """The time to come back is over."""
        left = []
        for one in data.get(_KEY, ()):
            if one[_AT] + self._within < due:
                cell, over = self._cells.unpack(one[_CELL]), one[_AT] + self._within
                sink.count(_DUE, cell, over)
                sink.count(_FIRST, cell, over)
            else:
                left.append(one)
        self._keep(data, left)

    def next_due(self, data: dict[str, Any]) -> int:
        """A contact at exactly the end still repeats."""
        resolved = data.get(_KEY)
        return resolved[0][_AT] + self._within + 1 if resolved else NEVER

    def _keep(self, data: dict[str, Any], left: list[list[Any]]) -> None:
        if left:
            data[_KEY] = left
        else:
            data.pop(_KEY, None)
