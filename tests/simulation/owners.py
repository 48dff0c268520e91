"""The owners of one partition, one after the other, and what they leave in Kafka. What was not drained is lost with its owner.

A drain is one transaction: all of it is committed at once or, when it is aborted, nothing.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from streamer import deltas, topics
from streamer.journeys import marker
from streamer.journeys.processor import JourneysProcessor
from streamer.processor import MARKER_KEY, ROW_PREFIX, Drained, LogRecord, Output
from streamer.rollup import rows
from streamer.rollup.processor import RollupProcessor
from streamer.rules.evaluate import Episode
from tests.journeys_support import Meaning, meaning_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamer.definitions import Definitions
    from streamer.journeys.write_behind import Behind

Booking = tuple[int, tuple[tuple[str, str], ...], int]  # counter, slice, pane

_OUTCOMES = ("applied", "duplicate", "late", "dead_lettered", "ignored")


class Opened(NamedTuple):
    """How the next owner comes: its revision of the definitions, and the batches in which it folds again."""

    revision: int
    refold_batch: int = 1000


class UnaccountedError(AssertionError):
    """Invariant I5 does not hold."""


class Owners:
    """What both machines have in common. `position`: from where the owner reads on; `next_offset`: as committed."""

    processor: JourneysProcessor | RollupProcessor

    def __init__(self, definitions: Mapping[int, Definitions], revision: int) -> None:
        self.definitions = definitions
        self.changelog: dict[bytes, bytes] = {}
        self.next_offset: int | None = None
        self.position = 0
        self.opened = Opened(revision)

    def log_from(self, offset: int) -> Sequence[LogRecord]:
        raise NotImplementedError

    def open(self) -> None:
        """The next owner restores what is committed."""
        raise NotImplementedError

    def fold(self, records: Sequence[LogRecord], end: int) -> None:
        self.processor.process(records, end)
        self.position = end

    def fold_next(self, count: int) -> None:
        """Fold so many records; of 0, the gap before the next one."""
        rest = self.log_from(self.position)
        if rest and count:
            self.fold(rest[:count], rest[:count][-1].offset + 1)
        elif rest:
            self.fold((), rest[0].offset)

    def drain(self) -> None:
        self.commit(self.processor.drain())
        self._check_accounting()

    def lose_transaction(self) -> None:
        """Everything was sent, and the transaction aborted."""
        self.processor.drain()
        self.open()

    def close(self) -> None:
        """An orderly end."""
        self.drain()
        self.open()

    def commit(self, drained: Drained) -> None:
        """The transaction."""
        self.write_rows(drained)
        self.write_outputs(drained)
        self.next_offset = drained.next_offset

    def write_rows(self, drained: Drained) -> None:
        assert drained.rows[-1][0] == MARKER_KEY, "a drain without its marker"
        for key, row in drained.rows:
            if row is None:
                self.changelog.pop(key, None)
            else:
                self.changelog[key] = row

    def write_outputs(self, drained: Drained) -> None:
        raise NotImplementedError

    def _check_accounting(self) -> None:
        a = self.processor.accounting
        if a["consumed"] != sum(a[outcome] for outcome in _OUTCOMES):
            raise UnaccountedError(str(dict(a)))


class SourceOwners(Owners):
    """Of one partition of touchpoints. `first_revision`: of the definitions that its first state was made with."""

    processor: JourneysProcessor

    def __init__(
        self,
        number: int,
        log: Sequence[LogRecord],
        definitions: Mapping[int, Definitions],
        behind: Behind,
        *,
        sources: int,
        revision: int = 1,
    ) -> None:
        super().__init__(definitions, revision)
        self.number = number
        self.log = log
        self.first_revision = revision
        self.journal: list[marker.JournalEntry] = []
        self.alerts: list[bytes] = []
        self.put_aside: list[Output] = []
        self.deltas: list[bytes] = []
        self.tick_sums: Counter[tuple[Booking, int]] = Counter()
        self._behind = behind
        self._sources = sources
        self.open()

    def log_from(self, offset: int) -> Sequence[LogRecord]:
        return [record for record in self.log if record.offset >= offset]

    def open(self) -> None:
        processor = self.processor = JourneysProcessor(
            self.definitions[self.opened.revision],
            partition=self.number,
            partitions=self._sources,
            behind=self._behind,
        )
        if self.changelog:
            processor.restore(reversed(self.changelog.items()))  # no order is promised
        if processor.next_offset is None:
            processor.process((), 0)
        self.position = processor.next_offset or 0
        if processor.replay_from is not None:
            self._refold(processor.replay_from)

    def _refold(self, start: int) -> None:
        end = self.position
        records = [record for record in self.log_from(start) if record.offset < end]
        batch = self.opened.refold_batch
        parts = [records[at : at + batch] for at in range(0, len(records), batch)] or [[]]
        for part in parts[:-1]:
            self.processor.refold(part, part[-1].offset + 1)
        self.processor.refold(parts[-1], end)
        assert self.processor.replay_from is None

    def write_outputs(self, drained: Drained) -> None:
        if self.next_offset is None:
            self.first_revision = marker.decode(self.changelog[MARKER_KEY]).revision
        self.journal += map(marker.decode_journal, drained.journal)
        for output in drained.outputs:
            if output.topic == topics.ALERTS:
                self.alerts.append(output.value or b"")
            elif output.topic == topics.DELTAS:
                self.deltas.append(output.value or b"")
                self._book(deltas.decode(output.value or b""))
            else:
                self.put_aside.append(output)

    def close(self) -> None:
        """An orderly end leaves nothing to fold again."""
        self.processor.write_all()
        super().close()

    def latest_arrival(self) -> int | None:
        """Of what was read."""
        read = [record.timestamp for record in self.log if record.offset < self.position]
        return read[-1] if read else None

    def rows(self) -> dict[bytes, Meaning]:
        """What the customers' rows mean."""
        return {key: meaning_of(self.processor, key, row) for key, row in self.processor.rows().items()}

    def rows_written(self) -> dict[bytes, Meaning | bytes]:
        """The changelog, likewise; definitions that nobody is of any more go with the next owner, so they are left out."""
        written = self.changelog.items()
        rows = {key: meaning_of(self.processor, key[1:], row) for key, row in written if key[:1] == ROW_PREFIX}
        used = {marker.decode(self.changelog[MARKER_KEY]).revision, *(row.revision for row in rows.values())}
        needed = {marker.DEFINITIONS_PREFIX + b"%d" % revision for revision in used}
        others = {key: row for key, row in written if key not in rows and (key[:1] != marker.DEFINITIONS_PREFIX or key in needed)}
        return {**rows, **others}

    def sums(self) -> dict[Booking, int]:
        """Net over all ticks."""
        sums: Counter[Booking] = Counter()
        for (booking, _), n in self.tick_sums.items():
            sums[booking] += n
        return {booking: n for booking, n in sums.items() if n}

    def _book(self, batch: deltas.DeltaBatch) -> None:
        cells = [tuple((d, v) for d, v in zip(batch.dimensions, values, strict=True) if v) for values in batch.cells]
        for tick, flat in batch.ticks:
            for pane, cell, counter, n in zip(*[iter(flat)] * 4, strict=True):
                self.tick_sums[(counter, cells[cell], pane), tick] += n


class RollupOwners(Owners):
    """Of the one partition of deltas. `upgrades`: the offsets from which an owner with other definitions was the first to commit."""

    processor: RollupProcessor

    def __init__(self, definitions: Mapping[int, Definitions], *, revision: int = 1) -> None:
        super().__init__(definitions, revision)
        self.log: list[LogRecord] = []
        self.alerts: list[bytes] = []
        self.upgrades: list[tuple[int, int]] = []
        self._revision: int | None = None
        self.open()

    def append(self, value: bytes) -> None:
        """One more record of deltas."""
        self.log.append(LogRecord(len(self.log), len(self.log), None, value))

    def log_from(self, offset: int) -> Sequence[LogRecord]:
        return self.log[offset:]

    def open(self) -> None:
        self.processor = RollupProcessor(self.definitions[self.opened.revision], partition=0, partitions=1, build="")
        if self.changelog:
            self.processor.restore(reversed(self.changelog.items()))
        self.position = self._opened_at = self.processor.next_offset or 0

    def write_outputs(self, drained: Drained) -> None:
        revision = self.processor.definitions.revision
        if revision != self._revision:
            self.upgrades.append((self._opened_at, revision))
            self._revision = revision
        for output in drained.outputs:
            assert output.topic == topics.AGGREGATE_ALERTS, output
            self.alerts.append(output.value or b"")

    def rows(self) -> dict[bytes, object]:
        """The state, row by row, without rules of which there is nothing to remember."""
        return {key: _decoded(value) for key, value in self.processor.rows().items() if value != _IDLE}

    def rows_written(self) -> dict[bytes, object]:
        """The changelog, likewise; what of a held record is decided is told by the clock alone."""
        clock = self.processor.hold.clock
        return {key: _undecided(key, _decoded(value), clock) for key, value in self.changelog.items() if value != _IDLE}


_encode = msgspec.msgpack.Encoder().encode
_decode_any = msgspec.msgpack.Decoder().decode
_IDLE = _encode(Episode())


def _decoded(value: bytes) -> object:
    try:
        return _decode_any(value)
    except msgspec.DecodeError:
        return value  # the text of definitions


def _undecided(key: bytes, row: Any, clock: int | None) -> object:
    if rows.by_kind(key) != rows.HELD or clock is None:
        return row
    dimensions, cells, ticks, source, exemplars = row
    return [dimensions, cells, [part for part in ticks if part[0] >= clock], source, [one for one in exemplars if one[0] >= clock]]
