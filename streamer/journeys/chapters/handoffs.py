"""Handoffs (H1, H3): initiated, then accepted, rejected, initiated again, or left waiting. One at a time in each case."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final

from streamer.journeys.cells import EVENT
from streamer.journeys.chapter import Chapter
from streamer.journeys.exemplars import kept_cause
from streamer.journeys.state import NEVER, packed_cause_of
from streamer.metrics.chapters import handoffs
from streamer.metrics.counters import Counter

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.journeys.cells import Cells
    from streamer.journeys.sinks import Sink
    from streamer.journeys.state import Kept, State
    from streamer.rules.language import Value
    from streamer.touchpoints.touchpoint import Touchpoint

# Plain integers, because an enumeration's members cost twice.
_INITIATED: Final = int(Counter.HANDOFFS_INITIATED)
_DECIDED: Final = int(Counter.HANDOFFS_DECIDED)
_FAILED: Final = int(Counter.HANDOFFS_FAILED)
_COLD: Final = int(Counter.HANDOFFS_COLD)
_REQUIRING: Final = int(Counter.HANDOFFS_REQUIRING)
_COMPLETE: Final = int(Counter.HANDOFFS_COMPLETE)
_LATENCIES: Final = tuple(int(counter) for counter in handoffs.LATENCIES)
_EDGES_MS: Final = tuple(int(edge * 1000) for edge in handoffs.LATENCY_EDGES)

# What is kept of a handoff: t: of its initiation; due: when it fails, afterwards when it is forgotten; failed; rejected; cell; and the
# `cause`, if the event of its initiation is wanted as evidence.
_Handoff = dict[str, Any]


class Handoffs(Chapter):
    """data: the latest handoff of each case."""

    id = "handoffs"

    def __init__(self, definitions: Definitions, cells: Cells, evidenced: bytes) -> None:
        super().__init__(definitions, cells, evidenced)
        assert definitions.handoffs is not None  # noqa: S101  otherwise the chapter is off
        self.types = ("handoff.initiated", "handoff.accepted", "handoff.rejected")
        self._within = int(definitions.handoffs.accept_within)
        self._within_of_partner = int(definitions.handoffs.partner_accept_within)
        self._forget_after = int(definitions.handoffs.forget_after)
        self._limit = definitions.limits.cases_per_customer

    def apply(self, kept: Kept, event: Touchpoint, state: State, sink: Sink) -> int:
        """An initiation, or an answer to the case's latest one."""
        case = event.case_id or event.issue_id or event.contact_id
        handoff: _Handoff | None = kept.data.get(case)
        if event.type == "handoff.initiated":
            if handoff is not None:
                self._fail(handoff, event.time, sink)
                del kept.data[case]
            self._initiate(kept, case, event, sink)
        elif handoff is not None:
            if event.type == "handoff.accepted":
                if not handoff["rejected"]:
                    self._accept(handoff, event.time, sink)
                del kept.data[case]
            elif not handoff["rejected"]:
                if not handoff["failed"]:
                    handoff["due"] += self._forget_after
                self._fail(handoff, event.time, sink)
                handoff["rejected"] = True
        self.set_due(kept)
        return 0

    def _initiate(self, kept: Kept, case: str, event: Touchpoint, sink: Sink) -> None:
        if len(kept.data) >= self._limit:
            oldest = min(kept.data, key=lambda one: (kept.data[one]["t"], one))
            del kept.data[oldest]
            sink.note("cut_handoffs")
        t, cell = event.time, self.cells.of(EVENT, event.journey, event, event.to_team)
        due = t + (self._within_of_partner if event.partner else self._within)
        kept.data[case] = {"t": t, "due": due, "failed": False, "rejected": False, "cell": cell.packed}
        if self.evidenced[_FAILED]:
            kept.data[case]["cause"] = packed_cause_of(event)
        sink.count(_INITIATED, cell, t)
        if event.handoff_kind == "cold" or (event.handoff_kind != "warm" and event.context_passed is False):
            sink.count(_COLD, cell, t)
        complete = None if event.details is None else event.details.context_complete
        if complete is not None:
            sink.count(_REQUIRING, cell, t)
            if complete:
                sink.count(_COMPLETE, cell, t)

    def _fail(self, handoff: _Handoff, time_ms: int, sink: Sink) -> None:
        if not handoff["failed"]:
            handoff["failed"] = True
            cell = self.cells.unpack(handoff["cell"])
            sink.count(_DECIDED, cell, time_ms)
            sink.count(_FAILED, cell, time_ms)

    def _accept(self, handoff: _Handoff, time_ms: int, sink: Sink) -> None:
        bucket = bisect_left(_EDGES_MS, time_ms - handoff["t"])
        cell = self.cells.unpack(handoff["cell"])
        sink.count(_LATENCIES[bucket], cell, time_ms)
        if not handoff["failed"]:
            sink.count(_DECIDED, cell, time_ms)

    def fire(self, kept: Kept, due: int, state: State, sink: Sink) -> None:
        """Handoffs fail because nobody has accepted them in time, and are forgotten long after."""
        for case, handoff in list(kept.data.items()):
            if handoff["due"] != due:
                continue
            if handoff["failed"]:
                del kept.data[case]
            else:
                sink.at_deadline(kept_cause(handoff.get("cause")))
                self._fail(handoff, due, sink)
                handoff["due"] = due + self._forget_after
        self.set_due(kept)

    def signal(self, kept: Kept, name: str) -> Value:
        """`handoffs_waiting` and `handoffs_failed`."""
        failed = name == "handoffs_failed"
        return sum(1 for handoff in kept.data.values() if handoff["failed"] == failed)

    def set_due(self, kept: Kept) -> None:
        """When the first of what is kept is over."""
        kept.due = min((handoff["due"] for handoff in kept.data.values()), default=NEVER)
