"""Causes (J5): every friction signal by its cause, and for how long the customer counts as having met it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from streamer.journeys.chapter import Chapter
from streamer.journeys.exemplars import kept_cause
from streamer.journeys.state import NEVER, packed_cause_of
from streamer.metrics.chapters import causes
from streamer.metrics.counters import Counter

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.journeys.cells import Cells
    from streamer.journeys.sinks import Sink
    from streamer.journeys.state import Kept, State
    from streamer.rules.language import Value
    from streamer.touchpoints.touchpoint import Touchpoint

_CAUSES: Final = int(Counter.CAUSES)
_CUSTOMERS: Final = tuple(int(counter) for counter in causes.CUSTOMERS)
_SPANS: Final = tuple(range(len(_CUSTOMERS)))
# Both halves, so that a cause is no longer than a label may be.
_KIND_MAX: Final = 64
_CODE_MAX: Final = 63

# What is kept of a cause: n: its signals in a row; due: when the customer leaves each stock, 0 if he has; cells: in which he is;
# events: by which he came into each, where a rule wants them.
_Cause = dict[str, Any]


class Causes(Chapter):
    """data: by cause, what is kept of it. A customer is in a stock with the cell of the signal that put him there."""

    id = "causes"

    def __init__(self, definitions: Definitions, cells: Cells, evidenced: bytes) -> None:
        super().__init__(definitions, cells, evidenced)
        assert definitions.causes is not None  # noqa: S101  otherwise the chapter is off
        self.types = definitions.causes.types
        self._limit = definitions.causes.causes_per_customer
        self._keeps_events = any(self.evidenced[counter] for counter in _CUSTOMERS)

    def apply(self, kept: Kept, event: Touchpoint, state: State, sink: Sink) -> int:
        """Count a signal."""
        name, t = cause_of(event), event.time
        cell = self.cells.with_value(self.cells.own(event), "cause", name)
        sink.count(_CAUSES, cell, t)
        cause: _Cause | None = kept.data.pop(name, None)
        if cause is None:
            if len(kept.data) >= self._limit:
                self._cut(kept, t, sink)
            cause = {"n": 0, "due": [0 for _ in _SPANS], "cells": [cell.packed for _ in _SPANS]}
            if self._keeps_events:
                cause["events"] = [b"" for _ in _SPANS]
        kept.data[name] = cause  # the latest is the last
        cause["n"] += 1
        for span in _SPANS:
            if not cause["due"][span]:
                cause["cells"][span] = cell.packed
                if "events" in cause:
                    cause["events"][span] = packed_cause_of(event)
                sink.count(_CUSTOMERS[span], cell, t)
            cause["due"][span] = t + causes.SPANS_MS[span]
        self.set_due(kept)
        return 0

    def _cut(self, kept: Kept, time_ms: int, sink: Sink) -> None:
        """The cause that is longest ago makes room: the customer leaves its stocks."""
        oldest = next(iter(kept.data))
        cause = kept.data.pop(oldest)
        for span in _SPANS:
            if cause["due"][span]:
                self._leave(cause, span, time_ms, sink)
        sink.note("cut_causes")

    def _leave(self, cause: _Cause, span: int, time_ms: int, sink: Sink) -> None:
        event = kept_cause(cause["events"][span]) if "events" in cause else None
        sink.count_for(event, _CUSTOMERS[span], self.cells.unpack(cause["cells"][span]), time_ms, -1)

    def fire(self, kept: Kept, due: int, state: State, sink: Sink) -> None:
        """The customer leaves stocks; out of the last one, the cause is forgotten."""
        for name, cause in list(kept.data.items()):
            for span in _SPANS:
                if cause["due"][span] == due:
                    cause["due"][span] = 0
                    self._leave(cause, span, due, sink)
            if not any(cause["due"]):
                del kept.data[name]
        self.set_due(kept)

    def signal(self, kept: Kept, name: str) -> Value:
        """`repeated_cause`."""
        return max((cause["n"] for cause in kept.data.values()), default=0)

    def set_due(self, kept: Kept) -> None:
        """When the first of what is kept is over."""
        kept.due = min((due for cause in kept.data.values() for due in cause["due"] if due), default=NEVER)


def cause_of(event: Touchpoint) -> str:
    """What went wrong: the kind of friction, else the type; and the code, else the reason, if there is one."""
    kind, code = event.friction_kind or event.type, event.friction_code or event.reason
    return f"{kind[:_KIND_MAX]}:{code[:_CODE_MAX]}" if code else kind[:_KIND_MAX]
