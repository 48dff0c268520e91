"""Browsing (B8): sessions of product views, decided when they end, `gap` after their last event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from streamer.journeys.chapter import Chapter, next_end
from streamer.metrics.counters import Counter

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.journeys.cells import Cells
    from streamer.journeys.sinks import Sink
    from streamer.journeys.state import Kept, State
    from streamer.rules.language import Value
    from streamer.touchpoints.touchpoint import Touchpoint

_BROWSED: Final = int(Counter.SESSIONS_BROWSED)
_HESITATED: Final = int(Counter.SESSIONS_HESITATED)
# Places in what is kept of a session.
_BEGUN: Final = 0
_LAST: Final = 1
_VIEWS: Final = 2
_TAKEN: Final = 3
_CELL: Final = 4


class Browsing(Chapter):
    """data: `sessions`: session id, empty for events without -> [begun, last event, products viewed, anything put into the cart,
    packed cell of the first view].
    """

    id = "browsing"

    def __init__(self, definitions: Definitions, cells: Cells, evidenced: bytes) -> None:
        super().__init__(definitions, cells, evidenced)
        settings = definitions.browsing
        assert settings is not None  # noqa: S101  otherwise the chapter is off
        self.types = ("product.*", "cart.*")
        self._gap = int(settings.gap)
        self._views = settings.views
        self._dwell = int(settings.dwell)
        self._limit = settings.sessions_per_customer

    def apply(self, kept: Kept, event: Touchpoint, state: State, sink: Sink) -> int:
        """Add the event to its session."""
        sessions: dict[str, Any] = kept.data.setdefault("sessions", {})
        session = sessions.get(event.session_id)
        if session is None:
            if len(sessions) >= self._limit:
                del sessions[min(sessions, key=lambda name: (sessions[name][_LAST], name))]
                sink.note("cut_sessions")
            session = sessions[event.session_id] = [event.time, event.time, 0, False, None]
        session[_LAST] = event.time
        if event.type == "product.viewed":
            session[_VIEWS] += 1
            if session[_CELL] is None:
                session[_CELL] = self.cells.own(event).packed
        elif event.type == "cart.item_added":
            session[_TAKEN] = True
        kept.due = event.time + self._gap if len(sessions) == 1 else next_end(sessions, _LAST, self._gap)
        return 0

    def fire(self, kept: Kept, due: int, state: State, sink: Sink) -> None:
        """Sessions are over: count those in which a product was viewed."""
        sessions: dict[str, Any] = kept.data["sessions"]
        for name in [name for name, session in sessions.items() if session[_LAST] + self._gap <= due]:
            session = sessions.pop(name)
            if not session[_VIEWS]:
                continue
            cell = self.cells.unpack(session[_CELL])
            sink.count(_BROWSED, cell, due)
            long = session[_LAST] - session[_BEGUN] >= self._dwell
            if not session[_TAKEN] and (session[_VIEWS] >= self._views or long):
                sink.count(_HESITATED, cell, due)
        if not sessions:
            del kept.data["sessions"]
        self.set_due(kept)

    def set_due(self, kept: Kept) -> None:
        """When the first session ends."""
        kept.due = next_end(kept.data.get("sessions", {}), _LAST, self._gap)

    def signal(self, kept: Kept, name: str) -> Value:
        """`product_views`."""
        sessions = kept.data.get("sessions", {})
        return max((session[_VIEWS] for session in sessions.values() if not session[_TAKEN]), default=0)
