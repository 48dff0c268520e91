"""Which counter changes carry the event behind them, and how a chapter keeps that event until a deadline counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamer.journeys.cells import COUNTER_BITS
from streamer.journeys.state import packed_cause_of, unpack_cause
from streamer.metrics.catalogue import METRIC_BY_ID
from streamer.rules.exemplars import evidence_of

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.journeys.state import Cause
    from streamer.touchpoints.touchpoint import Touchpoint


def evidenced_by(definitions: Definitions) -> bytes:
    """By counter, whether an aggregate rule wants the events behind its changes."""
    wanted = bytearray(1 << COUNTER_BITS)
    for rule in definitions.rule:
        if rule.metric is not None and rule.mode != "off":
            for counter in evidence_of(METRIC_BY_ID[rule.metric], rule.when).counters:
                wanted[counter] = 1
    return bytes(wanted)


def kept_cause(kept: bytes | list[Any] | None) -> Cause | None:
    """The event that a chapter has kept as evidence, if it has; before schema 6 it was an array."""
    if not kept:
        return None
    return unpack_cause(kept) if isinstance(kept, bytes) else (kept[0], kept[1], kept[2], kept[3])


def evidence(event: Touchpoint, *, wanted: bool) -> list[bytes]:
    """What a list that a chapter keeps ends with: the event, if it is wanted as evidence."""
    return [packed_cause_of(event)] if wanted else []


def cause_in(rest: list[Any]) -> Cause | None:
    """The event that `evidence` kept; rest: what is behind the other values of the list."""
    return kept_cause(rest[0]) if rest else None
