"""One customer's row: a folded base, the retained suffix of events, and what has been said about the customer's alerts.

The live state is always fold(base, suffix, clock); it is kept while the customer is in use and otherwise folded again when
needed. So a row is written by copying bytes, and an event that arrives out of order is put in its place and the suffix folded
anew: what differs between the two folds is what goes out.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence, Set
from operator import attrgetter
from typing import Any, Final, NamedTuple, final

import msgspec
from msgspec.structs import astuple
from mypy_extensions import mypyc_attr

from streamer.deltas import PANE_MS
from streamer.errors import StateError
from streamer.journeys.cells import COUNTER_BITS, COUNTER_MASK
from streamer.journeys.fold import Fold
from streamer.journeys.plan import Plan
from streamer.journeys.row import ROW_SCHEMA, Emitted, decode, encode
from streamer.journeys.sinks import Aside, Firings, Live, Muted, Sink
from streamer.journeys.state import NEVER, State
from streamer.touchpoints.touchpoint import Touchpoint, touchpoint_of

# The base takes over events in chunks of this many: one decoding of the base is then shared by as many events.
CHUNK: Final = 16
# Fewer retained events than this are not worth packing the state for, though the watermark has passed them: it costs as much as folding one
# of them again, and each has to be folded again, when events leave the suffix and with each that comes out of order.
SETTLE_EVENTS: Final = 3
# Retained events are packed when a row is written, or when so many are left after a look at which are old: unpacked one takes about 400
# bytes, packed 100. Most are folded into the base before that, and need never be packed: at 16, half of those packed were soon unpacked.
FRESH_MAX: Final = 32
# Of an id, what is compared first: random in what most producers use, and short enough to lie together.
TAIL_LENGTH: Final = 8
_LENGTH_BYTES: Final = 2

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode

MUTED: Final = Muted()


class Happened(NamedTuple):
    """The alerts' firings (episode key, number) of a fold; those numbered up to `pruned` may be among them though they are not named."""

    firings: Set[tuple[str, int]]
    pruned: int

    def has(self, key: str, n: int) -> bool:
        """Whether this firing is, or may be, among them."""
        return n <= self.pruned or (key, n) in self.firings


@final
@mypyc_attr(acyclic=True)
class Customer:
    """A customer in use. born: offset of the first event of this life; due: no deadline comes before, NEVER if there is none; queued: its
    place in the queue; waiting: the place in the queue of those who may be forgotten. NEVER: in none.

    edge: what makes the events at `base_time` duplicates, though they have left the suffix: one at that time is not late.
    quiet: `quiet_at` of the row, while the state is not unpacked.
    fresh: retained events that are not packed yet. tails: the ends of the retained events' ids, but of those that were `restored`.
    written: the changelog has a row of this life. as_of, clock: of the row it was restored from, which may be ahead of what is folded
    again (`write_behind.py`).
    """

    __slots__ = (
        "as_of", "base", "base_time", "born", "clock", "count", "dirty", "due", "edge", "emitted", "fresh", "key", "last_time", "queued",
        "quiet", "restored", "revision", "state", "suffix", "tails", "waiting", "written",
    )  # fmt: skip

    def __init__(self, key: bytes, born: int, revision: int) -> None:
        self.key = key
        self.born = born
        self.revision = revision
        self.base = b""
        self.base_time = -1
        self.suffix = b""
        self.restored = False
        self.fresh: list[Touchpoint] = []
        self.tails = ""
        self.count = 0
        self.last_time = -1
        self.state: State | None = None
        self.emitted: dict[str, Emitted] = {}
        self.edge: list[str] = []
        self.due = NEVER
        self.queued = NEVER
        self.waiting = NEVER
        self.dirty = False
        self.written = False
        self.as_of = self.clock = 0
        self.quiet = -1

    @classmethod
    def of_row(cls, key: bytes, packed: bytes) -> Customer:
        """The customer of a changelog row. Raises StateError for a row of an unknown newer schema."""
        # All at once: the compiled copy asks for each attribute of a library's structure by its name.
        row: tuple[Any, ...] = astuple(decode(packed))
        schema, due, quiet_at, born, revision, base_time, last_time, base, suffix, _, count, emitted, edge, as_of, clock = row
        if schema > ROW_SCHEMA:
            raise StateError(f"state row has schema {schema}, this build reads {ROW_SCHEMA}: start a build that is at least as new")
        customer = cls(key, born, revision)
        customer.base, customer.base_time, customer.last_time = base, base_time, last_time
        customer.suffix, customer.count, customer.emitted, customer.due = suffix, count, emitted, due
        customer.edge, customer.restored = edge, customer.count > 0
        customer.queued = customer.due  # a restore queues every deadline
        customer.quiet = quiet_at
        customer.waiting = customer.quiet if customer.due == NEVER else NEVER
        customer.written, customer.as_of, customer.clock = True, as_of, clock
        return customer

    def row(self, as_of: int = 0, clock_ms: int = 0) -> bytes:
        """The customer as a changelog row of this offset and time of the partition."""
        self._pack_fresh()
        # The values of a `Row`, in its order; a structure made only to be encoded costs as much as encoding it.
        return encode(
            (
                ROW_SCHEMA, self.due, self.quiet_at, self.born, self.revision, self.base_time, self.last_time, self.base, self.suffix,
                b"", self.count, self.emitted, self.edge, as_of, clock_ms,
            )
        )  # fmt: skip

    @property
    def quiet_at(self) -> int:
        """The watermark must pass this time before the customer can be forgotten: the last event or deadline that was applied."""
        return max(self.last_time, self.state.fired if self.state else self.quiet)

    def events(self) -> list[Touchpoint]:
        """The retained events, in event order."""
        found: list[Touchpoint] = []
        at, suffix = 0, self.suffix
        while at < len(suffix):
            event, at = _unframed(suffix, at)
            found.append(event)
        found += self.fresh
        found.sort(key=_order)  # what changes nothing is kept as it came
        return found

    def _first_kept(self) -> Touchpoint:
        """Of the retained events the one that came first, which is seldom not the oldest."""
        return _unframed(self.suffix, 0)[0] if self.suffix else self.fresh[0]

    def has(self, event: Touchpoint, since_ms: int) -> bool:
        """True if an event from `since_ms` on, or of the base's last moment, has the same source and id (a duplicate)."""
        if self.edge and event.time == self.base_time and _identity(event) in self.edge:
            return True
        # Looking for the end of the id among those of the others, which lie together, or in the bytes of those that came with a row tells
        # almost every non-duplicate; only a match is looked at closely.
        tail = event.id[-TAIL_LENGTH:]
        if tail not in self.tails and not (self.restored and tail.encode() in self.suffix):
            return False
        return any(kept.time >= since_ms and kept.id == event.id and kept.source == event.source for kept in self.events())

    def folded(self, fold: Fold, events: Sequence[Touchpoint], clock_ms: int, sink: Sink = MUTED) -> State:
        """fold(base, events, clock)."""
        return _folded(fold, fold.unpack(self.base), events, clock_ms, sink)

    def live(self, fold: Fold, clock_ms: int) -> State:
        """The live state, folded again if the customer was not in use."""
        if self.state is None:
            self.state = self.folded(fold, self.events(), max(clock_ms, self.clock))
        return self.state

    def append(self, fold: Fold, state: State, event: Touchpoint, plan: Plan, clock_ms: int, sink: Sink) -> None:
        """Apply an event that comes after everything applied so far."""
        if self.due <= event.time:
            self.due = fold.fire(state, event.time, sink)
        if fold.apply(state, event, sink, plan):
            due = fold.due_after(state, event, plan, self.due)
            if due <= clock_ms:
                due = fold.fire(state, clock_ms, sink)
            self.due = due
        self.keep(event)

    def keep(self, event: Touchpoint) -> None:
        """Retain an event that is applied; alone for one that changes nothing in the state, wherever in order it belongs."""
        if event.time > self.last_time:
            self.last_time = event.time
        self.fresh.append(event)
        self.count += 1
        self.tails += event.id[-TAIL_LENGTH:]

    def _pack_fresh(self) -> None:
        if self.fresh:
            self.suffix += b"".join(map(_framed, self.fresh))
            self.fresh = []

    def insert(self, fold: Fold, event: Touchpoint, clock_ms: int, sink: Live) -> tuple[State, Happened]:
        """Put an event in its place among the retained ones; counts the difference. Returns the state before, and what fires now."""
        old, new, common = Aside(fold.evidenced), Aside(fold.evidenced), Firings()
        events = self.events()
        place = bisect_left(events, _order(event), key=_order)
        before = fold.unpack(self.base)
        in_base = {(key, episode.n) for key, episode in before.episodes.items()}
        pruned = before.pruned
        # What comes before it is folded once. The copy is what a restore would make of it.
        _fold(fold, before, events[:place], common)
        self.state = fold.unpack(fold.pack(before))
        _folded(fold, before, events[place:], clock_ms, old)
        events.insert(place, event)
        _folded(fold, self.state, events[place:], clock_ms, new)
        _count_difference(old, new, sink)
        self.due = fold.next_due(self.state)
        self._keep(events)
        self.last_time = events[-1].time
        return before, Happened(common.fired | new.fired | in_base, pruned)

    def settle(self, fold: Fold, state: State) -> None:
        """Make the live state the base. Only when the watermark has passed every event and deadline in it: nothing can come before."""
        self.base = fold.pack(state)
        self.base_time, self.edge = self.last_time, []
        self._keep([])
        self._drop_told(state)

    def trim(self, fold: Fold, watermark_ms: int, limit: int) -> int:
        """Fold old events into the base, in chunks; returns how many had to go although the watermark had not passed them."""
        forced = 0
        if self.count > limit or self._first_kept().time < watermark_ms:
            forced = self._fold_old(fold, watermark_ms, limit)
        if len(self.fresh) >= FRESH_MAX:
            self._pack_fresh()
        return forced

    def _fold_old(self, fold: Fold, watermark_ms: int, limit: int) -> int:
        events = self.events()
        cut = 0
        while cut < len(events) and events[cut].time < watermark_ms:
            cut += 1
        forced = 0
        if len(events) - cut > limit:
            forced = min(len(events), -(-(len(events) - cut - limit) // CHUNK) * CHUNK)
        cut += forced
        if cut:
            self._rebase(fold, events, min(cut, len(events)), limit if forced else 0)
        return forced

    def _move_base_time(self, gone: Sequence[Touchpoint], time_ms: int, limit: int) -> None:
        """`base_time` becomes `time_ms`; what tells duplicates at that moment is kept, at most `limit` of them."""
        before = self.edge if time_ms == self.base_time else []
        edge = [*before, *(_identity(event) for event in gone if event.time == time_ms)]
        self.base_time, self.edge = time_ms, edge[-limit:] if limit else []

    def _rebase(self, fold: Fold, events: list[Touchpoint], cut: int, edge_limit: int) -> None:
        state = fold.unpack(self.base)
        _fold(fold, state, events[:cut], MUTED)
        self.base = fold.pack(state)
        self._move_base_time(events[:cut], events[cut - 1].time, edge_limit)
        self._keep(events[cut:])
        self._drop_told(state)

    def _drop_told(self, base: State) -> None:
        if self.emitted:
            live = self.state.episodes if self.state else {}
            # A number above `pruned` may come again: what was told under it must be known then.
            self.emitted = {
                key: told
                for key, told in self.emitted.items()
                if told.in_force or key in live or key in base.episodes or max(told.n, told.newest) > base.pruned
            }

    def _keep(self, events: Sequence[Touchpoint]) -> None:
        self.suffix, self.fresh, self.restored = b"", list(events), False
        self.tails = "".join([event.id[-TAIL_LENGTH:] for event in events])
        self.count = len(events)

    def adopt(self, old: Fold, new: Fold, revision: int, clock_ms: int, sink: Sink) -> State:
        """Go on under new definitions: what was folded under the old ones stays as it was and becomes the base; the live state."""
        state = self.live(old, clock_ms)
        self._move_base_time(self.events(), self.last_time, old.definitions.limits.events_per_customer)
        self.base = old.pack(state)
        self._keep([])
        self.state = new.unpack(self.base)
        self.revision = revision
        new.adopt(self.state, old, clock_ms, sink)
        return self.state


def _fold(fold: Fold, state: State, events: Sequence[Touchpoint], sink: Sink) -> None:
    """Apply events, each after the deadlines before it."""
    for event in events:
        fold.fire(state, event.time, sink)
        fold.apply(state, event, sink)


def _folded(fold: Fold, state: State, events: Sequence[Touchpoint], clock_ms: int, sink: Sink) -> State:
    _fold(fold, state, events, sink)
    fold.fire(state, clock_ms, sink)
    return state


def _count_difference(old: Aside, new: Aside, sink: Live) -> None:
    """What the new fold counts otherwise than the old one, and the events behind that."""
    sink.at_deadline()
    for cell in dict.fromkeys([*old.counts, *new.counts]):
        before, after = old.counts.get(cell, {}), new.counts.get(cell, {})
        for key in dict.fromkeys([*before, *after]):
            n = after.get(key, 0) - before.get(key, 0)
            if n:
                sink.count(key & COUNTER_MASK, cell, (key >> COUNTER_BITS) * PANE_MS, n)
    for causes, others, taken_back in ((old.causes, new.causes, -1), (new.causes, old.causes, 1)):
        for (cell, key), some in causes.items():
            known = set(others.get((cell, key), ()))
            for sign, cause in some:
                if (sign, cause) not in known:
                    sink.remember(key & COUNTER_MASK, cell, (key >> COUNTER_BITS) * PANE_MS, sign * taken_back, cause)
    for kind in sorted(old.notes.keys() | new.notes.keys()):
        for _ in range(new.notes.get(kind, 0) - old.notes.get(kind, 0)):
            sink.note(kind)


def _identity(event: Touchpoint) -> str:
    return f"{event.source}\x00{event.id}"


def _framed(event: Touchpoint) -> bytes:
    packed: bytes = _pack(event.values())
    return len(packed).to_bytes(_LENGTH_BYTES) + packed


def _unframed(suffix: bytes, at: int) -> tuple[Touchpoint, int]:
    """The inverse of `_framed`: the event that begins there, and where the next one does."""
    start = at + _LENGTH_BYTES
    end = start + int.from_bytes(suffix[at:start])
    return touchpoint_of(_unpack(suffix[start:end])), end


_order = attrgetter("time", "offset")
