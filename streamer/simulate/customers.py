"""Customers who live: they browse, buy, give up, come back, call, call again and are handed on. Seeded, in virtual time.

Every episode (a visit, an issue, a case, something about the relationship) is drawn when it begins, with what follows from it, and its
events wait in a heap for their turn, so that the stream comes in the order in which it is sent. The shares are the orders of magnitude
of the domain catalogue; tests assert them. When episodes begin, whose they are and what is chance in each does not depend on what
happens in others: with an incident and without it, everything that it does not touch is the same.
"""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING, Final

from streamer.simulate.browsing import visit
from streamer.simulate.care import REASONS, issue
from streamer.simulate.cases import case
from streamer.simulate.life import Life
from streamer.simulate.people import person
from streamer.simulate.relationship import relationship
from streamer.simulate.wire import poisoned
from streamer.touchpoints.touchpoint import Reason

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from streamer.simulate.scenario import Scenario
    from streamer.simulate.wire import Sent

# Mean of the events an episode makes in the end: turns a rate of events into one of episodes. Measured; a test asserts it.
EVENTS_PER_EPISODE: Final = 8.0
VISIT_SHARE, ISSUE_SHARE, CASE_SHARE = 0.78, 0.11, 0.05  # of episodes; the rest are about the relationship
POISON_SHARE = 0.001  # of events
_MILLION: Final = 1_000_000
OVERSIZE_EVERY = 64  # rounds of poison: one such record weighs as much as 3,000 events


class Simulation:
    """The stream of a scenario; the same scenario gives the same bytes."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._life = Life(scenario)
        self._arrivals = Random(scenario.seed)
        self._episodes = 0
        self._poisons = 0

    @property
    def tally(self) -> Counter[str]:
        """What was made so far: events by type, and the ground truth (checkouts, given_up, came_back, repeats, poison.*, ...)."""
        return self._life.tally

    def sent(self) -> Iterator[Sent]:
        """Every record in the order of sending; endless if the scenario is."""
        life, scenario, draw = self._life, self._scenario, self._arrivals.random
        until, end_ms = life.waiting.until, life.end_ms
        now_ms = float(scenario.start_ms)
        while True:
            now_ms -= math.log(1.0 - draw()) * 1000 * EVENTS_PER_EPISODE / scenario.rate(now_ms)
            yield from until(min(now_ms, end_ms))
            if now_ms >= end_ms:
                return
            self._episode(int(now_ms))

    def _episode(self, now_ms: int) -> None:
        life, arrivals = self._life, self._arrivals
        customer = int(arrivals.random() * self._scenario.customers)
        self._episodes += 1
        life.begin(self._episodes, seed := arrivals.getrandbits(63))
        kind = life.draw()
        if kind < VISIT_SHARE:
            visit(life, now_ms, customer)
        elif kind < VISIT_SHARE + ISSUE_SHARE:
            issue(life, now_ms, person(customer), life.pick(REASONS))
        elif kind < VISIT_SHARE + ISSUE_SHARE + CASE_SHARE:
            case(life, now_ms, customer)
        else:
            relationship(life, now_ms, customer)
        # Not by the episode's chance, of which an incident takes more or less.
        if self._scenario.poison and seed % _MILLION < POISON_SHARE * EVENTS_PER_EPISODE * _MILLION:
            self._poison(now_ms, customer)

    def _poison(self, now_ms: int, customer: int) -> None:
        turn, number = divmod(self._poisons, len(self._scenario.poison))
        self._poisons += 1
        reason = self._scenario.poison[number]
        if reason is Reason.OVERSIZE and turn % OVERSIZE_EVERY:
            return
        life = self._life
        id_ = life.name("poison")
        life.waiting.push(poisoned(reason, life.number, id_, now_ms, f"cust-{customer:08d}"))
        life.tally[f"poison.{reason.value}"] += 1
