"""The promise between the engine and the pure processors (journeys, rollup).

A processor folds one partition's log. Its methods are synchronous and are never interleaved with an await, so rows, outputs
and marker of one `drain` are always of the same moment. It reads no clock and no randomness: time comes in with the records
or through `advance`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

Headers = Sequence[tuple[str, bytes]]

# Changelog keys: one prefix byte tells state rows from the marker, so that no customer id can pose as one.
MARKER_KEY = b"m"
ROW_PREFIX = b"c"


class Record(Protocol):
    """One record of the source log; aiokafka's ConsumerRecord satisfies it. `timestamp` is the broker's, in milliseconds."""

    @property
    def offset(self) -> int:
        """Position in the partition."""

    @property
    def timestamp(self) -> int:
        """Arrival: when the broker appended it, milliseconds since the epoch."""

    @property
    def key(self) -> bytes | None:
        """The customer's key."""

    @property
    def value(self) -> bytes | None:
        """The event's bytes."""

    @property
    def headers(self) -> Headers:
        """CloudEvents attributes and the like."""


class LogRecord(NamedTuple):
    """A `Record` for replays and tests."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Output(NamedTuple):
    """A record to write. `topic` is the logical name (`topics.py`); `partition` None means the partition that was read."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


class Drained(NamedTuple):
    """Everything that changed since the last drain, already encoded: one Kafka transaction.

    rows: changelog rows, None as value for a tombstone, the marker row (key `MARKER_KEY`) last.
    journal: what influenced the fold but is not in the source, as JSON, in order.
    next_offset: the source offset to go on from.
    """

    rows: list[tuple[bytes, bytes | None]]
    outputs: list[Output]
    journal: list[bytes]
    next_offset: int


class Pending(NamedTuple):
    """What waits for a checkpoint: decides when one is due."""

    events: int
    alerts: int
    size_bytes: int


class InForce(NamedTuple):
    """The definitions that a partition is folded with. after: the source offset after which they came into force, None for the first."""

    revision: int
    digest: str
    after: int | None


class Processor(Protocol):
    """A pure fold over one partition. Times are milliseconds since the epoch."""

    def restore(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Load the changelog's latest rows (no tombstones, each key once, any order)."""

    def process(self, records: Sequence[Record], end: int) -> None:
        """Fold `records` in offset order; afterwards `next_offset` is `end` (offset gaps are legal)."""

    def advance(self, clock_ms: int) -> None:
        """Move the clock without a record; journalled by the processor itself. A smaller clock changes nothing."""

    def drain(self) -> Drained:
        """Take everything that changed since the last drain."""

    @property
    def next_offset(self) -> int | None:
        """The source offset to go on from, or None for a partition that was never written."""

    @property
    def clock_ms(self) -> int:
        """The clock of the fold."""

    @property
    def high_ms(self) -> int:
        """Greatest min(event time, arrival); below 0 before the first record."""

    @property
    def reference(self) -> tuple[int, int]:
        """(clock when a record last raised high, that record's arrival): the idle clock is `clock then + now - arrival`.

        That clock is `high` itself, unless the partition's idle clock was ahead of what arrived late: time does not stand still then.
        """

    @property
    def pending(self) -> Pending:
        """What waits for a checkpoint."""

    @property
    def accounting(self) -> Mapping[str, int]:
        """Invariant I5 of this partition: consumed = applied + duplicate + late + dead_lettered + ignored; and what limits cut."""

    def rows(self) -> Mapping[bytes, bytes]:
        """A read-only view of the state as rows, for the Faust table."""


@runtime_checkable
class PiecewiseProcessor(Processor, Protocol):
    """A processor of which one record may ask for more work than fits between two turns of the event loop."""

    def go_on(self) -> bool:
        """Do a piece of what the records so far have left to do; False if nothing was left."""


@runtime_checkable
class WriteBehindProcessor(Processor, Protocol):
    """A processor that writes its rows later than its outputs: a restore has to fold part of the source again."""

    @property
    def replay_from(self) -> int | None:
        """After `restore`: the source offset from which `refold` must come first, up to `next_offset`; None if there is nothing to."""

    def refold(self, records: Sequence[Record], end: int, *, complete: bool = True) -> None:
        """Fold again, in offset order, up to `end`, without outputs. complete: False if records before `end` are lost.

        Raises StreamerError if that does not lead to where the state was.
        """

    def write_all(self) -> None:
        """Write every changed row with the next drain."""
