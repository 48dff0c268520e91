"""Which rows are written when, and from where a restore has to fold the source again (write-behind).

The source is a log already and the fold is deterministic, so a customer's row need not be written with every change: encoding and
producing one costs about as much as folding an event. Changed rows are collected up to a *boundary*, an offset with the partition's
time as of then, and written a few with each drain, each as it is by then. When the last of them is written, a restore folds again
from that boundary only; a row written later than the boundary names the offset it is of, and what lies before is skipped for that
customer. While little happens, everything that changed is written with each drain, and nothing has to be folded again. Who changed and is
packed is written then, of that moment (`customers.py`); so is who is forgotten while his row waits to be written, for what he did before
the boundary would not be folded again.

In the same transaction as a boundary moves on, the rows of customers forgotten before it are deleted: one left behind would be of a
moment that is not folded again. The moves of the idle clock since the boundary are rows too, because they influence the fold and
are not in the source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from streamer.journeys.customer import Customer
from streamer.journeys.customers import Customers
from streamer.journeys.row import Boundary
from streamer.processor import ROW_PREFIX

# Changelog keys of the idle clock's moves: after which offset.
CLOCK_PREFIX: Final = b"j"
# About what one changed row weighs in a checkpoint; only decides when the next one is due.
_ROW_SIZE_BYTES: Final = 500


class Behind(NamedTuple):
    """How far rows may be behind, and how many customers of a partition are in use.

    rows_per_drain: while no more events than this come with a drain there is time to write what changed; in any drain as many rows can
    be written.
    replay_events: events after which what changed is written though there is no time. A restore folds at most about twice as many again:
    2 s at 10 us each. In 100,000 events of 13 per visit a row is written 0.1 times per event instead of 0.9 times.
    customers_in_use: about; the rest is kept as rows. In use, one takes 2 to 4 KB, as a row 0.5 KB.
    """

    rows_per_drain: int = 256
    replay_events: int = 100_000
    customers_in_use: int = 25_000


BEHIND: Final = Behind()

Rows = list[tuple[bytes, bytes | None]]


class WriteBehind:
    """Which rows of one partition are written when."""

    def __init__(self, behind: Behind, customers: Customers) -> None:
        self._customers = customers
        self._rows_per_drain = behind.rows_per_drain
        self._replay_events = behind.replay_events
        self._boundary: Boundary | None = None
        self._events = 0  # since the boundary
        self._writing: dict[bytes, None] = {}  # what changed before the boundary
        self._made: Rows = []  # of customers packed or forgotten since the last drain
        self._began: Boundary | None = None  # where that began to change
        self._pace = 0.0  # rows to write per event, for the writing to take half of the time until the next boundary
        self._gone: dict[bytes, None] = {}
        self._gone_before: dict[bytes, None] = {}
        self._clocks: dict[int, int] = {}
        self._clocks_written: set[int] = set()
        self._clocks_ahead: list[tuple[int, int]] = []

    def begin(self, boundary: Boundary, clocks: Mapping[int, int]) -> None:
        """Go on from rows that are at least as new as `boundary`; `clocks`: the moves of the idle clock that have rows."""
        self._boundary = boundary
        self._clocks = dict(sorted(clocks.items()))
        self._clocks_ahead = sorted(clocks.items(), reverse=True)
        self._clocks_written = set(clocks)

    def journalled(self, after: int, clock_ms: int) -> None:
        """The idle clock moved after this offset."""
        self._clocks[after] = clock_ms
        self._clocks_written.discard(after)

    def clock_before(self, offset: int) -> int:
        """While folding again, in order: the latest move of the idle clock before a record of this offset, -1 if there is no new one."""
        clock = -1
        while self._clocks_ahead and self._clocks_ahead[-1][0] < offset:
            clock = self._clocks_ahead.pop()[1]
        return clock

    def forget(self, customer: Customer, now: Boundary) -> None:
        """The customer is dropped: its row is deleted once the boundary has passed this moment."""
        if customer.key in self._writing:
            del self._writing[customer.key]
            self._made.append((ROW_PREFIX + customer.key, customer.row(now.offset, now.clock)))
            customer.written = True
        self._customers.drop(customer)
        if customer.written:
            self._gone[customer.key] = None

    @property
    def size_bytes(self) -> int:
        """Of the rows that the next drain writes, about."""
        changed = min(len(self._customers.changed) + len(self._writing), self._rows_per_drain)
        return (changed + len(self._made)) * _ROW_SIZE_BYTES

    def pack(self, now: Boundary, is_needed: Callable[[Customer], bool], prepare: Callable[[Customer], None]) -> None:
        """Pack some customers if too many are in use (`Customers.pack`)."""
        for key, row in self._customers.pack(now, is_needed, prepare):
            self._made.append((ROW_PREFIX + key, row))
            if key in self._writing:
                del self._writing[key]
            else:
                del self._customers.changed[key]

    def take(self, now: Boundary, events: int, settle: Callable[[Customer], None], *, everything: bool) -> tuple[Rows, Boundary | None]:
        """The rows to write with a drain that brought so many events, and from where to fold again, None if all rows are of now.

        settle: makes a row small, if nothing can come before what is folded.
        """
        self._events += events
        is_time = not self._writing and (events <= self._rows_per_drain or self._events >= self._replay_events)
        if everything or is_time or not self._customers.changed:
            self._move_boundary(now)
        count = len(self._writing) if everything else max(self._rows_per_drain, int(self._pace * events) + 1)
        rows, self._made = self._made, []
        self._write(count, now, rows, settle)
        if not self._writing:
            self._delete_gone(rows)
        replay = self._began if self._writing else self._boundary
        if not (self._writing or self._customers.changed or self._gone):
            replay = None
        self._write_clocks(None if replay is None else replay.offset, rows)
        return rows, replay

    def _write(self, count: int, now: Boundary, rows: Rows, settle: Callable[[Customer], None]) -> None:
        for _ in range(min(count, len(self._writing))):
            key, _ = self._writing.popitem()
            rows.append((ROW_PREFIX + key, self._customers.row_to_write(key, now, settle)))

    def _move_boundary(self, now: Boundary) -> None:
        if not self._writing:
            self._began = self._boundary
        # `popitem` takes the last: who changed longest ago is written first, and who changed last may be packed by the time, as written.
        self._writing.update(dict.fromkeys(reversed(self._customers.changed)))
        self._customers.changed = {}
        self._gone_before.update(self._gone)
        self._gone = {}
        self._boundary = now
        self._events = 0
        self._pace = 2 * len(self._writing) / self._replay_events

    def _delete_gone(self, rows: Rows) -> None:
        """Of a customer who has come back meanwhile, an own row has replaced the old one, or none is written yet."""
        rows += [(ROW_PREFIX + key, None) for key in self._gone_before if not self._customers.has_row(key)]
        self._gone_before = {}

    def _write_clocks(self, replay_offset: int | None, rows: Rows) -> None:
        """A move after the record before `replay_offset` may be later than the boundary, and is kept."""
        for after in [after for after in self._clocks if replay_offset is None or after < replay_offset - 1]:
            del self._clocks[after]
            if after in self._clocks_written:
                self._clocks_written.remove(after)
                rows.append((CLOCK_PREFIX + b"%d" % after, None))
        for after, clock in self._clocks.items():
            if after not in self._clocks_written:
                self._clocks_written.add(after)
                rows.append((CLOCK_PREFIX + b"%d" % after, b"%d" % clock))
