"""D2, the judging: were the alerts right, and early? Each rule's alerts against what became of the same customers.

An alert is right if the outcome comes within the horizon after it; it counts only if the history goes on for that long. An outcome was
foreseen if an alert of the rule came within the horizon before it; it counts only if all of the horizon, and of the alerts' own, lies in
the history. Alerts of one customer come in bursts and share what becomes of him, so intervals are of clusters.

`lapsed` is nothing that happens, but that nothing does: an alert is right if no order comes for so long after it. Only customers who have
ordered as lately before it can lapse. It is dated at the last order, and was foreseen if a right alert came within the horizon after that:
who orders once more after an alert has not lapsed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from streamer.analysis.statistics import clustered_share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOISY_BELOW: Final = 0.2
NOISY_FROM: Final = 50


class Judged(NamedTuple):
    """One rule. customers: whose its alerts were; right: of its alerts; outcomes: those that the history could show foreseen.

    lead_hours: from the alert to the outcome, median of the right ones.
    """

    rule: str
    alerts: int
    customers: int
    right: int
    precision: float | None
    precision_interval: tuple[float, float] | None
    outcomes: int
    foreseen: int
    recall: float | None
    recall_interval: tuple[float, float] | None
    lead_hours: float | None
    noisy: bool


class Question(NamedTuple):
    """What alerts are held against, times by customer, ascending, in milliseconds.

    seen: of the customer's events, for `lapsed` his orders: who has none before an alert is not at risk. outcomes: for `lapsed` the last
    orders before. lapse_ms: None of any other outcome.
    """

    outcomes: Mapping[str, Sequence[int]]
    seen: Mapping[str, Sequence[int]]
    horizon_ms: int
    begin_ms: int
    end_ms: int
    lapse_ms: int | None = None

    @property
    def known_after_ms(self) -> int:
        """How long after a moment it is known whether the outcome followed."""
        return self.horizon_ms if self.lapse_ms is None else self.lapse_ms

    def at_risk(self, key: str, time: int) -> bool:
        """Whether the outcome may follow for a customer at a time, and whether it does is known."""
        if time + self.known_after_ms > self.end_ms:
            return False
        return self.lapse_ms is None or _within(self.seen.get(key, ()), time - self.lapse_ms, time)

    def lead(self, key: str, time: int) -> int | None:
        """From that time to the outcome that follows, less than 0 for a lapse; None if none does."""
        if self.lapse_ms is None:
            later = self.outcomes.get(key, ())
            at = bisect_right(later, time)
            return later[at] - time if at < len(later) and later[at] <= time + self.horizon_ms else None
        orders = self.seen.get(key, ())
        return None if _within(orders, time, time + self.lapse_ms) else orders[bisect_right(orders, time) - 1] - time

    def foreseen(self, time: int, alerts: Sequence[int]) -> bool | None:
        """Whether one of the alerts of its customer foresaw an outcome; None if the history does not say."""
        if self.lapse_ms is None:
            if time - self.horizon_ms < self.begin_ms or time + self.horizon_ms > self.end_ms:
                return None
            return bisect_left(alerts, time) > bisect_left(alerts, time - self.horizon_ms)
        if time + self.horizon_ms + self.lapse_ms > self.end_ms:
            return None
        return bisect_right(alerts, time + self.horizon_ms) > bisect_left(alerts, time)


def _within(times: Sequence[int], after: int, until: int) -> bool:
    """Whether one is after the one moment and not after the other."""
    return bisect_right(times, until) > bisect_right(times, after)


def judge(rule: str, alerts: Mapping[str, Sequence[int]], question: Question) -> Judged:
    """Precision, recall and lead of the alerts of one rule; times by customer, ascending."""
    usable = {key: [time for time in times if question.at_risk(key, time)] for key, times in alerts.items()}
    leads = {key: [question.lead(key, time) for time in times] for key, times in usable.items() if times}
    right = [lead for of_one in leads.values() for lead in of_one if lead is not None]
    # Of a lapse only alerts that are right foresee it.
    foreseeing = usable if question.lapse_ms is None else {
        key: [time for time, lead in zip(usable[key], of_one, strict=True) if lead is not None] for key, of_one in leads.items()
    }  # fmt: skip
    told = [[question.foreseen(time, foreseeing.get(key, ())) for time in times] for key, times in question.outcomes.items()]
    known = [[one for one in of_one if one is not None] for of_one in told]
    judged, precision, precision_interval = _share([[lead is not None for lead in of_one] for of_one in leads.values()])
    total, recall, recall_interval = _share(known)
    return Judged(
        rule, judged, len(leads), len(right), precision, precision_interval, total, sum(map(sum, known)), recall, recall_interval,
        median(right) / 3_600_000 if right else None,
        judged >= NOISY_FROM and precision is not None and precision < NOISY_BELOW,
    )  # fmt: skip


def _share(by_customer: Sequence[Sequence[bool]]) -> tuple[int, float | None, tuple[float, float] | None]:
    """How many there are, the share of those that are true, and its interval."""
    sizes = np.array([len(of_one) for of_one in by_customer if of_one], dtype=np.float64)
    hits = np.array([sum(of_one) for of_one in by_customer if of_one], dtype=np.float64)
    if not len(sizes):
        return 0, None, None
    return int(sizes.sum()), float(hits.sum() / sizes.sum()), clustered_share(hits, sizes)


def base_rate(question: Question) -> float | None:
    """How often the outcome follows anyway: of customers seen before a moment and at risk then, at one moment each horizon."""
    last = question.end_ms - question.known_after_ms
    customers = hits = 0
    for moment in range(question.begin_ms, last + 1, question.horizon_ms):
        for key, seen in question.seen.items():
            if seen and seen[0] <= moment and question.at_risk(key, moment):
                customers += 1
                hits += question.lead(key, moment) is not None
    return hits / customers if customers else None
