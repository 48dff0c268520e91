"""Customers who live: they browse, buy, give up, come back, call, call again and are handed on. Seeded, in virtual time.

Every episode (a visit, an issue, a case) is drawn when it begins, and its events wait in a heap for their turn, so that the stream
comes in the order in which it is sent. The shares are the orders of magnitude of the domain catalogue; tests assert them.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from streamer.simulate.care import REASONS, case, issue
from streamer.simulate.life import Life
from streamer.simulate.shopping import visit
from streamer.simulate.wire import Sent, poisoned
from streamer.touchpoints.touchpoint import Reason

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from streamer.simulate.scenario import Scenario

# Mean of the events an episode makes in the end: turns a rate of events into one of episodes. Measured; a test asserts it.
EVENTS_PER_EPISODE: Final = 6.55
VISIT_SHARE, ISSUE_SHARE = 0.82, 0.13  # of episodes; the rest are cases
POISON_SHARE = 0.001  # of events
OVERSIZE_EVERY = 64  # rounds of poison: one such record weighs as much as 3,000 events


class Simulation:
    """The stream of a scenario; the same scenario gives the same bytes."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._life = Life(scenario)
        self._poisons = 0

    @property
    def tally(self) -> Counter[str]:
        """What was made so far: events by type, and the ground truth (checkouts, given_up, came_back, repeats, poison.*, ...)."""
        return self._life.tally

    def sent(self) -> Iterator[Sent]:
        """Every record in the order of sending; endless if the scenario is."""
        life = self._life
        waiting, end_ms = life.waiting, life.end_ms
        now_ms = float(self._scenario.start_ms)
        while True:
            now_ms += life.exponential(1000 * EVENTS_PER_EPISODE / self._rate(now_ms))
            limit_ms = min(now_ms, end_ms)
            while waiting and waiting[0][0] < limit_ms:
                yield heappop(waiting)
            if now_ms >= end_ms:
                return
            self._episode(int(now_ms))

    def _rate(self, now_ms: float) -> float:
        return next(rate for start_ms, rate in reversed(self._scenario.rate_from) if start_ms <= now_ms)

    def _episode(self, now_ms: int) -> None:
        life = self._life
        customer = int(life.draw() * self._scenario.customers)
        kind = life.draw()
        if kind < VISIT_SHARE:
            visit(life, now_ms, customer)
        elif kind < VISIT_SHARE + ISSUE_SHARE:
            issue(life, now_ms, customer, life.pick(REASONS))
        else:
            case(life, now_ms, customer)
        if self._scenario.poison and life.draw() < POISON_SHARE * EVENTS_PER_EPISODE:
            self._poison(now_ms, customer)

    def _poison(self, now_ms: int, customer: int) -> None:
        turn, number = divmod(self._poisons, len(Reason))
        self._poisons += 1
        reason = list(Reason)[number]
        if reason is Reason.OVERSIZE and turn % OVERSIZE_EVERY:
            return
        life = self._life
        life.number += 1
        heappush(life.waiting, poisoned(reason, life.number, now_ms, f"cust-{customer:08d}"))
        life.tally[f"poison.{reason.value}"] += 1
