"""Whom a word means: a customer, a journey or issue by one of its ids, an alert, a rule, or an account; looked up in the log itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from streamer.errors import InputError
from streamer.processor import LogRecord
from streamer.replay.partitions import partition_of
from streamer.replay.pipeline import CHUNK, Arrival
from streamer.suggestions import nearest, quoted
from streamer.touchpoints.control import encode_control
from streamer.touchpoints.decode import decode
from streamer.touchpoints.touchpoint import Touchpoint

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from streamer.alerts.alert import Alert
    from streamer.processor import Record
    from streamer.replay.history import History
    from streamer.replay.pipeline import Piece

Kind = Literal["customer", "journey", "alert", "rule", "account"]
KINDS: Final[tuple[Kind, ...]] = ("customer", "journey", "alert", "rule", "account")
_ALERT: Final = re.compile(r"[0-9a-f]{16}")
# What journeys and issues are known by in rules and alerts.
_IDS: Final = ("journey_id", "checkout_id", "order_id", "cart_id", "session_id", "case_id", "issue_id")


class Wanted(NamedTuple):
    """What was asked for. kinds: what it may be, the likeliest first. no_rule: the end of the sentence that it is none of these."""

    name: str
    kinds: tuple[Kind, ...]
    no_rule: str = ""


def wanted(text: str, rules: Collection[str]) -> Wanted:
    """`customer:ID` and the like say what is meant; a bare word may be several things, but no account. Raises InputError."""
    if not text.strip():
        raise InputError("name what is to be explained: a customer, a journey's or issue's id, an alert, a rule, or account:ID")
    prefix, colon, rest = text.partition(":")
    for kind in KINDS:
        if colon and prefix == kind and rest:
            return Wanted(rest, (kind,))
    kinds: list[Kind] = ["alert"] if _ALERT.fullmatch(text) else []
    if text in rules:
        return Wanted(text, (*kinds, "rule", "customer", "journey"))
    near = nearest(text, rules)
    return Wanted(text, (*kinds, "customer", "journey"), f", and no rule{f': did you mean {quoted(near)}?' if near else ''}")


class Finder:
    """Looks through a log for a customer's key, or for customers whose events name an id."""

    def __init__(self, name: str) -> None:
        self._key = name.encode()
        self._name = name
        self.has_key = False
        self.by_id: dict[bytes, None] = {}

    def take(self, records: Iterable[Record]) -> None:
        """The next records."""
        for record in records:
            if record.key == self._key:
                self.has_key = True
            elif record.key is not None and self._key in (record.value or b""):  # an id is written as it is, almost always
                event = decode(record.offset, record.timestamp, record.key, record.value, record.headers)
                if isinstance(event, Touchpoint) and names(event, self._name):
                    self.by_id[record.key] = None

    def customer(self, asked: Wanted) -> tuple[bytes, Kind]:
        """The customer's key, and whether the word was that key or a journey's id. Raises InputError."""
        if "customer" in asked.kinds and self.has_key:
            return self._key, "customer"
        if "journey" in asked.kinds and self.by_id:
            if len(self.by_id) > 1:
                raise InputError(f"{self._name!r} is an id in events of {len(self.by_id)} customers: name the customer instead")
            return next(iter(self.by_id)), "journey"
        raise nothing(asked)


def nothing(asked: Wanted) -> InputError:
    """The error for a word that nothing answers to."""
    return InputError(f"nothing in this log is called {asked.name!r} (looked for: {', '.join(asked.kinds)}){asked.no_rule}")


def names(event: Touchpoint, id_: str) -> bool:
    """Whether an event belongs to a journey or an issue of this id."""
    return any(getattr(event, field) == id_ for field in _IDS)


def told(alerts: Iterable[Alert], name: str) -> Alert | None:
    """The transition of an alert_id; of an episode_id its first; of a fingerprint the beginning of its last episode."""
    by_fingerprint: Alert | None = None
    for alert in alerts:
        if alert.alert_id == name or (alert.episode_id == name and alert.state == "firing"):
            return alert
        if alert.fingerprint == name and alert.state == "firing":
            by_fingerprint = alert
    return by_fingerprint


def pieces_of(history: History, partitions: int, until_ms: int | None) -> Iterator[Piece]:
    """A sorted file as the log that `streamer replay` makes of it, up to a moment and without an end."""
    value, headers = encode_control("begin", history.begin_ms)
    begin = Arrival(history.begin_ms, None, value, headers)
    yield {partition: ([LogRecord(0, *begin)], []) for partition in range(partitions)}
    offsets = [1] * partitions
    events = [event for event in history.events if until_ms is None or event.time_ms <= until_ms]
    for first in range(0, len(events), CHUNK):
        piece: dict[int, tuple[list[LogRecord], list[tuple[int, int]]]] = {partition: ([], []) for partition in range(partitions)}
        chunk = events[first : first + CHUNK]
        for event in chunk:
            partition = partition_of(event.key, partitions) if event.key else 0
            piece[partition][0].append(LogRecord(offsets[partition], event.time_ms, event.key, event.value))
            offsets[partition] += 1
        for partition, (_, idle) in piece.items():  # all are caught up
            idle.append((offsets[partition] - 1, chunk[-1].time_ms))
        yield piece
