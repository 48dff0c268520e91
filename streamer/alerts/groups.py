"""How far the consumer groups of the alert stream are, and what each lost because the stream's bounds removed it unread.

Redis numbers entries (`entries-added`) and tells how many a group has read (`entries-read`), but the latter is missing for groups that
began at the end, and too small once a group has skipped what was trimmed. `GroupWatch` mends both from one look to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamer.alerts.publisher import AlertStore

EntryId = tuple[int, int]


class Stream(NamedTuple):
    """The stream: entries ever added, entries it has now, the first of these (None if it is empty), and the last ever added."""

    added: int
    length: int
    first: EntryId | None
    last: EntryId

    @property
    def trimmed(self) -> int:
        """Entries removed so far, all from the beginning."""
        return self.added - self.length


class Group(NamedTuple):
    """One group: the last entry delivered to it, how many Redis believes it has read (None: it does not know), and what it holds."""

    name: str
    position: EntryId
    read: int | None
    pending: int


class Look(NamedTuple):
    """What one look found of a group: entries it has yet to read, entries it holds, and entries it lost since the last look."""

    unread: int
    pending: int
    lost: int


async def read(store: AlertStore) -> tuple[Stream, list[Group]]:
    """The stream and its groups as Redis tells them. Raises what the store raises."""
    exists = await store.command("EXISTS", store.keys.stream)
    if not exists:
        return Stream(0, 0, None, (0, 0)), []
    told = _fields(await store.command("XINFO", "STREAM", store.keys.stream))
    groups = [_fields(row) for row in await store.command("XINFO", "GROUPS", store.keys.stream)]
    length = int(told["length"])
    stream = Stream(
        int(told["entries-added"]), length, _id(told["recorded-first-entry-id"]) if length else None, _id(told["last-generated-id"])
    )
    return stream, [
        Group(
            group["name"].decode(errors="replace"),
            _id(group["last-delivered-id"]),
            None if group["entries-read"] is None else int(group["entries-read"]),
            int(group["pending"]),
        )
        for group in groups
    ]


@dataclass
class _Known:
    """Of one group: where it was, how many entries lie up to there, and what was counted as lost while it is there.

    read: Redis' number then. correction: what it leaves out. exact: whether the number was counted rather than estimated.
    """

    position: EntryId
    read: int | None
    number: int = 0
    lost: int = 0
    correction: int = 0
    exact: bool = True


class GroupWatch:
    """Turns looks at the stream into what each group lost in between. Pure; what was lost before the first look is not counted."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        # Redis up to 7.0 counts on from where a group was before it skipped something; which it is shows when a group has caught up.
        self._counts_on = True
        self._added = 0

    def look(self, stream: Stream, groups: Iterable[Group]) -> dict[str, Look]:
        """What is new of each group since the last look."""
        before = self._known if stream.added >= self._added else {}  # else Redis has lost the stream: it begins anew
        self._known, self._added = {}, stream.added
        looks = {}
        for group in groups:
            known = before.get(group.name)
            if known is None:
                known = _Known(group.position, group.read)
                self._locate(stream, group, known)
                known.exact &= known.number > stream.trimmed
                known.lost = max(0, stream.trimmed - known.number)
            looks[group.name] = self._look(stream, group, known)
            self._known[group.name] = known
        return looks

    def _look(self, stream: Stream, group: Group, known: _Known) -> Look:
        if known.position != group.position:
            if group.read is None or known.read is None:
                known.correction = 0
            elif known.lost and (self._counts_on or group.read + known.correction <= stream.trimmed):
                known.correction += known.lost
                known.exact = False
            known.position, known.read, known.lost = group.position, group.read, 0
            self._locate(stream, group, known)
        elif group.position >= stream.last:
            self._locate(stream, group, known)
        lost = max(0, stream.trimmed - known.number)
        new = max(0, lost - known.lost)
        known.lost = max(lost, known.lost)
        if stream.first is not None and group.position >= stream.first and known.number <= stream.trimmed:
            # It reads what is still there, so it has skipped what is not; between two looks, if both numbers were counted.
            new = new if known.exact else 0
            known.correction += stream.trimmed + 1 - known.number
            known.number, known.lost, known.exact = stream.trimmed + 1, 0, False
        return Look(min(stream.length, max(0, stream.added - known.number)), group.pending, new)

    def _locate(self, stream: Stream, group: Group, known: _Known) -> None:
        """Find out how many entries were ever added up to the group's position."""
        if group.position >= stream.last:
            known.number, known.exact = stream.added, True
            if group.read is not None:
                if known.correction:
                    self._counts_on = group.read < stream.added
                known.correction = stream.added - group.read
        elif group.read is not None:
            known.number = min(group.read + known.correction, stream.added - 1)
        elif stream.first is None or group.position < stream.first:
            known.number, known.exact = stream.trimmed, False
        else:  # Redis has lost count: entries are taken to be spread evenly over the time from the first to the last
            share = (group.position[0] - stream.first[0]) / max(1, stream.last[0] - stream.first[0])
            known.number, known.exact = stream.trimmed + 1 + round(share * (stream.length - 1)), False


def _fields(row: Any) -> dict[str, Any]:
    """A reply of name, value, name, value ... or already a mapping."""
    pairs = row.items() if isinstance(row, dict) else zip(row[::2], row[1::2], strict=True)
    return {name.decode() if isinstance(name, bytes) else name: value for name, value in pairs}


def _id(text: Any) -> EntryId:
    milliseconds, _, sequence = (text.decode() if isinstance(text, bytes) else str(text)).partition("-")
    return int(milliseconds), int(sequence or 0)
