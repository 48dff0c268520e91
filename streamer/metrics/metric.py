"""What a metric is: a function of counters, with its name, unit, formula and where the definition comes from."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from streamer.metrics.counters import DIMENSIONS_OF, Counter

Kind = Literal["ratio", "odds", "mean", "difference", "quantile", "count", "stock"]
# The kinds that have a sample, below whose least size a number is not to be relied on.
SAMPLED: Final[tuple[Kind, ...]] = ("ratio", "odds", "mean", "difference", "quantile")
# The kinds with a 95 % interval; a mean only if it has `squares`.
BOUNDED: Final[tuple[Kind, ...]] = ("ratio", "mean", "difference", "quantile")


class Metric(NamedTuple):
    """One metric: a function of counters.

    id: the name rules use. gauge: the Prometheus name.
    kind: `ratio` = k / n with a Wilson 95 % interval; `odds` = k / n without bound; `mean` = sum / n divided by `scale` (`squares` gives
    its standard error); `difference` = (k - `minus`) / n times `scale`, with the standard error of a difference of two shares of one
    sample, as of NPS; `quantile` of a histogram, whose buckets are the numerator's counters with the upper bounds `edges` (the last bucket
    has none), interpolated within a bucket, with the interval of order statistics; `count` = sum in the window divided by `scale`;
    `stock` = sum for ever.
    squares: the counters of the sum of squares, one of which is worth `squares_unit` squares of the numerator's unit.
    sample: what the sample is counted by, if not by the denominator, as of a weighted mean. at_once: an event that counts in the sample
    counts in the numerator then, or never, so that the events of a low rate can be told.
    source: the row of the domain catalogue first, then where the definition comes from, [H] if it is ours.
    unit: of the value. formula: in words.
    """

    id: str
    gauge: str
    kind: Kind
    numerator: tuple[Counter, ...]
    denominator: tuple[Counter, ...]
    formula: str
    leading: bool
    source: str
    squares: Counter | tuple[Counter, ...] | None = None
    scale: int = 1
    version: int = 1
    unit: str = ""
    minus: tuple[Counter, ...] = ()
    edges: tuple[float, ...] = ()
    quantile: float = 0.0
    squares_unit: int = 1
    sample: Counter | None = None
    at_once: bool = False

    @property
    def row(self) -> str:
        """The row of the domain catalogue, e.g. B2."""
        return self.source.partition(" ")[0].rstrip(";,")

    @property
    def squares_counters(self) -> tuple[Counter, ...]:
        """The counters that add up to the sum of squares."""
        if self.squares is None:
            return ()
        return self.squares if isinstance(self.squares, tuple) else (self.squares,)

    @property
    def title(self) -> str:
        """For people."""
        words = self.id.replace("_", " ")
        return words[0].upper() + words[1:]


def counters_of(metric: Metric) -> tuple[Counter, ...]:
    """Every counter the metric is a function of."""
    sample = () if metric.sample is None else (metric.sample,)
    return tuple(dict.fromkeys((*metric.numerator, *metric.minus, *metric.denominator, *metric.squares_counters, *sample)))


def shared_dimensions(metric: Metric) -> frozenset[str]:
    """The dimensions that all its counters have: by these it can be broken down."""
    return frozenset.intersection(*(frozenset(DIMENSIONS_OF[counter]) for counter in counters_of(metric)))
