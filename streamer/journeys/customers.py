"""The customers of a partition: in use, or packed as their rows.

A customer in use takes several times the memory of a row. Beyond a limit, those in use for longest are packed; one that comes back is
unpacked, and its retained events are folded again. What has to be written to the changelog does not depend on it: a packed customer's row
is written as it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Final, final

from streamer.journeys.customer import Customer
from streamer.journeys.row import Boundary

# How many more customers than are too many a drain looks at: of those, events may still come before what is folded.
_LOOKED_AT_MAX: Final = 256


@final
class Customers:
    """changed: the keys of those whose rows have to be written, since the boundary (`write_behind.py`); one in use has `dirty` set.

    in_use_max: how many are in use, about; at most twice as many.
    """

    def __init__(self, in_use_max: int) -> None:
        self.changed: dict[bytes, None] = {}
        self._in_use_max = in_use_max
        self._all: dict[bytes, Customer | bytes] = {}
        self._unwritten: set[bytes] = set()  # packed, and the changelog has no row of this life
        self._in_use: deque[Customer] = deque()  # the longest first, perhaps with some that are dropped

    def load(self, rows: Mapping[bytes, bytes]) -> None:
        """Take over the changelog's rows, packed."""
        self._all.update(rows)

    def get(self, key: bytes) -> Customer | None:
        """The customer of a key, from now on in use."""
        found = self._all.get(key)
        if found is None or isinstance(found, Customer):
            return found
        customer = Customer.of_row(key, found)
        customer.dirty = key in self.changed
        if key in self._unwritten:
            self._unwritten.remove(key)
            customer.written = False
        self.add(customer)
        return customer

    def add(self, customer: Customer) -> None:
        """A customer in use."""
        self._all[customer.key] = customer
        self._in_use.append(customer)

    def drop(self, customer: Customer) -> None:
        """Forget a customer in use."""
        del self._all[customer.key]
        self.changed.pop(customer.key, None)

    def begin_boundary(self) -> dict[bytes, None]:
        """Nothing has changed from now on; gives what had."""
        changed, self.changed = self.changed, {}
        for key in changed:
            customer = self._all[key]
            if isinstance(customer, Customer):
                customer.dirty = False
        return changed

    def row_to_write(self, key: bytes, now: Boundary, settle: Callable[[Customer], None]) -> bytes:
        """The row of a customer, with everything so far in it; it counts as written."""
        self.changed.pop(key, None)
        customer = self._all[key]
        if not isinstance(customer, Customer):
            self._unwritten.discard(key)
            return customer
        customer.dirty, customer.written = False, True
        settle(customer)
        return customer.row(now.offset, now.clock)

    def has_row(self, key: bytes) -> bool:
        """Whether the changelog has a row of this life of the customer."""
        customer = self._all.get(key)
        return customer is not None and (customer.written if isinstance(customer, Customer) else key not in self._unwritten)

    def pack(self, now: Boundary, is_needed: Callable[[Customer], bool], prepare: Callable[[Customer], None]) -> None:
        """Pack some customers if too many are in use.

        is_needed: whether it is likely to be needed again soon; prepare: makes it ready.
        """
        over = len(self._in_use) - self._in_use_max
        looks = over + _LOOKED_AT_MAX
        while over > 0 and looks > 0:
            looks -= 1
            customer = self._in_use.popleft()
            if self._all.get(customer.key) is not customer:
                over -= 1
                continue
            if over <= self._in_use_max and is_needed(customer):
                self._in_use.append(customer)
                continue
            over -= 1
            prepare(customer)
            self._all[customer.key] = customer.row(now.offset, now.clock)
            if not customer.written:
                self._unwritten.add(customer.key)


class RowsView(Mapping[bytes, bytes]):
    """A partition's customers as rows, read-only."""

    def __init__(self, customers: Customers) -> None:
        self._all = customers._all

    def __getitem__(self, key: bytes) -> bytes:
        customer = self._all[key]
        return customer.row() if isinstance(customer, Customer) else customer

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)
