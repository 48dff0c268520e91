"""The customers of a partition: in use, or packed as their rows.

A customer in use takes several times the memory of a row. Beyond a limit, those in use for longest are packed; one that comes back is
unpacked, and its retained events are folded again. A packed one has the row that the changelog has, or is about to have: what changed is
written when it is packed, while row and customer are at hand.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Final, final

from streamer.journeys.customer import Customer
from streamer.journeys.row import Boundary, decode_head
from streamer.journeys.state import NEVER, State
from streamer.journeys.timers import split_time, time_bytes

# How many customers that may be needed again soon are looked at in vain before packing waits for the next time: so many, and of those that
# are too many one in so many. With all of 25,000 too many needed, that is 0.1 us per event of a batch of 5,000.
_LOOKED_AT_MAX: Final = 256
_LOOKED_AT_SHARE: Final = 8
# A row is a MessagePack array, and begins with this or more.
_ROW_BEGINS: Final = 0x80


@final
class Customers:
    """changed: the keys of those in use whose rows have to be written, of what changed since the boundary (`write_behind.py`).

    in_use_max: how many are in use, about; at most twice as many.

    A packed one is its row, after its place in the queue of deadlines where that is an earlier one than the row's deadline.
    """

    def __init__(self, in_use_max: int) -> None:
        self.changed: dict[bytes, None] = {}
        self._in_use_max = in_use_max
        self._all: dict[bytes, Customer | bytes] = {}
        self._in_use: deque[Customer] = deque()  # the longest first, perhaps with some that are dropped

    def load(self, rows: Mapping[bytes, bytes]) -> None:
        """Take over the changelog's rows, packed."""
        self._all.update(rows)

    def get(self, key: bytes) -> Customer | None:
        """The customer of a key, from now on in use."""
        found = self._all.get(key)
        if found is None or isinstance(found, Customer):
            return found
        if found[0] >= _ROW_BEGINS:
            customer = Customer.of_row(key, found)  # with its deadline as its place
        else:
            queued, row = split_time(found)
            customer = Customer.of_row(key, row)
            customer.queued = queued
        self.add(customer)
        return customer

    def begin(self, key: bytes, born: int, revision: int) -> Customer:
        """Someone of whom nothing is known, in use."""
        customer = Customer(key, born, revision)
        customer.state = State()
        self.add(customer)
        return customer

    def add(self, customer: Customer) -> None:
        """A customer in use."""
        self._all[customer.key] = customer
        self._in_use.append(customer)

    def places(self, key: bytes) -> tuple[int, int]:
        """A customer's place in the queue of deadlines, and its next deadline; NEVER twice of one who is not known."""
        found = self._all.get(key)
        if found is None:
            return NEVER, NEVER
        if isinstance(found, Customer):
            return found.queued, found.due
        row = _row_of(found)
        due = decode_head(row).due
        return due if row is found else split_time(found)[0], due

    def is_queued(self, time_ms: int, key: bytes) -> bool:
        """Whether this is the customer's place in the queue of deadlines."""
        return self.places(key)[0] == time_ms

    def requeued(self, key: bytes) -> None:
        """The customer's place in the queue is now that of its next deadline; a packed one stays packed."""
        found = self._all[key]
        if isinstance(found, Customer):
            found.queued = found.due
        else:
            self._all[key] = _row_of(found)

    def is_quiet_since(self, key: bytes, since_ms: int) -> bool:
        """Whether this is the customer's place in the queue of those who may be forgotten."""
        found = self._all.get(key)
        if found is None:
            return False
        if isinstance(found, Customer):
            return found.waiting == since_ms
        head = decode_head(_row_of(found))
        return head.due == NEVER and head.quiet_at == since_ms

    def drop(self, customer: Customer) -> None:
        """Forget a customer in use."""
        del self._all[customer.key]
        self.changed.pop(customer.key, None)

    def row_to_write(self, key: bytes, now: Boundary, settle: Callable[[Customer], None]) -> bytes:
        """The row of a customer in use, with everything so far in it; it counts as written."""
        customer = self._all[key]
        assert isinstance(customer, Customer)  # noqa: S101  one that is packed has been written
        customer.dirty, customer.written = False, True
        settle(customer)
        return customer.row(now.offset, now.clock)

    def has_row(self, key: bytes) -> bool:
        """Whether the changelog has a row of this life of the customer."""
        customer = self._all.get(key)
        return customer is not None and (not isinstance(customer, Customer) or customer.written)

    @property
    def too_many(self) -> bool:
        """Whether more are in use than are wanted to be."""
        return len(self._in_use) > self._in_use_max

    def pack(self, now: Boundary, is_needed: Callable[[Customer], bool], prepare: Callable[[Customer], None]) -> list[tuple[bytes, bytes]]:
        """Pack some customers if too many are in use; gives the keys and rows of those that have changed, which count as written.

        is_needed: whether it is likely to be needed again soon; prepare: makes it ready.
        """
        changed: list[tuple[bytes, bytes]] = []
        over = len(self._in_use) - self._in_use_max
        looks = min(over // _LOOKED_AT_SHARE + _LOOKED_AT_MAX, len(self._in_use))
        while over > 0 and looks > 0:
            customer = self._in_use.popleft()
            if self._all.get(customer.key) is not customer:
                over -= 1
                continue
            if over <= self._in_use_max and is_needed(customer):
                self._in_use.append(customer)
                looks -= 1
                continue
            over -= 1
            prepare(customer)
            row = customer.row(now.offset, now.clock)
            self._all[customer.key] = row if customer.queued == customer.due else time_bytes(customer.queued) + row
            if customer.dirty:
                changed.append((customer.key, row))
        return changed


def _row_of(packed: bytes) -> bytes:
    return packed if packed[0] >= _ROW_BEGINS else split_time(packed)[1]


class RowsView(Mapping[bytes, bytes]):
    """A partition's customers as rows, read-only."""

    def __init__(self, customers: Customers) -> None:
        self._all = customers._all

    def __getitem__(self, key: bytes) -> bytes:
        customer = self._all[key]
        return customer.row() if isinstance(customer, Customer) else _row_of(customer)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)
