"""What the rollup reads out for the exporter: values only, no names of Prometheus.

Times are milliseconds since the epoch, values are in the unit of their metric.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple, Protocol, get_args

from streamer.metrics.metric import Metric

Status = Literal["insufficient", "ok", "pending", "firing"]
STATES: Final[tuple[Status, ...]] = get_args(Status)

# Below this sample a number is shown together with its sample size and marked as insufficient (domain catalogue, section 3).
SHOW_MINIMUM = 10


class Gauge(NamedTuple):
    """One metric of one series in one window.

    by: the slice's dimensions; values: theirs; window: as written in the definitions, or `lifetime`. value is None while the
    sample is empty. lower, upper: 95 % interval, None where the kind of metric has none. k, n: numerator and sample size.
    sufficient: n is at least `SHOW_MINIMUM`. partial: a source that holds everybody up is left out at the moment.
    """

    metric: Metric
    by: tuple[str, ...]
    values: tuple[str, ...]
    window: str
    value: float | None
    lower: float | None
    upper: float | None
    k: int
    n: int
    sufficient: bool
    partial: bool


class SourceReading(NamedTuple):
    """How far one source partition is: its greatest event time and its clock."""

    source: int
    high_ms: int
    clock_ms: int
    left_out: bool


class RuleReading(NamedTuple):
    """The state of one aggregate rule on one series."""

    rule: str
    severity: str
    by: tuple[str, ...]
    values: tuple[str, ...]
    status: Status


class AccountsReading(NamedTuple):
    """How many accounts a rule on accounts has in a state. Which ones, no metric says: they are customer data."""

    rule: str
    severity: str
    status: Status
    accounts: int


class Readable(Protocol):
    """What the exporter reads; the rollup's processor satisfies it. Call from the thread that folds."""

    @property
    def partition(self) -> int:
        """The rollup partition."""

    @property
    def clock_ms(self) -> int:
        """Until when everything is decided; 0 before all sources have been heard."""

    @property
    def held_entries(self) -> int:
        """Delta entries that wait for slower sources."""

    @property
    def partial(self) -> bool:
        """Whether a source is left out at the moment."""

    @property
    def label_overflow(self) -> Mapping[str, int]:
        """Delta entries that went to `other`, by dimension (or by slice, where the limit of its series cut)."""

    def gauges(self) -> Iterator[Gauge]:
        """Every metric of every series in every window; none of an account."""

    def sources(self) -> Iterator[SourceReading]:
        """Freshness of every source heard."""

    def rule_states(self) -> Iterator[RuleReading]:
        """State of every aggregate rule on every series it applies to; without rules on accounts."""

    def account_states(self) -> Iterator[AccountsReading]:
        """Of every rule on accounts, in how many of them it is in each state."""
