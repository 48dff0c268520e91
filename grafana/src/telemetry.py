"""PromQL over the pipeline's own metrics."""

from __future__ import annotations

from typing import Final

JOURNEYS: Final = 'role="journeys"'
SCRAPED: Final = 'job=~"$job", instance=~"$instance"'


def select(name: str, matchers: str = "") -> str:
    """A vector selector of the chosen processes."""
    return f"{name}{{{SCRAPED}{', ' + matchers if matchers else ''}}}"


def _aggregate(how: str, by: str) -> str:
    return f"{how} by ({by}) " if by else how


def rate(name: str, by: str, matchers: str = "") -> str:
    """Per second, summed; counters are added up only after the rate, or a restart would look like a fall."""
    return f"{_aggregate('sum', by)}(rate({select(name, matchers)}[$__rate_interval]))"


def quantile(q: float, name: str, by: str = "") -> str:
    """A quantile of a histogram family."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, {rate(name + '_bucket', labels)})"


def age(name: str, by: str, matchers: str = "") -> str:
    """Seconds since the instant a timestamp gauge holds; the oldest of each group. 0 means "not yet", not 1970."""
    return f"time() - {_aggregate('min', by)}({select(name, matchers)} > 0)"


def total(name: str, by: str = "", matchers: str = "", *, how: str = "sum") -> str:
    """A gauge, or a counter since its process started, added up (or `how="max"`) per value of the labels `by`."""
    return f"{_aggregate(how, by)}({select(name, matchers)})"
