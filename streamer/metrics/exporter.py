"""Business gauges (`cx_*`) for Prometheus, read from the rollup at each scrape.

All names and labels are declared here, in `exported_names`; dashboards and rules are checked against it. Labels are the
catalogue's bounded dimensions, never a customer, account, order, session or case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, get_args

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from streamer.metrics.catalogue import LIFETIME, METRICS
from streamer.metrics.chapters.surveys import RESPONSE_RATE_LOW
from streamer.metrics.counters import DIMENSIONS
from streamer.metrics.metric import BOUNDED, SAMPLED, Kind, Metric
from streamer.metrics.readings import STATES, Gauge, Readable

# Of the dimensions those that have a value. To PromQL a label that is empty is none, and Prometheus keeps none such; to write sixteen for
# each sample, of which two or three say something, took two thirds of a scrape.
METRIC_LABELS: Final = ("slice", "window", "metric_version", *DIMENSIONS)
RULE_LABELS: Final = ("rule", "severity", "state", "slice", *DIMENSIONS)

# Suffix -> (kinds of metric that have it, what it is).
_SUFFIXES: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "": (get_args(Kind), ""),
    "_lower": (BOUNDED, "; lower 95 % bound"),
    "_upper": (BOUNDED, "; upper 95 % bound"),
    "_sample_size": (SAMPLED, "; sample size"),
    "_insufficient": (SAMPLED, "; 1 while the sample is too small to be shown without reserve"),
}

SOURCE_HIGH: Final = "cx_source_high_timestamp_seconds"
SOURCE_CLOCK: Final = "cx_source_clock_timestamp_seconds"
SOURCE_SILENCE: Final = "cx_source_silence_seconds"
ROLLUP_CLOCK: Final = "cx_rollup_clock_timestamp_seconds"
ROLLUP_PARTIAL: Final = "cx_rollup_partial"
ROLLUP_HELD: Final = "cx_rollup_held_deltas"
LABEL_OVERFLOW: Final = "cx_label_overflow_total"
SURVEYS_LOW_CONFIDENCE: Final = "cx_surveys_low_confidence"
RULE_STATE: Final = "cx_rule_state"
RULE_ACCOUNTS: Final = "cx_rule_accounts"

# Name -> (help, labels) of what is no metric of the catalogue.
OTHERS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    SOURCE_HIGH: ("Greatest event time of a source partition, Unix time.", ("source_partition",)),
    SOURCE_CLOCK: ("Clock of a source partition, Unix time.", ("source_partition",)),
    SOURCE_SILENCE: (
        "For how long no source partition has had a newer event; absence counted meanwhile may be a producer's outage.",
        ("rollup_partition",),
    ),
    ROLLUP_CLOCK: ("Everything before is in the gauges, Unix time.", ("rollup_partition",)),
    ROLLUP_PARTIAL: ("1 while a source partition is left out because too much waited for it.", ("rollup_partition",)),
    ROLLUP_HELD: ("Counter changes that wait for slower source partitions.", ("rollup_partition",)),
    LABEL_OVERFLOW: ("Counter changes that went to the label value other, by dimension or slice.", ("rollup_partition", "dimension")),
    SURVEYS_LOW_CONFIDENCE: (
        f"1 if fewer than {RESPONSE_RATE_LOW:.0%} of the longest window's survey invitations were answered; absent while few were sent.",
        ("slice", *DIMENSIONS),
    ),
    RULE_STATE: ("State of an aggregate rule on a series: 1 for the state it is in.", RULE_LABELS),
    RULE_ACCOUNTS: (
        "Accounts that a rule on accounts has in a state; which ones, only its alerts say.",
        ("rollup_partition", "rule", "severity", "state"),
    ),
}


def exported_names() -> dict[str, tuple[str, ...]]:
    """Every time series name this collector can give, with its labels."""
    names = {metric.gauge + suffix: METRIC_LABELS for metric in METRICS for suffix in suffixes_of(metric)}
    return names | {name: labels for name, (_, labels) in OTHERS.items()}


def suffixes_of(metric: Metric) -> list[str]:
    """What is exported beside the gauge itself."""
    bounded = metric.kind != "mean" or metric.squares is not None
    return [suffix for suffix, (kinds, _) in _SUFFIXES.items() if metric.kind in kinds and (bounded or suffix not in ("_lower", "_upper"))]


class BusinessCollector(Collector):
    """Reads the rollup partitions that `readers` gives. Scrape it from the thread that folds them."""

    def __init__(self, readers: Callable[[], Iterable[Readable]]) -> None:
        self._readers = readers

    def describe(self) -> Iterable[Family]:
        """Nothing to check names against at registration: reading would need a processor."""
        return []

    def collect(self) -> Iterator[Family]:
        """All families that have samples."""
        families: dict[str, Family] = {}
        for metric in METRICS:
            for suffix in suffixes_of(metric):
                name = metric.gauge + suffix
                families[name] = Family(name, f"{metric.formula} ({metric.source}){_SUFFIXES[suffix][1]}", "gauge")
        for name, (text, _) in OTHERS.items():
            families[name] = Family(name.removesuffix("_total"), text, "counter" if name.endswith("_total") else "gauge")
        readers = list(self._readers())
        for name, labels, value in _sources(readers):
            families[name].samples.append(Sample(name, labels, value, None, None))
        for reader in readers:
            response_rates = []
            for gauge in reader.gauges():
                _add_gauge(families, gauge)
                if gauge.metric.id == "survey_response_rate":
                    response_rates.append(gauge)
            for name, labels, value in (*_confidence(response_rates), *_others(reader)):
                families[name].samples.append(Sample(name, labels, value, None, None))
        return (family for family in families.values() if family.samples)


def _add_gauge(families: dict[str, Family], gauge: Gauge) -> None:
    metric = gauge.metric
    labels = _labels(gauge.by, gauge.values)
    labels["window"] = gauge.window
    labels["metric_version"] = str(metric.version)
    name = metric.gauge
    if gauge.value is not None:
        families[name].samples.append(Sample(name, labels, gauge.value, None, None))
    if gauge.lower is not None and gauge.upper is not None:
        families[name + "_lower"].samples.append(Sample(name + "_lower", labels, gauge.lower, None, None))
        families[name + "_upper"].samples.append(Sample(name + "_upper", labels, gauge.upper, None, None))
    if metric.kind in SAMPLED:
        families[name + "_sample_size"].samples.append(Sample(name + "_sample_size", labels, gauge.n, None, None))
        families[name + "_insufficient"].samples.append(Sample(name + "_insufficient", labels, 0 if gauge.sufficient else 1, None, None))


def _confidence(response_rates: Sequence[Gauge]) -> Iterator[tuple[str, dict[str, str], float]]:
    """Of each series by its longest window: answers take days to come, so that in a short one few ever have."""
    longest: dict[tuple[tuple[str, ...], tuple[str, ...]], Gauge] = {}
    # All windows end now: a longer one has all the invitations of a shorter one, and where it has no more, it has the same.
    for rate in sorted((rate for rate in response_rates if rate.window != LIFETIME), key=lambda rate: rate.n):
        longest[rate.by, rate.values] = rate
    for rate in longest.values():
        if rate.value is not None and rate.sufficient:
            yield SURVEYS_LOW_CONFIDENCE, _labels(rate.by, rate.values), float(rate.value < RESPONSE_RATE_LOW)


def _sources(readers: Iterable[Readable]) -> Iterator[tuple[str, dict[str, str], float]]:
    """How far each source partition is; every rollup partition hears of all of them, one earlier than the other."""
    high_ms: dict[int, int] = {}
    clock_ms: dict[int, int] = {}
    for reader in readers:
        for source in reader.sources():
            high_ms[source.source] = max(source.high_ms, high_ms.get(source.source, source.high_ms))
            clock_ms[source.source] = max(source.clock_ms, clock_ms.get(source.source, source.clock_ms))
    for number in sorted(high_ms):
        labels = {"source_partition": str(number)}
        yield SOURCE_HIGH, labels, high_ms[number] / 1000
        yield SOURCE_CLOCK, labels, clock_ms[number] / 1000


def _others(reader: Readable) -> Iterator[tuple[str, dict[str, str], float]]:
    mine = {"rollup_partition": str(reader.partition)}
    heard = [source.clock_ms - source.high_ms for source in reader.sources() if source.high_ms >= 0]
    if heard:
        yield SOURCE_SILENCE, mine, max(0, min(heard)) / 1000
    if reader.clock_ms:
        yield ROLLUP_CLOCK, mine, reader.clock_ms / 1000
    yield ROLLUP_PARTIAL, mine, float(reader.partial)
    yield ROLLUP_HELD, mine, reader.held_entries
    for dimension, count in sorted(reader.label_overflow.items()):
        yield LABEL_OVERFLOW, {**mine, "dimension": dimension}, count
    for rule in reader.rule_states():
        labels = {**_labels(rule.by, rule.values), "rule": rule.rule, "severity": rule.severity}
        for state in STATES:
            yield RULE_STATE, {**labels, "state": state}, float(state == rule.status)
    for reading in reader.account_states():
        yield RULE_ACCOUNTS, {**mine, "rule": reading.rule, "severity": reading.severity, "state": reading.status}, reading.accounts


def _labels(by: tuple[str, ...], values: tuple[str, ...]) -> dict[str, str]:
    return {"slice": ",".join(by) or "all", **{name: value for name, value in zip(by, values, strict=True) if value}}
