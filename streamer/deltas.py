"""The deltas record: signed counter changes per tick and pane, as journeys sends them to rollup.

One record per drain and rollup partition, also when nothing changed (then it is the heartbeat). Integers only, so that sums
commute. MessagePack, array-like, versioned by its first element.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zlib import crc32

import msgspec

from streamer.metrics.counters import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION: Final = 1
PANE_MS: Final = 10_000
TICK_MS: Final = 1_000


class Exemplar(msgspec.Struct, array_like=True, gc=False):
    """An event behind a counter change: which change, and where the event lies in the source partition.

    sign: 1, or -1 if the change for which the event stood is taken back. pane_ms: begin of the change's pane.
    """

    tick: int
    cell: int
    counter: int
    sign: int
    pane_ms: int
    time_ms: int
    offset: int
    type: str
    id: str


class DeltaBatch(msgspec.Struct, array_like=True, gc=False):
    """Changes of one source partition.

    source: source partition; sources: how many there are. until_tick: every tick below it is complete, this batch included;
    0 before the partition has met any event.
    high_ms: the partition's greatest event time; clock_ms: its clock. dimensions: names of a cell's values.
    cells: the dimension values used here. ticks: (tick, [pane, cell index, counter, n, ...]) with ticks ascending;
    pane is event time // PANE_MS. exemplars: of the counters that rules want evidence of, with ticks ascending.
    """

    version: int
    source: int
    sources: int
    until_tick: int
    high_ms: int
    clock_ms: int
    dimensions: list[str]
    cells: list[tuple[str, ...]]
    ticks: list[tuple[int, list[int]]]
    exemplars: list[Exemplar] = []


class _Version(msgspec.Struct, array_like=True):
    version: int


_decode_version = msgspec.msgpack.Decoder(_Version).decode
encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(DeltaBatch).decode


def version_of(value: bytes) -> int | None:
    """The version of a record that cannot be decoded, None if it does not even have one."""
    try:
        return _decode_version(value).version
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def slice_partition(by: tuple[str, ...], values: Sequence[str], partitions: int) -> int:
    """The rollup partition that owns a series of a slice.

    All series of a slice have one owner: those of a group and what goes to `other` have to meet, as numerator and denominator do.
    But for accounts, of which there are many, and which are nobody's `other`.
    """
    if partitions == 1:
        return 0
    return crc32("\x00".join((*by, *values) if by == (ACCOUNT,) else by).encode()) % partitions
