"""Where a fold's effects go: to the partition, nowhere (to rebuild a state), or aside (to compare two folds)."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable
from typing import Protocol

from streamer.alerts.alert import State
from streamer.deltas import PANE_MS
from streamer.journeys.cells import COUNTER_BITS, Cell, Ledger
from streamer.journeys.state import Episode


class Sink(Protocol):
    """Receives what a fold decides."""

    def count(self, counter: int, cell: Cell, time_ms: int, n: int = 1) -> None:
        """A counter changes by n in the pane of `time_ms`."""

    def correct(self, cell: Cell, pane_counter: int, n: int) -> None:
        """A counter of an earlier fold changes by n; pane and counter as one integer (`cells.COUNTER_BITS`)."""

    def note(self, kind: str) -> None:
        """Something to account for: a limit that cut, or which id told an instance."""

    def transition(self, state: State, key: str, episode: Episode, time_ms: int) -> None:
        """An alert fires, is amended or is resolved, at `time_ms`."""


class Live:
    """To the partition: counts to its ledger, notes to its accounts, transitions to be told."""

    def __init__(self, ledger: Ledger, notes: Tally[str], tell: Callable[[State, str, Episode, int], None]) -> None:
        self.count = ledger.count
        self.correct = ledger.correct
        self.transition = tell
        self._notes = notes

    def note(self, kind: str) -> None:
        """Account for it."""
        self._notes[kind] += 1


class Muted:
    """Drops everything: for rebuilding a state whose effects are already out."""

    def count(self, counter: int, cell: Cell, time_ms: int, n: int = 1) -> None:
        """Drop it."""

    def correct(self, cell: Cell, pane_counter: int, n: int) -> None:
        """Drop it."""

    def note(self, kind: str) -> None:
        """Drop it."""

    def transition(self, state: State, key: str, episode: Episode, time_ms: int) -> None:
        """Drop it."""


class Aside:
    """Keeps counts and notes for comparison, and which episodes fired; alerts are compared by the resulting states."""

    def __init__(self) -> None:
        self.counts: Tally[tuple[Cell, int]] = Tally()
        self.notes: Tally[str] = Tally()
        self.fired: set[tuple[str, int]] = set()

    def count(self, counter: int, cell: Cell, time_ms: int, n: int = 1) -> None:
        """Keep it."""
        self.counts[cell, (time_ms // PANE_MS) << COUNTER_BITS | counter] += n

    def correct(self, cell: Cell, pane_counter: int, n: int) -> None:
        """Keep it."""
        self.counts[cell, pane_counter] += n

    def note(self, kind: str) -> None:
        """Keep it."""
        self.notes[kind] += 1

    def transition(self, state: State, key: str, episode: Episode, time_ms: int) -> None:
        """Keep that it fired."""
        if state == "firing":
            self.fired.add((key, episode.n))
