"""What every simulated customer's episode is made with: chance, names, and the way into the stream."""

from __future__ import annotations

import math
from collections import Counter
from heapq import heappush
from random import Random
from typing import TYPE_CHECKING, Final

from streamer.simulate.wire import Sent, render

if TYPE_CHECKING:
    from streamer.simulate.scenario import Scenario

MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE

CONSENT_REFUSED_EVERY: Final = 37  # every n-th customer refuses analytics
LATE_SHARE, DISORDER_SHARE, DUPLICATE_SHARE = 0.002, 0.40, 0.002  # of events
SEGMENTS: Final = ("new", "regular", "regular", "vip")
REGIONS: Final = ("eu-west", "eu-central", "eu-north", "us-east")
SOURCES: Final = {"web": "/shop/web", "app": "/shop/app", "phone": "/care/phone", "chat": "/care/chat", "bot": "/care/chat",
                  "email": "/care/mail", "other": "/care/cases"}  # fmt: skip


class Life:
    """One scenario's chance and stream. tally: what was made. number: the last one given to a record or a name. waiting: a heap."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.draw = Random(scenario.seed).random
        self.waiting: list[Sent] = []
        self.number = 0
        self.end_ms = math.inf if scenario.end_ms is None else scenario.end_ms
        self.tally: Counter[str] = Counter()

    def exponential(self, mean: float) -> float:
        """An exponentially distributed number."""
        return -math.log(1.0 - self.draw()) * mean

    def pick(self, options: tuple[str, ...]) -> str:
        """One of the options, each as likely as the others."""
        return options[int(self.draw() * len(options))]

    def name(self, prefix: str) -> str:
        """An identifier nothing else has."""
        self.number += 1
        return f"{prefix}-{self.number:012x}"

    def who(self, customer: int, channel: str, platform: str = "", *, anonymous: bool = False) -> tuple[bytes, str]:
        """Key and the constant part of the `data` of a customer's events."""
        name = f"anon-{customer:08d}" if anonymous else f"cust-{customer:08d}"
        field = "anonymous_id" if anonymous else "customer_id"
        consent = ',"consent":{"categories":{"analytics":false}}' if customer % CONSENT_REFUSED_EVERY == 0 else ""
        device = f',"platform":"{platform}"' if platform else ""
        segment, region = SEGMENTS[customer & 3], REGIONS[customer >> 2 & 3]
        return name.encode(), f'"{field}":"{name}","channel":"{channel}"{device},"segment":"{segment}","region":"{region}"{consent}'

    def emit(self, key: bytes, source: str, kind: str, time_ms: int, who: str, what: str = "") -> None:
        """Put one event into the stream, with the delays, disorder and repetitions of real producers."""
        draw = self.draw
        chance = draw()
        if chance < LATE_SHARE:  # an app that was offline
            delay_ms = 5_000 + self.exponential(4 * MINUTE)
            self.tally["delayed"] += 1
        else:
            delay_ms = draw() * (5_000 if chance < DISORDER_SHARE else 250)
        sent_ms = int(time_ms + delay_ms)
        if sent_ms >= self.end_ms:
            return
        self.number = number = self.number + 1
        value = render(number, source, kind, time_ms, who, what)
        heappush(self.waiting, Sent(sent_ms, number, key, value))
        self.tally[kind] += 1
        if chance > 1 - DUPLICATE_SHARE:
            again_ms = int(sent_ms + draw() * MINUTE)
            if again_ms < self.end_ms:
                self.number = number = number + 1
                heappush(self.waiting, Sent(again_ms, number, key, value))
                self.tally["duplicates"] += 1
