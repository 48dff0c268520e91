"""When to look at which customer: keys by time, the earliest first, and those of one time by key."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from struct import Struct
from typing import Final, final

from streamer.journeys.state import NEVER

_TIME: Final = Struct(">Q")
_TIME_BYTES: Final = _TIME.size
# Makes every time from -NEVER to NEVER a positive number, so that the order of bytes is that of numbers; the first byte is then below 0x80.
# Not more: beyond 2^62 the compiled copy would have to make objects of the numbers.
_ZERO: Final = NEVER

# So many entries are not worth a look at which of them are still wanted.
_TIDY_MIN: Final = 1_000

_pack = _TIME.pack
_unpack = _TIME.unpack_from


def time_bytes(time_ms: int) -> bytes:
    """A time as bytes that sort as times do, and of which the first is below 0x80."""
    return _pack(time_ms + _ZERO)


def split_time(entry: bytes) -> tuple[int, bytes]:
    """The time that `time_bytes` wrote, and what follows it."""
    return _time_of(entry), entry[_TIME_BYTES:]


def _time_of(entry: bytes) -> int:
    time_ms: int = _unpack(entry)[0]
    return time_ms - _ZERO


@final
class Timers:
    """A queue with one entry for most customers: as bytes it takes half of what a pair would, and the cycle collector ignores it.

    next_ms: of the first entry, NEVER if there is none.
    """

    def __init__(self, entries: Iterable[tuple[int, bytes]] = ()) -> None:
        self._heap = sorted([time_bytes(time_ms) + key for time_ms, key in entries])  # sorted, it is a heap
        self.next_ms = NEVER
        self._room = _TIDY_MIN + 2 * len(self._heap)
        self._look()

    def push(self, time_ms: int, key: bytes) -> None:
        """Look at a customer at that time."""
        heappush(self._heap, time_bytes(time_ms) + key)
        self.next_ms = min(self.next_ms, time_ms)

    def pop(self) -> bytes:
        """Take the first entry, which is of `next_ms`; its key."""
        entry = heappop(self._heap)
        self._look()
        return entry[_TIME_BYTES:]

    def tidy(self, is_wanted: Callable[[int, bytes], bool]) -> None:
        """Once the queue has doubled, drop what is in it twice or nobody waits for any more; so it costs each push but a little.

        A deadline that was put off stays until its time, and one that another came before is pushed again after that.
        """
        if len(self._heap) > self._room:
            self._heap = [entry for entry in set(self._heap) if is_wanted(*split_time(entry))]
            heapify(self._heap)
            self._room = _TIDY_MIN + 2 * len(self._heap)
            self._look()

    def __len__(self) -> int:
        return len(self._heap)

    def _look(self) -> None:
        self.next_ms = _time_of(self._heap[0]) if self._heap else NEVER
