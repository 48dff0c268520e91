"""The rollup's state as changelog rows: MessagePack values under short keys, one marker.

| key after the prefix | value |
|---|---|
| `v` dimension | admitted label values, in order |
| `s` chunk | labels of its series, in order of their numbers |
| `l` chunk | lifetime sums: key -> n |
| `p` granularity, pane start, chunk | the pane's sums: key -> n |
| `h` offset | a record whose ticks are not all decided |
| `r` rule id, by, values | state of a rule on a series, or on a group of them |
| `b` (rule id, by, values), hour of the week | the values of that hour in the last weeks; for hour -1 see `learning.WITHOUT` |
| `e` (rule id, by, values) | the latest events that are evidence of a rule on a series |
| `d` | text of the definitions in force |

A key is series << COUNTER_BITS | counter; a chunk is `CHUNK_SERIES` series, so that a change rewrites little.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from streamer.deltas import Exemplar
from streamer.errors import StateError
from streamer.processor import ROW_PREFIX
from streamer.rollup.estimates import COUNTER_BITS
from streamer.rules.evaluate import Episode

# 2: what is usual, groups, and whether anybody was told. 3: the evidence of rules. 4: more bits for the counter in the keys of sums.
SCHEMA: Final = 4
# The first schema with these keys, and how many bits a counter had before.
WIDE_KEYS: Final = 4
_NARROW_BITS: Final = 8
_NARROW_MASK: Final = (1 << _NARROW_BITS) - 1

VOCABULARY: Final = ROW_PREFIX + b"v"
SERIES: Final = ROW_PREFIX + b"s"
LIFETIME: Final = ROW_PREFIX + b"l"
PANE: Final = ROW_PREFIX + b"p"
HELD: Final = ROW_PREFIX + b"h"
RULE: Final = ROW_PREFIX + b"r"
BASELINE: Final = ROW_PREFIX + b"b"
EVIDENCE: Final = ROW_PREFIX + b"e"
DEFINITIONS: Final = ROW_PREFIX + b"d"


class Source(msgspec.Struct, array_like=True):
    """One source partition: complete below `until_tick`."""

    until_tick: int
    high_ms: int
    clock_ms: int
    left_out: bool = False


class Witness(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An event that counts against a series. pane_ms: begin of the pane in which it counts."""

    pane_ms: int
    partition: int
    offset: int
    time_ms: int
    type: str
    id: str


class HeldRow(msgspec.Struct, array_like=True):
    """A record whose ticks have not all been decided, as a changelog row."""

    dimensions: tuple[str, ...]
    cells: list[tuple[str, ...]]
    ticks: list[tuple[int, list[int]]]
    source: int = -1  # written before it was kept
    exemplars: list[Exemplar] = []


_CHUNK = struct.Struct(">I")
_OFFSET = struct.Struct(">q")
_PANE = struct.Struct(">qqI")

Labels = tuple[tuple[str, ...], tuple[str, ...]]
Identity = tuple[str, tuple[str, ...], tuple[str, ...]]

encode = msgspec.msgpack.Encoder().encode
decode_values = msgspec.msgpack.Decoder(list[str]).decode
decode_series = msgspec.msgpack.Decoder(list[Labels]).decode
decode_held = msgspec.msgpack.Decoder(HeldRow).decode
decode_episode = msgspec.msgpack.Decoder(Episode).decode
decode_values_of_hour = msgspec.msgpack.Decoder(list[float]).decode
decode_evidence = msgspec.msgpack.Decoder(list[Witness]).decode
_decode_sums = msgspec.msgpack.Decoder(dict[int, int]).decode
_decode_identity = msgspec.msgpack.Decoder(Identity).decode
_decode_hour = msgspec.msgpack.Decoder(tuple[Identity, int]).decode


class Marker(msgspec.Struct, kw_only=True):
    """What holds for all rows of one checkpoint. clock: first tick not decided, None before all sources have told one.

    since: the offset after which the definitions came into force, None for those it began with. whole_from: granularity -> since when
    nothing is missing of windows that came with other definitions (`Panes.whole_from_ms`). counted_from: slice -> milliseconds
    (`SeriesTable.counted_from_ms`), accounts_from: of the accounts' slice, counter -> milliseconds. unlooked: `Decisions.unlooked`.
    """

    schema: int = SCHEMA
    next_offset: int | None
    clock: int | None
    reference: tuple[int, int]
    expected: int
    unheard_left_out: bool
    sources: dict[int, Source]
    accounting: dict[str, int]
    overflow: dict[str, int]
    revision: int
    digest: str
    build: str
    since: int | None = None
    whole_from: dict[int, int] = {}
    counted_from: dict[str, int] = {}
    accounts_from: dict[int, int] = {}
    unlooked: list[str] = []


class _Schema(msgspec.Struct):
    schema: int


_decode_schema = msgspec.msgpack.Decoder(_Schema).decode
_decode_marker = msgspec.msgpack.Decoder(Marker).decode


def decode_marker(data: bytes) -> Marker:
    """The marker. Raises StateError if a newer version of this program wrote it."""
    schema = _decode_schema(data).schema
    if schema > SCHEMA:
        raise StateError(
            f"the rollup's state was written in format {schema}, this version reads up to {SCHEMA}: deploy the newer version again"
        )
    return _decode_marker(data)


def decode_sums(value: bytes, schema: int) -> dict[int, int]:
    """The sums of a `LIFETIME` or `PANE` row of a schema, by the keys of this one."""
    sums = _decode_sums(value)
    if schema >= WIDE_KEYS:
        return sums
    return {key >> _NARROW_BITS << COUNTER_BITS | key & _NARROW_MASK: n for key, n in sums.items()}


def chunk_key(kind: bytes, chunk: int) -> bytes:
    """Key of a `SERIES` or `LIFETIME` row."""
    return kind + _CHUNK.pack(chunk)


def chunk_of(key: bytes) -> int:
    """The chunk of a `SERIES` or `LIFETIME` row."""
    return int(_CHUNK.unpack(key[2:])[0])


def pane_key(granularity_ms: int, start_ms: int, chunk: int) -> bytes:
    """Key of a `PANE` row."""
    return PANE + _PANE.pack(granularity_ms, start_ms, chunk)


def pane_of(key: bytes) -> tuple[int, int, int]:
    """(granularity, pane start, chunk) of a `PANE` row."""
    granularity, start, chunk = _PANE.unpack(key[2:])
    return granularity, start, chunk


def held_key(offset: int) -> bytes:
    """Key of a `HELD` row."""
    return HELD + _OFFSET.pack(offset)


def held_offset(key: bytes) -> int:
    """The offset of a `HELD` row."""
    return int(_OFFSET.unpack(key[2:])[0])


def vocabulary_key(dimension: str) -> bytes:
    """Key of a `VOCABULARY` row."""
    return VOCABULARY + dimension.encode()


def rule_key(identity: Identity) -> bytes:
    """Key of a `RULE` row."""
    return RULE + encode(identity)


def rule_of(key: bytes) -> Identity:
    """(rule id, by, values) of a `RULE` or `EVIDENCE` row."""
    rule, by, values = _decode_identity(key[2:])
    return rule, by, values


def baseline_key(identity: Identity, hour: int) -> bytes:
    """Key of a `BASELINE` row."""
    return BASELINE + encode((identity, hour))


def baseline_of(key: bytes) -> tuple[Identity, int]:
    """(rule id, by, values) and hour of the week of a `BASELINE` row."""
    identity, hour = _decode_hour(key[2:])
    return identity, hour


def evidence_key(identity: Identity) -> bytes:
    """Key of an `EVIDENCE` row."""
    return EVIDENCE + encode(identity)


def by_kind(key: bytes) -> bytes:
    """Which of the kinds above a row's key is."""
    return key[:2]
