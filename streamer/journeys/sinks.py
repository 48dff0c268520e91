"""Where a fold's effects go: to the partition, nowhere (to rebuild a state), or aside (to compare two folds)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import final

from streamer.alerts.alert import State
from streamer.deltas import PANE_MS
from streamer.journeys.cells import COUNTER_BITS, Cell, Ledger
from streamer.journeys.state import Cause, Episode, cause_of
from streamer.touchpoints.touchpoint import Touchpoint


class Sink:
    """Receives what a fold decides.

    event: what is being folded, the cause of what changes; None at a deadline. cause: of what a deadline changes or an event takes back,
    if an event can be named.
    anonymous: the customer refuses analytics, and counts without being named. levels: of value, as bits, on which the journeys of the event
    have been touched, where that is looked at. counting: whether counts go anywhere; if not, what only counts need not be worked out.
    """

    def __init__(self, *, counting: bool = True) -> None:
        self.counting = counting
        self.event: Touchpoint | None = None
        self.cause: Cause | None = None
        self.anonymous = False
        self.levels = 0

    def at_deadline(self, cause: Cause | None = None) -> None:
        """What changes from here on is due to time, after the event `cause`."""
        self.event, self.cause = None, cause

    def count_back(self, counter: int, cell: Cell, time_ms: int, n: int = 1) -> None:
        """Take back what was counted for `cause`."""
        self.count_for(self.cause, counter, cell, time_ms, -n)

    def count_for(self, cause: Cause | None, counter: int, cell: Cell, time_ms: int, n: int) -> None:
        """Count for another event than what is being folded: a level falls by the event by which it has risen."""
        event, before = self.event, self.cause
        self.event, self.cause = None, cause
        self.count(counter, cell, time_ms, n)
        self.event, self.cause = event, before

    def origin(self, n: int) -> Cause | None:
        """The event behind a change by n, if it may be named."""
        if n == 0 or (n > 0 and self.anonymous):
            return None
        return self.cause if self.event is None else cause_of(self.event)

    @abstractmethod
    def count(self, counter: int, cell: Cell, time_ms: int, n: int = 1) -> None:
        """A counter changes by n in the pane of `time_ms`."""

    @abstractmethod
    def note(self, kind: str) -> None:
        """Something to account for: a limit that cut, or which id told an instance."""

    @abstractmethod
    def transition(self, state: State, key: str, episode: Episode, time_ms: int) -> None:
        """An alert fires, is amended or is resolved, at `time_ms`."""


@final
class Live(Sink):
    """To the partition: counts to its ledger, notes to its accounts, transitions to be told."""

    def __init__(self, ledger: Ledger, notes: dict[str, int], tell: Callable[[State, str, Episode, int], None]) -> None:
        super().__init__()
        self._ledger = ledger
        self._notes = notes
        self._tell = tell

    def count(self, counter: int, cell: Cell, time_ms: int, n: int = 1) -> None:
        """Add it to the ledger."""
        self._ledger.count(counter, cell, time_ms, n)
        if self._ledger.evidenced[counter]:
            cause = self.origin(n)
            if cause is not None:
                self._ledger.remember(counter, cell, time_ms, 1 if n > 0 else -1, cause)

    def remember(self, counter: int, cell: Cell, time_ms: int, sign: int, cause: Cause) -> None:
        """Keep the event behind a change that is in the ledger already."""
        self._ledger.remember(counter, cell, time_ms, sign, cause)

    def note(self, kind: str) -> None:
        """Account for it."""
        self._notes[kind] = self._notes.get(kind, 0) + 1

    def transition(self, state: State, key: str, episode: Episode, time_ms: int) -> None:
        """Tell it."""
        self._tell(state, key, episode, time_ms)


@final
class Muted(Sink):
    """Drops everything: for rebuilding a state whose effects are already out."""

    def __init__(self) -> None:
        super().__init__(counting=False)

    def count(self, counter: int, cell: Cell, time_ms: int, n: int = 1) -> None:
        """Drop it."""

    def note(self, kind: str) -> None:
        """Drop it."""

    def transition(self, state: State, key: str, episode: Episode, time_ms: int) -> None:
        """Drop it."""


@final
class Firings(Sink):
    """Keeps which episodes fired, and nothing else."""

    def __init__(self) -> None:
        super().__init__(counting=False)
        self.fired: set[tuple[str, int]] = set()

    def count(self, counter: int, cell: Cell, time_ms: int, n: int = 1) -> None:
        """Drop it."""

    def note(self, kind: str) -> None:
        """Drop it."""

    def transition(self, state: State, key: str, episode: Episode, time_ms: int) -> None:
        """Keep that it fired."""
        if state == "firing":
            self.fired.add((key, episode.n))


@final
class Aside(Sink):
    """Keeps counts and notes for comparison, and which episodes fired; alerts are compared by the resulting states.

    counts: per cell, by pane and counter in one integer. causes: of the counters in `evidenced`, by the same, with the change's sign.
    """

    def __init__(self, evidenced: bytes) -> None:
        super().__init__()
        self._evidenced = evidenced
        self.causes: dict[tuple[Cell, int], list[tuple[int, Cause]]] = {}
        self.counts: dict[Cell, dict[int, int]] = {}
        self.notes: dict[str, int] = {}
        self.fired: set[tuple[str, int]] = set()

    def count(self, counter: int, cell: Cell, time_ms: int, n: int = 1) -> None:
        """Keep it."""
        counts = self.counts.get(cell)
        if counts is None:
            counts = self.counts[cell] = {}
        key = (time_ms // PANE_MS) << COUNTER_BITS | counter
        counts[key] = counts.get(key, 0) + n
        if self._evidenced[counter]:
            cause = self.origin(n)
            if cause is not None:
                self.causes.setdefault((cell, key), []).append((1 if n > 0 else -1, cause))

    def note(self, kind: str) -> None:
        """Keep it."""
        self.notes[kind] = self.notes.get(kind, 0) + 1

    def transition(self, state: State, key: str, episode: Episode, time_ms: int) -> None:
        """Keep that it fired."""
        if state == "firing":
            self.fired.add((key, episode.n))
