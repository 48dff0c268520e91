"""Known mistakes, planted around the product while a history runs; each must make a history diverge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from streamer import topics
from streamer.journeys import marker, processor, restoring
from streamer.journeys.cells import Ledger
from streamer.journeys.customer import Customer, Happened
from streamer.journeys.processor import JourneysProcessor
from streamer.journeys.state import NEVER
from streamer.journeys.timers import Timers
from streamer.journeys.write_behind import WriteBehind
from streamer.processor import MARKER_KEY, ROW_PREFIX
from streamer.rollup import rows, state
from streamer.rollup.hold import Hold
from tests.simulation.owners import RollupOwners, SourceOwners

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from streamer.processor import Drained, Record
    from tests.simulation.owners import Owners

# --- checkpoints -----------------------------------------------------------------------------------------------------------


def _torn_rows(self: Owners, drained: Drained) -> None:
    """Rows are written with the outputs, the marker is not."""
    lost = drained._replace(rows=drained.rows[:-1]) if self.next_offset is not None else drained
    for key, row in lost.rows:
        if row is None:
            self.changelog.pop(key, None)
        else:
            self.changelog[key] = row


def _rows_after_outputs(self: Owners) -> None:
    """The transaction is lost, but its outputs are not: the next owner sends them again."""
    drained = self.processor.drain()
    if self.next_offset is not None:
        self.write_outputs(drained)
    self.open()


def _offset_before_effect(self: Owners) -> None:
    """The transaction is lost, but not its offset: nobody folds its records again."""
    drained = self.processor.drain()
    self.changelog[MARKER_KEY] = drained.rows[-1][1] or b""
    self.next_offset = drained.next_offset
    self.open()


def _journal_dropped(write_outputs: Callable[..., None]) -> Callable[..., None]:
    def without_journal(self: SourceOwners, drained: Drained) -> None:
        write_outputs(self, drained._replace(journal=[]))

    return without_journal


def _skipping(open_: Callable[..., None]) -> Callable[..., None]:
    def one_too_far(self: SourceOwners) -> None:
        open_(self)
        rest = self.log_from(self.position)
        if rest and self.next_offset:
            self.position = rest[0].offset + 1

    return one_too_far


def _stale_batch(open_: Callable[..., None]) -> Callable[..., None]:
    def folds_it_twice(self: SourceOwners) -> None:
        before = self.position
        open_(self)
        stale = [record for record in self.log if self.position > record.offset >= before - 1][:1]
        if stale:
            self.processor.process(stale, self.position)

    return folds_it_twice


def _deltas_sent_twice(write_outputs: Callable[..., None]) -> Callable[..., None]:
    """But for the first ones, which are all that the single pass sends."""

    def twice(self: SourceOwners, drained: Drained) -> None:
        if self.next_offset is not None:
            again = [output for output in drained.outputs if output.topic == topics.DELTAS]
            drained = drained._replace(outputs=drained.outputs + again)
        write_outputs(self, drained)

    return twice


def _kept_outputs(drain: Callable[..., Drained]) -> Callable[..., Drained]:
    """A drain after which the alerts are still there."""

    def drain_twice(self: JourneysProcessor) -> Drained:
        drained = drain(self)
        self._outbox.outputs = [output for output in drained.outputs if output.topic == topics.ALERTS][-1:]
        return drained

    return drain_twice


# --- restoring and folding again -------------------------------------------------------------------------------------------


def _from_the_one_after(refold: Callable[..., None]) -> Callable[..., None]:
    def from_the_one_after(self: SourceOwners, start: int) -> None:
        refold(self, start + 1)

    return from_the_one_after


def _without_timers(load: Callable[..., restoring.Loaded]) -> Callable[..., restoring.Loaded]:
    return lambda *found: load(*found)._replace(due=Timers())


def _without_waiting(load: Callable[..., restoring.Loaded]) -> Callable[..., restoring.Loaded]:
    return lambda *found: load(*found)._replace(quiet=Timers())


def _without_idle_clock(decode: Callable[..., marker.Marker]) -> Callable[..., marker.Marker]:
    def decoded(packed: bytes) -> marker.Marker:
        found = decode(packed)
        found.clock = max(found.high, 0)
        return found

    return decoded


def _sums_kept(self: Ledger) -> tuple[list[Any], list[tuple[int, list[int]]]]:
    return [], []


def _sent_again(refold: Callable[..., None]) -> Callable[..., None]:
    """What is folded again is sent again."""

    def with_outputs(self: JourneysProcessor, records: list[Record], end: int, *, complete: bool = True) -> None:
        with patch.object(Ledger, "drain", _sums_kept):
            refold(self, records, end, complete=complete)

    return with_outputs


def _deleted_while_kept(write: Callable[..., None]) -> Callable[..., None]:
    """A customer who may be forgotten once the watermark has passed is deleted at once."""

    def with_early_tombstones(self: WriteBehind, count: int, now: Any, found: list[tuple[bytes, bytes | None]], *rest: Any) -> None:
        in_use = {key: customer for key in self._writing if (customer := self._customers.get(key))}
        waiting = {ROW_PREFIX + key for key, customer in in_use.items() if customer.waiting < NEVER}
        write(self, count, now, found, *rest)
        found[:] = [(key, None if key in waiting else row) for key, row in found]

    return with_early_tombstones


def _not_deleted(self: WriteBehind, customer: Customer, _: Any) -> None:
    self._customers.drop(customer)
    self._writing.pop(customer.key, None)


def _deleted_anyway(self: WriteBehind, found: list[tuple[bytes, bytes | None]]) -> None:
    found += [(ROW_PREFIX + key, None) for key in self._gone_before]
    self._gone_before = {}


def _one_row_missed(write: Callable[..., None]) -> Callable[..., None]:
    def without_the_last(self: WriteBehind, count: int, now: Any, found: list[Any], *rest: Any) -> None:
        write(self, count, now, found, *rest)
        if len(found) > 1:
            found.pop()

    return without_the_last


# --- folding ---------------------------------------------------------------------------------------------------------------


def _appended(self: Customer, fold: Any, event: Any, clock: int, sink: Any) -> Any:
    """An event out of order is applied as if it had come in order."""
    before = self.folded(fold, self.events(), clock)
    now = self.live(fold, clock)
    fold.apply(now, event, sink)
    self.due = fold.next_due(now)
    self.keep(event)
    return before, Happened(set(), 0)


def _uncounted(self: JourneysProcessor, record: Record, event: Any) -> None:
    """A record that is no event is skipped in silence."""


# --- the rollup ------------------------------------------------------------------------------------------------------------


def _fastest_source(self: Hold) -> bool:
    """The clock is that of the source furthest ahead."""
    clock = max(source.until_tick for source in self.sources.values())
    moved = self.clock is None or clock > self.clock
    self.clock = max(clock, self.clock or 0)
    return moved


def _first_source(self: Hold) -> bool:
    """It does not wait for sources that it has not heard of yet."""
    clock = min(source.until_tick for source in self.sources.values())
    moved = self.clock is None or clock > self.clock
    self.clock = max(clock, self.clock or 0)
    return moved


def _without(kind: bytes) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The restore of a rollup that does not see rows of this kind."""

    def planted(restore: Callable[..., None]) -> Callable[..., None]:
        return lambda owner, pairs: restore(owner, [pair for pair in pairs if rows.by_kind(pair[0]) != kind])

    return planted


def _delivered_twice(append: Callable[..., None]) -> Callable[..., None]:
    """The single pass reads each record once; the live rollup reads the first one twice."""

    def twice(self: RollupOwners, value: bytes) -> None:
        append(self, value)
        if self.next_offset and len(self.log) == self.next_offset + 1:
            append(self, value)

    return twice


def _around(owner: Any, name: str, wrapper: Callable[..., Any]) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: patch.object(owner, name, wrapper(getattr(owner, name)))


def _instead(owner: Any, name: str, planted: Any) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: patch.object(owner, name, planted)


# What goes wrong -> how to plant it.
BUGS: Final[dict[str, Callable[[], AbstractContextManager[Any]]]] = {
    "a torn checkpoint: rows without their marker": _instead(SourceOwners, "write_rows", _torn_rows),
    "a torn checkpoint: outputs of an aborted transaction": _instead(SourceOwners, "lose_transaction", _rows_after_outputs),
    "a torn checkpoint: the offset of an aborted transaction": _instead(SourceOwners, "lose_transaction", _offset_before_effect),
    "a torn checkpoint of the rollup: rows without their marker": _instead(RollupOwners, "write_rows", _torn_rows),
    "a dropped journal record": _around(SourceOwners, "write_outputs", _journal_dropped),
    "the next owner begins one record too far": _around(SourceOwners, "open", _skipping),
    "a stale batch after the partition was taken away": _around(SourceOwners, "open", _stale_batch),
    "an alert that stays in the next checkpoint": _around(JourneysProcessor, "drain", _kept_outputs),
    "folding again begins one record too far": _around(SourceOwners, "_refold", _from_the_one_after),
    "folding again does not ask what a row is of": _instead(JourneysProcessor, "_is_in_row", lambda self, record: False),
    "what is folded again is sent again": _around(JourneysProcessor, "refold", _sent_again),
    "folding again does not know the idle clock": _instead(WriteBehind, "clock_before", lambda self, offset: -1),
    "a tombstone before the customer is forgotten": _around(WriteBehind, "_write", _deleted_while_kept),
    "a changed row that is not written": _around(WriteBehind, "_write", _one_row_missed),
    "a tombstone that is not written": _instead(WriteBehind, "forget", _not_deleted),
    "timers lost in a restore": _around(processor, "load", _without_timers),
    "the waiting to be forgotten lost in a restore": _around(processor, "load", _without_waiting),
    "the idle clock lost in a restore": _around(marker, "decode", _without_idle_clock),
    "no deduplication": _instead(Customer, "has", lambda self, event, since_ms: False),
    "an event out of order applied as in order": _instead(Customer, "insert", _appended),
    "a dead letter that is not counted": _instead(JourneysProcessor, "_other", _uncounted),
    "deltas sent twice": _around(SourceOwners, "write_outputs", _deltas_sent_twice),
    "a tombstone though the customer has come back": _instead(WriteBehind, "_delete_gone", _deleted_anyway),
    "a tick decided before all sources passed it": _instead(Hold, "_move", _fastest_source),
    "a tick decided before all sources were heard": _instead(Hold, "_move", _first_source),
    "held deltas lost in a restore": _around(state, "restore", _without(rows.HELD)),
    "a rule's state lost in a restore": _around(state, "restore", _without(rows.RULE)),
    "evidence lost in a restore": _around(state, "restore", _without(rows.EVIDENCE)),
    "panes lost in a restore": _around(state, "restore", _without(rows.PANE)),
    "a record of deltas delivered twice": _around(RollupOwners, "append", _delivered_twice),
}
