"""Which fault comes when: every kind once in a shuffled deck, then the next deck. The seed decides everything."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Cycle(NamedTuple):
    """One fault. random: for what the fault chooses itself."""

    number: int
    kind: str
    random: Random


def schedule(kinds: Sequence[str], cycles: int, seed: int) -> Iterator[Cycle]:
    """The faults of a run. A cycle's choices do not depend on those before it."""
    order = Random(f"{seed}/order")
    deck: list[str] = []
    for number in range(1, cycles + 1):
        if not deck:
            deck = list(kinds)
            order.shuffle(deck)
        yield Cycle(number, deck.pop(), Random(f"{seed}/{number}"))
