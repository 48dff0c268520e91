"""Which events are evidence of an aggregate rule: those its metric counts against somebody.

A rule that fires when a metric is high means what the numerator counts; one that fires when it is low, of which the condition looks at the
upper bound only, means the sample without the numerator. Of scores like NPS that is the side that speaks against it.
"""

from __future__ import annotations

from typing import NamedTuple

from streamer.metrics.counters import Counter
from streamer.metrics.metric import Metric
from streamer.rules.language import names_in


class Evidenced(NamedTuple):
    """counted: counters whose events are evidence, unless the same event counts in one of `but_not`, too."""

    counted: tuple[int, ...]
    but_not: tuple[int, ...] = ()

    @property
    def counters(self) -> tuple[int, ...]:
        """All of them."""
        return self.counted + self.but_not


def evidence_of(metric: Metric, when: str) -> Evidenced:
    """What is evidence of a rule with the condition `when`."""
    named = names_in(when)
    if metric.kind == "stock":  # a level: what raised it may be gone again, by another event
        return Evidenced(())
    is_low = "upper" in named and "lower" not in named
    if metric.kind == "difference":
        return Evidenced(_numbers(metric.minus if is_low else metric.numerator))
    if metric.kind == "mean":
        return Evidenced(_numbers(metric.denominator))
    if is_low and metric.kind in ("ratio", "odds"):
        return Evidenced(_numbers(metric.denominator), _numbers(metric.numerator))
    return Evidenced(_numbers(metric.numerator))


def _numbers(counters: tuple[Counter, ...]) -> tuple[int, ...]:
    return tuple(int(counter) for counter in counters)
