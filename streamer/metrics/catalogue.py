"""The catalogue: every metric by name.

A counter change is `(counter, dimensions, pane) += n`; so partitions, windows and corrections just add. *Flow* counters are summed
over a window of event-time panes, *stock* counters for ever. A rate is attributed so that each member of its numerator is a
member of its denominator in the same pane: k <= n holds in every window.
"""

from __future__ import annotations

from typing import Final

from streamer.metrics.chapters import (
    browsing,
    cases,
    causes,
    commerce,
    communication,
    contacts,
    contracts,
    digital,
    handoffs,
    journeys,
    operations,
    service,
    steps,
    surveys,
    value,
    wallet,
)
from streamer.metrics.metric import Metric

# Always on: what the fold is about.
CORE: Final = ("journeys", "contacts", "cases")
CHAPTERS: Final[dict[str, tuple[Metric, ...]]] = {
    "journeys": journeys.METRICS,
    "contacts": contacts.METRICS,
    "cases": cases.METRICS,
    "contracts": contracts.METRICS,
    "surveys": surveys.METRICS,
    "service": service.METRICS,
    "digital": digital.METRICS,
    "steps": steps.METRICS,
    "handoffs": handoffs.METRICS,
    "communication": communication.METRICS,
    "causes": causes.METRICS,
    "commerce": commerce.METRICS,
    "browsing": browsing.METRICS,
    "wallet": wallet.METRICS,
    "operations": operations.METRICS,
    "value": value.METRICS,
}

METRICS: Final = tuple(metric for metrics in CHAPTERS.values() for metric in metrics)
METRIC_BY_ID: Final = {metric.id: metric for metric in METRICS}
CHAPTER_OF: Final = {metric.id: chapter for chapter, metrics in CHAPTERS.items() for metric in metrics}

# What an entity rule on a customer may name besides what the core knows, by chapter: name -> what it is.
SIGNALS: Final[dict[str, dict[str, str]]] = {
    "contracts": contracts.SIGNALS,
    "surveys": surveys.SIGNALS,
    "service": service.SIGNALS,
    "digital": digital.SIGNALS,
    "steps": steps.SIGNALS,
    "handoffs": handoffs.SIGNALS,
    "communication": communication.SIGNALS,
    "causes": causes.SIGNALS,
    "commerce": commerce.SIGNALS,
    "browsing": browsing.SIGNALS,
    "wallet": wallet.SIGNALS,
    "operations": operations.SIGNALS,
    "value": value.SIGNALS,
}
CHAPTER_OF_SIGNAL: Final = {name: chapter for chapter, names in SIGNALS.items() for name in names}
# Signals that the definitions file names itself: how often a [[pattern]] was seen.
PATTERNS: Final = "patterns"
PATTERN_PREFIX: Final = "pattern_"


def chapter_of_signal(name: str) -> str | None:
    """The part of the fold that knows a signal of customers, None for the core."""
    return PATTERNS if name.startswith(PATTERN_PREFIX) else CHAPTER_OF_SIGNAL.get(name)


# Types of events that a chapter may find to be friction, by chapter.
FRICTION_TYPES: Final[dict[str, tuple[str, ...]]] = {"service": service.FRICTION_TYPES, "digital": digital.FRICTION_TYPES}

# A window of the whole life of the counters, beside the rolling ones; what a recount of a finished history is compared with.
LIFETIME: Final = "lifetime"
