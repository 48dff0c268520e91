"""What a deltas record must be before it is folded. One that is not becomes a dead letter with its bytes and the reason."""

from __future__ import annotations

from enum import StrEnum
from itertools import chain
from typing import Final, NamedTuple

import msgspec

from streamer import deltas, topics
from streamer.metrics.counters import Counter
from streamer.processor import Output, Record

COUNTERS: Final = frozenset(int(counter) for counter in Counter)

# The year 9000 in seconds: times beyond cannot be written as RFC 3339 with an expiry.
TICK_MAX: Final = 221_845_392_000
PANE_MAX: Final = TICK_MAX * 1_000 // deltas.PANE_MS
SOURCES_MAX: Final = 65_536


class Reason(StrEnum):
    """Why a deltas record is a dead letter (header `reason`)."""

    EMPTY = "empty"
    UNDECODABLE = "undecodable"
    UNKNOWN_VERSION = "unknown_version"
    MALFORMED = "malformed"
    SOURCES_CHANGED = "sources_changed"


class Rejected(NamedTuple):
    """Reason, and what exactly."""

    reason: Reason
    detail: str


def check(value: bytes | None, sources: int) -> deltas.DeltaBatch | Rejected:
    """The batch of a record, or why not. `sources`: how many partitions earlier records spoke of, 0 for none."""
    if not value:
        return Rejected(Reason.EMPTY, "no value")
    try:
        batch = deltas.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        version = deltas.version_of(value)
        if version is None or version == deltas.VERSION:
            return Rejected(Reason.UNDECODABLE, str(error))
        return _unknown(version)
    if batch.version != deltas.VERSION:
        return _unknown(batch.version)
    if sources and batch.sources != sources:
        return Rejected(Reason.SOURCES_CHANGED, f"{batch.sources} source partitions, so far {sources}")
    malformed = _malformed(batch)
    return Rejected(Reason.MALFORMED, malformed) if malformed else batch


def _unknown(version: int) -> Rejected:
    return Rejected(Reason.UNKNOWN_VERSION, f"version {version}, known is {deltas.VERSION}")


def dead_letter(record: Record, rejected: Rejected) -> Output:
    """The record with its reason; the origin partition is the one it is written to."""
    headers = [
        ("reason", rejected.reason.value.encode()),
        ("detail", rejected.detail.encode()),
        ("origin-topic", topics.DELTAS.encode()),
        ("origin-offset", str(record.offset).encode()),
    ]
    return Output(topics.DEAD_LETTERS, record.key, record.value, headers)


def _malformed(batch: deltas.DeltaBatch) -> str:
    """What contradicts `DeltaBatch`, empty if nothing."""
    if not 0 <= batch.source < batch.sources <= SOURCES_MAX:
        return f"source {batch.source} of {batch.sources}"
    if not 0 <= batch.until_tick <= TICK_MAX:
        return f"until_tick {batch.until_tick}"
    if len(set(batch.dimensions)) != len(batch.dimensions):
        return "a dimension is named twice"
    width = len(batch.dimensions)
    if any(len(cell) != width for cell in batch.cells):
        return "a cell has not one value per dimension"
    for exemplar in batch.exemplars:
        if not (0 <= exemplar.tick <= TICK_MAX and 0 <= exemplar.cell < len(batch.cells) and exemplar.sign in (1, -1)):
            return f"exemplar of cell {exemplar.cell} at tick {exemplar.tick} with sign {exemplar.sign}"
        if not (0 <= exemplar.pane_ms <= TICK_MAX * 1_000 and abs(exemplar.time_ms) <= TICK_MAX * 1_000):
            return f"exemplar of pane {exemplar.pane_ms} with time {exemplar.time_ms}"
    for tick, flat in batch.ticks:
        if not 0 <= tick <= TICK_MAX or len(flat) % 4:
            return f"tick {tick} of {len(flat)} numbers"
    whole = list(chain.from_iterable([flat for _, flat in batch.ticks]))
    if whole:
        indexes, panes = whole[1::4], whole[0::4]
        if min(indexes) < 0 or max(indexes) >= len(batch.cells):
            return "a tick names a cell that is not there"
        if min(panes) < 0 or max(panes) > PANE_MAX:
            return "a tick names a pane out of range"
    return ""
