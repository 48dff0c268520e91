"""Changelog rows as what a processor begins with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from streamer.journeys import marker
from streamer.journeys.row import decode_head, decode_origin
from streamer.journeys.state import NEVER
from streamer.journeys.timers import Timers
from streamer.journeys.write_behind import CLOCK_PREFIX
from streamer.processor import MARKER_KEY, ROW_PREFIX


class Loaded(NamedTuple):
    """A partition's rows, sorted out.

    customers: packed, by key. due: deadlines; quiet: since when those without one are quiet. state: None without a marker row.
    texts: definitions by revision, those that are needed; unneeded: revisions of the others. clocks: moves of the idle clock, by the offset
    after which they came.
    """

    customers: dict[bytes, bytes]
    due: Timers
    quiet: Timers
    state: marker.Marker | None
    texts: dict[int, str]
    clocks: dict[int, int]
    unneeded: list[int]


def load(rows: Iterable[tuple[bytes, bytes]], revision: int) -> Loaded:
    """Sort out the rows; customers stay packed until they are needed. revision: of the definitions that are to come into force.

    Raises StateError for a newer schema.
    """
    customers: dict[bytes, bytes] = {}
    due: list[tuple[int, bytes]] = []
    quiet: list[tuple[int, bytes]] = []
    state: marker.Marker | None = None
    texts: dict[int, str] = {}
    clocks: dict[int, int] = {}
    for key, packed in rows:
        if key[:1] == ROW_PREFIX:
            head = decode_head(packed)
            customer = key[1:]
            customers[customer] = packed
            if head.due < NEVER:
                due.append((head.due, customer))
            else:
                quiet.append((head.quiet_at, customer))
        elif key == MARKER_KEY:
            state = marker.decode(packed)
        elif key[:1] == marker.DEFINITIONS_PREFIX:
            texts[int(key[1:])] = packed.decode()
        elif key[:1] == CLOCK_PREFIX:
            clocks[int(key[1:])] = int(packed)
    needed = {revision} if state is None else {revision, state.revision}
    if texts.keys() - needed:  # who has not been seen since goes on under the definitions of then
        needed |= {decode_origin(packed).revision for packed in customers.values()}
    unneeded = sorted(texts.keys() - needed)
    for old in unneeded:
        del texts[old]
    return Loaded(customers, Timers(due), Timers(quiet), state, texts, clocks, unneeded)
