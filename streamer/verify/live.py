"""What a running installation has committed, in the terms of the comparison: its deltas, late events and dead letters."""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from streamer import deltas
from streamer.errors import InputError
from streamer.journeys import marker
from streamer.metrics.counters import Counter
from streamer.verify.counted import Counted
from streamer.verify.raw_log import Clocks
from streamer.verify.tables import cell_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from streamer.verify.recount import Place


class Stored(Protocol):
    """A record as a consumer gives it."""

    @property
    def value(self) -> bytes | None:
        """Its bytes."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """Its headers."""


class Batches(NamedTuple):
    """The deltas of all rollup partitions. clocks: of each source partition, as its latest batch has it."""

    sums: Mapping[Place, int]
    clocks: Mapping[int, int]


def add_up(partitions: Iterable[Iterable[bytes]], dimensions: Sequence[str], by_account: frozenset[int] = frozenset()) -> Batches:
    """Net sums; by_account: as of `cell_of`.

    A cell goes to every rollup partition that owns one of its slices; it counts in the first that has it.
    """
    sums: Tally[Place] = Tally()
    clocks: dict[int, int] = {}
    first: dict[tuple[str, ...], int] = {}
    for partition, values in enumerate(partitions):
        for value in values:
            batch = deltas.decode(value)
            clocks[batch.source] = max(batch.clock_ms, clocks.get(batch.source, 0))
            cells = [dict(zip(batch.dimensions, values, strict=True)) for values in batch.cells]
            for _, flat in batch.ticks:
                for pane, cell, counter, n in zip(*[iter(flat)] * 4, strict=True):
                    # A batch names cells that go to other partitions, too.
                    if first.setdefault(batch.cells[cell], partition) == partition:
                        sums[Counter(counter).name, cell_of(counter, cells[cell], dimensions, by_account), pane] += n
    return Batches({place: n for place, n in sums.items() if n}, clocks)


def in_slices(sums: Mapping[Place, int], dimensions: Sequence[str], slices: Iterable[Sequence[str]]) -> dict[Place, int]:
    """The sums that belong to a slice: what belongs to none is nobody's, and several rollup partitions are not told of it."""
    needed = [[dimensions.index(name) for name in by] for by in slices]
    return {place: n for place, n in sums.items() if any(all(place[1][at] for at in by) for by in needed)}


def idle_clocks(journals: Mapping[int, Iterable[Stored]], revision: int) -> list[tuple[int, int, int]]:
    """What the journal says of time. Raises InputError if it says that not everything was folded under these definitions, once."""
    found = []
    for partition, records in journals.items():
        for record in records:
            value = record.value or b""
            entry = marker.decode_journal(value) if b'"after"' in value else None
            if entry is None:
                raise InputError(
                    f"the journal of partition {partition} tells of a reset or of lost records ({value[:100].decode(errors='replace')}):"
                    " the deltas are not those of the log, so export the events and verify the file"
                )
            if entry.revision is not None and entry.revision != revision:
                raise InputError(
                    f"partition {partition} was folded under revision {entry.revision} of the definitions, not under {revision}:"
                    " only a log of one revision can be recounted"
                )
            if entry.clock is not None:
                found.append((partition, entry.after, entry.clock))
    return found


def counted_of(batches: Batches, late: Iterable[Stored], dead: Iterable[Stored]) -> Counted:
    """Sums and put-aside records; metrics and what limits cut are in no topic."""
    records: Tally[str] = Tally(late=sum(1 for _ in late))
    for record in dead:
        reason = {name: value.decode() for name, value in record.headers if name == "reason"}.get("reason", "")
        records.update(("dead_lettered", f"dead_{reason}"))
    return Counted(batches.sums, {}, {name: n for name, n in records.items() if n}, {}, ())


def clocks_of(batches: Batches, idle: Sequence[tuple[int, int, int]]) -> Clocks:
    """Time as both sides know it."""
    return Clocks(batches.clocks, idle)


def put_aside(records: Mapping[str, Any]) -> dict[str, Any]:
    """Of a recount's outcomes those that a topic tells."""
    return {name: n for name, n in records.items() if name.startswith("dead_") or name == "late"}
