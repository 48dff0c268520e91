"""A history through one or more versions of the rules at once: from a file in memory, or from a log that is read piece by piece."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from streamer.alerts.times import milliseconds
from streamer.backtest.firings import Firing, Span, firings_of
from streamer.backtest.samples import Samples
from streamer.replay.pipeline import CHUNK, Arrival, Run, Shape, end_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamer.alerts.alert import Alert
    from streamer.definitions import Definitions
    from streamer.replay.history import History
    from streamer.replay.pipeline import Piece

# A log is folded partition by partition, in pieces: what waits for a slower partition is bounded by the piece, not by this.
_HELD_MAX: Final = 1 << 60


class Version(NamedTuple):
    """What one version of the rules did. alerts: the transitions in the span, by event time; firings: those that began in it.

    before: firings that began earlier and still lasted when the span begins. all_firings: whenever they began, up to its end.
    """

    definitions: Definitions
    alerts: Sequence[Alert]
    firings: Sequence[Firing]
    before: int
    all_firings: Sequence[Firing]
    samples: Samples | None
    span: Span


class Backtest:
    """Folds a history under several definitions. shape: of the installation; observed: whether to sample the first one's numbers."""

    def __init__(self, versions: Sequence[Definitions], shape: Shape, *, observed: bool = False) -> None:
        self._versions = versions
        self._samples = Samples() if observed else None
        self._runs = [
            Run(version, shape._replace(held_max=_HELD_MAX), build="backtest", keep_sums=False, observe=None if number else self._samples)
            for number, version in enumerate(versions)
        ]
        self._alerts: list[list[Alert]] = [[] for _ in versions]

    def fold_history(self, history: History, to_ms: int | None, progress: Callable[[int], None], *, close: bool = False) -> None:
        """A sorted file, each event as if it had arrived when it happened, up to `to_ms`, even after the last event, or else up to that.

        close: let time go on after the last event until every deadline is over.
        """
        end_ms = to_ms
        if close:
            closed_ms = max(end_of(history.end_ms, version) for version in self._versions)
            end_ms = closed_ms if to_ms is None else min(to_ms, closed_ms)
        for run in self._runs:
            run.control("begin", history.begin_ms)
        arrivals = (Arrival(e.time_ms, e.key, e.value) for e in history.events if to_ms is None or e.time_ms < to_ms)
        done = 0
        while batch := list(islice(arrivals, CHUNK)):
            for run in self._runs:
                run.fold(batch)
            self._collect()
            done += len(batch)
            progress(done)
        for run in self._runs:
            run.end(None if end_ms is None else max(history.begin_ms, end_ms))
        self._collect()

    def fold_piece(self, piece: Piece) -> None:
        """A piece of a log, as its partitions have it."""
        for run in self._runs:
            run.fold_piece(piece)
        self._collect()

    def versions(self, span: Span) -> list[Version]:
        """What came of it, in the span."""
        found = []
        for number, (definitions, alerts) in enumerate(zip(self._versions, self._alerts, strict=True)):
            # Of a log, what came after the span is folded, too: what had not ended by then lasts, as it does where a file is cut there.
            firings = firings_of(alert for alert in alerts if span.to_ms is None or event_ms(alert) < span.to_ms)
            began = span.from_ms if span.from_ms is not None else -1
            before = sum(f.start_ms < began and (f.end_ms is None or f.end_ms >= began) for f in firings)
            told = [alert for alert in alerts if span.has(event_ms(alert))]
            told.sort(key=event_ms)
            inside = [firing for firing in firings if span.has(firing.start_ms)]
            found.append(Version(definitions, told, inside, before, firings, None if number else self._samples, span))
        return found

    def _collect(self) -> None:
        for alerts, run in zip(self._alerts, self._runs, strict=True):
            alerts += run.take_alerts()


def event_ms(alert: Alert) -> int:
    """When a transition happened."""
    return milliseconds(alert.event_time)
