"""Digital (section 2, H4): signals of frustration in sessions, sent by clients or seen in raw events; each counts once per burst."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from streamer.journeys.chapter import Chapter, next_end
from streamer.journeys.plan import PLANS_MAX, is_by_customer, matches
from streamer.metrics.chapters import digital
from streamer.metrics.counters import Counter

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.journeys.cells import Cells
    from streamer.journeys.sinks import Sink
    from streamer.journeys.state import Kept, State
    from streamer.rules.language import Value
    from streamer.touchpoints.touchpoint import Touchpoint

# Beyond these the one longest without an event goes; of help beyond it, the oldest.
SESSIONS_MAX: Final = 20
RUNS_MAX: Final = 50
HELP_MAX: Final = 20

_SESSIONS: Final = int(Counter.DIGITAL_SESSIONS)
_CONFUSED: Final = int(Counter.SESSIONS_CONFUSED)
_SIGNALS: Final = int(Counter.DIGITAL_SIGNALS)
_SESSIONS_WITH: Final = {name: int(counter) for name, counter in digital.SESSIONS_WITH.items()}
_CONFUSING: Final = frozenset(digital.CONFUSING)

_VIEWS: Final = ("page.viewed", "screen.viewed")
_STEPS: Final = ("checkout.step_viewed", "journey.step_entered")
_OWN: Final = ("ui.clicked", "ui.error", "form.error", "friction.signal", "knowledge.searched", *_VIEWS, *_STEPS)
# Seen in raw events and friction of the journey; the clients' own signals are friction anyway.
_FRICTION: Final = frozenset({"rage_click", "error_loop", "page_loop", "step_ping_pong"})
# What rules see -> the signals it counts.
_OF_RULES: Final = {
    "rage_clicks": ("rage_click",), "error_loops": ("error_loop",), "page_loops": ("page_loop",), "step_ping_pongs": ("step_ping_pong",),
    "confusions": digital.CONFUSING, "digital_signals": ("",),
}  # fmt: skip
_COUNTED: Final = frozenset({*_SESSIONS_WITH, *_CONFUSING})


class Digital(Chapter):
    """data: `sessions`: session_id -> session, that without an id among them. A session: `start`, `cell` (packed), `last` time, `runs`:
    what comes again and again -> [whether it was counted, its last times], `steps`: [last, the one before, returns in a row], `help`:
    topic -> time, `said`: what of the session has been counted, `counts`: signal -> how many, in all under an empty name. What is empty
    need not be there: most sessions have little of it, and to make it would be most of what they cost.
    """

    id = "digital"

    def __init__(self, definitions: Definitions, cells: Cells, evidenced: bytes) -> None:
        super().__init__(definitions, cells, evidenced)
        settings = definitions.digital
        assert settings is not None  # noqa: S101  otherwise the chapter is off
        self._contact = definitions.contacts.started
        self._activity = (*_OWN, *settings.activity)
        self.types = (*self._activity, *self._contact)
        self._roles: dict[str, tuple[bool, bool, bool]] = {}
        self._gap_ms, self._help_within = int(settings.session_gap), int(settings.help_within)
        self._help_pages = settings.help_pages
        self._ignored_words, self._ignored_kinds = settings.ignore_elements, frozenset(settings.ignore_kinds)
        self._bursts = {
            "rage_click": (settings.rage_clicks, int(settings.rage_within)),
            "error_loop": (settings.loop_errors, int(settings.error_within)),
            "page_loop": (settings.loop_pages, int(settings.page_within)),
            "field_trouble": (settings.field_errors, int(settings.field_within)),
        }
        self._returns = settings.step_returns
        self._loop_tenths = round(definitions.effort.error_loop * 10)
        self._signalled = False  # whether the event just applied is a signal

    def is_evidence(self, event: Touchpoint) -> bool:
        """Only signals."""
        return self._signalled

    def _roles_of(self, event_type: str) -> tuple[bool, bool, bool]:
        """Whether it belongs to a session, whether it is a contact, and whether it can be a signal by itself."""
        roles = self._roles.get(event_type)
        if roles is None:
            roles = (matches(event_type, self._activity), matches(event_type, self._contact), event_type in _OWN)
            if len(self._roles) < PLANS_MAX:
                self._roles[event_type] = roles
        return roles

    def apply(self, kept: Kept, event: Touchpoint, state: State, sink: Sink) -> int:
        """Fold one event; signals seen in raw events are friction."""
        self._signalled, self.moved = False, self.first_look and not kept.data
        self.effort_tenths = 0
        in_session, is_contact, looked_for = self._roles_of(event.type)
        if is_contact and is_by_customer(event):
            self._after_help(kept, event, sink)
        # Somebody of ours who looks something up for the customer is neither in a session of the customer's nor confused.
        if not in_session or (event.type == "knowledge.searched" and not is_by_customer(event)):
            return 0
        session = self._session(kept, event, sink)
        sessions: dict[str, dict[str, Any]] = kept.data["sessions"]
        kept.due = event.time + self._gap_ms if len(sessions) == 1 else next_end(sessions, "last", self._gap_ms)
        if not looked_for:
            return 0
        seen = self._seen(session, event, sink)
        if not seen or seen in self._ignored_kinds:
            return 0
        self._signal(session, seen, event, sink)
        if seen == "error_loop":
            self.effort_tenths = self._loop_tenths
        return int(seen in _FRICTION and event.type != "friction.signal")

    def _session(self, kept: Kept, event: Touchpoint, sink: Sink) -> dict[str, Any]:
        sessions: dict[str, dict[str, Any]] = kept.data.setdefault("sessions", {})
        session = sessions.get(event.session_id)
        if session is None:
            if len(sessions) >= SESSIONS_MAX:
                del sessions[min(sessions, key=lambda other: (sessions[other]["last"], other))]
                self.moved = True
                sink.note("cut_digital_sessions")
            cell = self.cells.own(event)
            session = sessions[event.session_id] = {"start": event.time, "cell": cell.packed, "last": 0}
            sink.count(_SESSIONS, cell, event.time)
        session["last"] = event.time
        return session

    def _seen(self, session: dict[str, Any], event: Touchpoint, sink: Sink) -> str:
        """What signal the event is, or an empty name."""
        details = event.details
        type_ = event.type
        if type_ in _STEPS:
            return self._step(session, event)
        if type_ == "friction.signal":
            return "" if details is not None and self._is_ignored(details.element_id) else event.friction_kind
        if type_ == "ui.error":
            return self._again(session, "error_loop", event.friction_code, event.time, sink)
        if type_ == "form.error":
            return self._again(session, "field_trouble", event.field, event.time, sink)
        if details is None:
            if type_ == "knowledge.searched":
                self._help(session, event, sink)
            return ""
        if type_ == "ui.clicked":
            element = details.element_id
            return "" if self._is_ignored(element) else self._again(session, "rage_click", element, event.time, sink)
        if type_ == "knowledge.searched":
            self._help(session, event, sink)
            return "no_results" if details.results == 0 else ""
        if type_ in _VIEWS:
            if any(details.page.startswith(beginning) for beginning in self._help_pages):
                self._help(session, event, sink)
            return self._again(session, "page_loop", details.page, event.time, sink)
        return ""

    def _is_ignored(self, element: str) -> bool:
        return any(word in element for word in self._ignored_words)

    def _again(self, session: dict[str, Any], name: str, what: str, time: int, sink: Sink) -> str:
        """The name if this is the burst's event that makes it one."""
        if not what:
            return ""
        times, within = self._bursts[name]
        runs: dict[str, list[Any]] = session.setdefault("runs", {})
        key = name + " " + what
        run = runs.get(key)
        if run is None:
            if len(runs) >= RUNS_MAX:
                self._make_room(runs, time, sink)
            run = runs[key] = [False]
        elif time - run[-1] > within:
            run[:] = [False]
        found = not run[0] and len(run) >= times and time - run[1 - times] <= within
        if found:
            run[0] = True
        run.append(time)
        if len(run) > times:
            del run[1]
        return name if found else ""

    def _make_room(self, runs: dict[str, list[Any]], time: int, sink: Sink) -> None:
        """Those that have ended go, which changes nothing; else the one longest without an event."""
        for key in [key for key, run in runs.items() if time - run[-1] > self._bursts[key.split(" ", 1)[0]][1]]:
            del runs[key]
        if len(runs) >= RUNS_MAX:
            del runs[min(runs, key=lambda key: (runs[key][-1], key))]
            sink.note("cut_bursts")

    def _step(self, session: dict[str, Any], event: Touchpoint) -> str:
        if not event.step:
            return ""
        steps: list[Any] | None = session.get("steps")
        if steps is None:
            steps = session["steps"] = ["", "", 0]
        step = event.journey + "\x1f" + event.step
        if step == steps[0]:
            return ""
        steps[2] = steps[2] + 1 if step == steps[1] else 0
        steps[1], steps[0] = steps[0], step
        return "step_ping_pong" if steps[2] == self._returns else ""

    def _help(self, session: dict[str, Any], event: Touchpoint, sink: Sink) -> None:
        help_: dict[str, int] = session.setdefault("help", {})
        help_.pop(event.reason, None)
        if len(help_) >= HELP_MAX:
            del help_[next(iter(help_))]
            sink.note("cut_help")
        help_[event.reason] = event.time

    def _after_help(self, kept: Kept, event: Touchpoint, sink: Sink) -> None:
        """A contact: help on its topic just before did not help. What names no topic may be about any."""
        sessions: dict[str, dict[str, Any]] = kept.data.get("sessions", {})
        for session in sessions.values():
            help_: dict[str, int] = session.get("help", {})
            used = [topic for topic in help_ if topic == event.reason or not topic or not event.reason]
            if any(event.time - help_[topic] < self._help_within for topic in used) and "help_then_contact" not in self._ignored_kinds:
                self._signal(session, "help_then_contact", event, sink)
            for topic in used:
                del help_[topic]

    def _signal(self, session: dict[str, Any], name: str, event: Touchpoint, sink: Sink) -> None:
        self._signalled = self.moved = True
        cell = self.cells.with_value(self.cells.own(event), "cause", name)
        sink.count(_SIGNALS, cell, event.time)
        counts: dict[str, int] = session.setdefault("counts", {})
        counts[""] = counts.get("", 0) + 1
        if name not in _COUNTED:
            return
        counts[name] = counts.get(name, 0) + 1
        said: list[str] = session.setdefault("said", [])
        if name in _SESSIONS_WITH and name not in said:
            said.append(name)
            sink.count(_SESSIONS_WITH[name], self.cells.unpack(session["cell"]), session["start"])
        if name in _CONFUSING and "confused" not in said:
            said.append("confused")
            sink.count(_CONFUSED, self.cells.unpack(session["cell"]), session["start"])

    def fire(self, kept: Kept, due: int, state: State, sink: Sink) -> None:
        """Sessions without an event for so long have ended."""
        sessions: dict[str, dict[str, Any]] = kept.data["sessions"]
        self.moved = False
        for id_ in [id_ for id_, session in sessions.items() if session["last"] + self._gap_ms <= due]:
            self.moved = self.moved or bool(sessions[id_].get("counts"))  # most had no signal
            del sessions[id_]
        if not sessions:
            del kept.data["sessions"]
        self.set_due(kept)

    def set_due(self, kept: Kept) -> None:
        """When the first session ends."""
        kept.due = next_end(kept.data.get("sessions", {}), "last", self._gap_ms)

    def signal(self, kept: Kept, name: str) -> Value:
        """Of the open sessions."""
        found = 0
        for session in kept.data.get("sessions", {}).values():
            counts: dict[str, int] = session.get("counts", {})
            if counts:  # of most sessions none
                for kind in _OF_RULES[name]:
                    found += counts.get(kind, 0)
        return found
