"""Cases and their owners: handoffs and ping-pong (H1, H2) over consecutive distinct owners."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final

from streamer.journeys import cells
from streamer.journeys.state import Case, State, packed_cause_of, remember
from streamer.metrics.counters import Counter

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.journeys.sinks import Sink
    from streamer.touchpoints.touchpoint import Touchpoint

_CASES: Final = int(Counter.CASES)
_CASES_HANDED_OFF: Final = int(Counter.CASES_HANDED_OFF)
_HANDOFFS: Final = int(Counter.HANDOFFS)
_CASES_PING_PONG: Final = int(Counter.CASES_PING_PONG)
_PING_PONGS: Final = int(Counter.PING_PONGS)


class CaseFold:
    """Folds case events into a customer's owner histories. watched: whether a rule looks at them, so that their events are evidence."""

    def __init__(self, definitions: Definitions, interned: cells.Cells, *, watched: bool) -> None:
        self._journey: str = definitions.cases.journey
        self._retention_ms = int(definitions.cases.retention)
        self._limit = definitions.limits.cases_per_customer
        self._owners = tuple(attrgetter(name) for name in definitions.cases.owner)
        self._cells = interned
        self._evidence_limit = definitions.limits.evidence_per_alert if watched else 0

    def apply(self, state: State, event: Touchpoint, sink: Sink) -> bool:
        """Fold one case event; True if it was a ping-pong (A, B, A)."""
        key = event.case_id or event.issue_id
        owner = next((name for read in self._owners if (name := read(event))), "")
        if not key or not owner:
            return False
        case, t = state.cases.get(key), event.time
        if case is None:
            self._begin(state, key, owner, event, sink)
            return False
        case.due = t + self._retention_ms
        if owner == case.owner:
            return False
        cell = self._cells.of(cells.CASE, self._journey, event, team=case.owner)
        if not case.handoffs:
            sink.count(_CASES_HANDED_OFF, case.cell, case.started)
        case.handoffs += 1
        if self._evidence_limit:
            case.cause_count += 1
            remember(case.causes, packed_cause_of(event), self._evidence_limit)
        sink.count(_HANDOFFS, cell, t)
        bounced = owner == case.previous
        if bounced:
            if not case.ping_pongs:
                sink.count(_CASES_PING_PONG, case.cell, case.started)
            case.ping_pongs += 1
            sink.count(_PING_PONGS, cell, t)
        case.previous, case.owner = case.owner, owner
        return bounced

    def _begin(self, state: State, key: str, owner: str, event: Touchpoint, sink: Sink) -> None:
        if len(state.cases) >= self._limit:
            oldest = min(state.cases.values(), key=lambda case: (case.due, case.key))
            del state.cases[oldest.key]
            sink.note("cut_cases")
        cell = self._cells.of(cells.CASE, self._journey, event, team=owner)
        state.cases[key] = Case(key, event.time, event.time + self._retention_ms, cell, owner)
        sink.count(_CASES, cell, event.time)
