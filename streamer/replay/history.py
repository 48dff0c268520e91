"""A whole history in the order in which it happened: read from a file, mapped, sorted by event time.

Sorting holds the touchpoints in memory: about 0.6 KB each, so 600 MB for a million.
"""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from streamer.errors import InputError
from streamer.replay.mapping import Event, HistoryMapping
from streamer.replay.mapping_time import LAST_MS
from streamer.replay.sources import is_stdin, kind_of, read_lines, read_rows
from streamer.touchpoints.decode import decode
from streamer.touchpoints.key import key_of
from streamer.touchpoints.times import milliseconds
from streamer.touchpoints.touchpoint import Rejected

if TYPE_CHECKING:
    from pathlib import Path


class History(NamedTuple):
    """events: sorted by (event time, place in the file); never empty. rows: read from the file. unmapped: rows that made no event."""

    events: list[Event]
    rows: int
    unmapped: int

    @property
    def begin_ms(self) -> int:
        """The least event time, milliseconds since the epoch."""
        return self.events[0].time_ms

    @property
    def end_ms(self) -> int:
        """The greatest event time, milliseconds since the epoch."""
        return self.events[-1].time_ms


class _Who(msgspec.Struct, gc=False):
    customer_id: str | None = None
    anonymous_id: str | None = None


class _Line(_Who, gc=False):
    type: Any = None  # what it is if it is no text, the processor says
    time: str | None = None
    data: _Who | None = None


_decode_line = msgspec.json.Decoder(_Line).decode


def read_history(path: Path, mapping: HistoryMapping | None = None) -> History:
    """The touchpoints of a file, sorted. Without a mapping the file holds canonical events, one JSON object per line.

    Canonical lines go on as they are: one that cannot be decoded keeps its place after the line before it and becomes a dead
    letter of the processor, as it would from a producer.

    Raises:
        InputError: the file cannot be read, a column of the mapping occurs nowhere, there is no touchpoint in it, or one after all times.
    """
    history = _canonical(path) if mapping is None else _mapped(path, mapping)
    if not history.events:
        raise InputError(f"{path}: makes no touchpoints ({history.rows} rows read)")
    history.events.sort(key=_by_time)
    return history


class Rejects(NamedTuple):
    """Events that would be dead letters for one reason. first: what is said of the first of them in the file, with its row or line."""

    number: int
    first: str


def rejects(history: History, arrival_ms: int) -> dict[str, Rejects]:
    """Which of its events the processor would put among the dead letters if they arrived then, by reason."""
    numbers: Tally[str] = Tally()
    first: dict[str, tuple[int, str]] = {}
    for event in history.events:
        decoded = decode(0, arrival_ms, event.key, event.value, ())
        if isinstance(decoded, Rejected):
            reason, row = decoded.reason.value, event.order[0]
            numbers[reason] += 1
            if reason not in first or row < first[reason][0]:
                first[reason] = row, f"row {row}: {decoded.detail}"
    return {reason: Rejects(number, first[reason][1]) for reason, number in sorted(numbers.items())}


def _by_time(event: Event) -> tuple[int, tuple[int, int]]:
    return event.time_ms, event.order


def _canonical(path: Path) -> History:
    if kind_of(path) != "jsonl":
        raise InputError(f"{path}: only JSON lines can hold canonical events; this kind of file needs --mapping")
    events: list[Event] = []
    time_ms: int | None = None
    unplaced = 0
    for number, line in read_lines(path):
        key: str | None = None
        try:
            head = _decode_line(line)
            time_ms = milliseconds(head.time or "")
            who = head.data or head
            key = key_of(head.type if isinstance(head.type, str) else None, who.customer_id, who.anonymous_id)
        except (ValueError, RecursionError):  # msgspec's errors are ValueErrors; the processor says what is wrong with it
            if time_ms is None:
                unplaced += 1
        if time_ms is not None and time_ms > LAST_MS:
            raise InputError(f"{path}:{number}: the event's `time` is after the year 9000: correct it")
        events.append(Event(time_ms or 0, (number, 0), key.encode() if key else None, line))
    if events and unplaced == len(events):
        raise InputError(f"{path}: no line is an event with a `time` that can be read: `streamer events check` says what is wrong")
    first = events[unplaced].time_ms if unplaced else 0
    head_lines = [msgspec.structs.replace(event, time_ms=first) for event in events[:unplaced]]
    return History(head_lines + events[unplaced:], len(events), 0)


def _mapped(path: Path, mapping: HistoryMapping) -> History:
    if mapping.needs_first and is_stdin(path):
        raise InputError("standard input can be read once, and `first_of_case` of the mapping needs it twice: write it to a file first")
    firsts = _first_rows(path, mapping) if mapping.needs_first else frozenset[int]()
    events: list[Event] = []
    rows = unmapped = 0
    unseen = set(mapping.columns)
    for row in read_rows(path, delimiter=mapping.csv.delimiter, encoding=mapping.csv.encoding):
        rows += 1
        if unseen:
            unseen.difference_update(row.columns)
        before = len(events)
        events.extend(mapping.events(row, first_of_case=row.position in firsts))
        unmapped += before == len(events)
    if unseen and rows:
        raise InputError(f"{path}: no row has the column {min(unseen)!r}, which the mapping names; the last has {row.names}")
    return History(events, rows, unmapped)


def _first_rows(path: Path, mapping: HistoryMapping) -> frozenset[int]:
    """Positions of the rows that are the earliest of their case; of two at the same time, the one the file has first."""
    firsts: dict[str, tuple[int, int]] = {}
    for row in read_rows(path, delimiter=mapping.csv.delimiter, encoding=mapping.csv.encoding):
        case = row.columns.get(mapping.case or "")
        if case and mapping.has_time(row):
            candidate = (mapping.time_ms(row), row.position)
            if case not in firsts or candidate < firsts[case]:
                firsts[case] = candidate
    return frozenset(position for _, position in firsts.values())
