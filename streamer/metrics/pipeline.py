"""The metrics of one process, bound to a registry: what the engine, the publisher and the supervisor call.

The families are in `families.py`; business metrics (`cx_*`) in `catalogue.py`. Counters count what this process did since it
started. No metric object is touched by other modules: they call the verbs below.

Example, in the engine:
    metrics = Pipeline("journeys")
    part = metrics.open_partition(3, processor.accounting)
    part.account(processor.accounting)
    part.checkpointed(duration_seconds=0.02, size_bytes=4096)
    part.close()
"""

from __future__ import annotations

import platform
from collections import Counter as Tally
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from streamer import __version__, topics
from streamer.metrics.families import CONSUMED, FAMILIES, OUTCOMES, TRANSITIONS, Family
from streamer.touchpoints.touchpoint import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from streamer.processor import Output

# More values than this of one open-ended label become `other`; they come from code, so it only guards against a mistake.
LABEL_VALUES_MAX: Final = 50
OTHER: Final = "other"
# Prefixes of accounting keys: what a limit cut, dead letters by reason, and `draft:<transition>:<rule>`. Keys of no such kind are notes,
# except these.
CUT: Final = "cut_"
REASON: Final = "dead_"
DRAFT: Final = "draft:"
CUTS: Final = frozenset({"label_overflow", "left_out_sources", "unknown_counters"})
ALERT_TOPICS: Final = frozenset({topics.ALERTS, topics.AGGREGATE_ALERTS})
# Known label values exist from the start, at 0: otherwise the first failure is no increase.
_CHECKPOINTS: Final = ("streamer_checkpoints_total", "outcome", ("committed", "failed", "fenced"))
_RELOADS: Final = ("streamer_config_reloads_total", "outcome", ("accepted", "rejected"))
_WRITTEN: Final = ("streamer_alerts_written_total", "transition", TRANSITIONS)
_RULE_GAUGES: Final = (
    "streamer_rule_outcomes", "streamer_rule_precision_ratio", "streamer_rule_saved_ratio", "streamer_rule_noisy",
    "streamer_alert_acknowledge_seconds",
)  # fmt: skip
_DEAD: Final = ("streamer_dead_letters_total", "reason", tuple(reason.value for reason in Reason))
_MOVED: Final = ("streamer_rebalances_total", "streamer_fenced_reopenings_total")  # of no label but the role
_KNOWN: Final = {
    "journeys": (_CHECKPOINTS, _RELOADS, _WRITTEN, _DEAD),
    "rollup": (_CHECKPOINTS, _RELOADS, _WRITTEN),
    "publisher": (
        ("streamer_alerts_delivered_total", "outcome", ("delivered", "held", "skipped", "failed")),
        ("streamer_redis_commands_total", "outcome", ("ok", "error")),
        ("streamer_redis_refusals_total", "reason", ("unreachable", "loading", "busy", "oom", "readonly")),
    ),
}


class _Rule(msgspec.Struct, frozen=True):
    id: str = OTHER


class _Counted(msgspec.Struct, frozen=True):
    """What is counted of an alert record."""

    state: str
    severity: str = OTHER
    rule: _Rule = _Rule()


_decode_counted: Final = msgspec.json.Decoder(_Counted).decode


class Pipeline:
    """The metrics of one process of one role, bound to a registry. Label children are bound once; updates are cheap."""

    def __init__(self, role: str, registry: CollectorRegistry | None = None) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series per counter, and nobody reads it
        self.role = role
        self.registry = registry or CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, CPU, start time, open files
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for family in FAMILIES:
            self._declare(family)
        self._values_seen: dict[str, set[str]] = {}
        self._owned = 0
        self.partitions: dict[int, PartitionMetrics] = {}
        self._definitions: tuple[str, str] | None = None
        self.gauge("streamer_build_info", version=__version__, python=platform.python_version()).set(1)
        for name, label, values in _KNOWN.get(role, ()):
            self._values_seen.setdefault(label, set()).update(values)
            for value in values:
                self.counter(name, **{label: value})
        for name in _MOVED if role in _KNOWN else ():
            self.counter(name)

    def _declare(self, family: Family) -> None:
        if family.kind == "counter":
            self._counters[family.name] = Counter(family.name, family.help, family.labels, registry=self.registry)
        elif family.kind == "gauge":
            self._gauges[family.name] = Gauge(family.name, family.help, family.labels, registry=self.registry)
        else:
            self._histograms[family.name] = Histogram(
                family.name, family.help, family.labels, buckets=family.buckets, registry=self.registry
            )

    def counter(self, name: str, **labels: str) -> Counter:
        """The counter of these labels; `role` is this process's unless given. Exists from then on, at 0."""
        return self._counters[name].labels(**{"role": self.role, **labels})

    def gauge(self, name: str, **labels: str) -> Gauge:
        """The gauge of these labels; `role` is this process's unless given."""
        return self._gauges[name].labels(**{"role": self.role, **labels})

    def histogram(self, name: str, **labels: str) -> Histogram:
        """The histogram of these labels; `role` is this process's unless given."""
        return self._histograms[name].labels(**{"role": self.role, **labels})

    def forget(self, name: str, **labels: str) -> None:
        """Stop exporting a gauge of these labels: it belongs to another process now."""
        family = self._gauges[name]
        values = {"role": self.role, **labels}
        family.remove(*(values[label] for label in _LABELS[name]))

    def bounded(self, label: str, value: str) -> str:
        """`value`, or `other` when the label has had `LABEL_VALUES_MAX` different ones; the overflow is counted."""
        seen = self._values_seen.setdefault(label, set())
        if value in seen:
            return value
        if len(seen) >= LABEL_VALUES_MAX:
            self.counter("streamer_label_overflow_total", label=label).inc()
            return OTHER
        seen.add(value)
        return value

    # -- liveness and configuration

    def heartbeat(self, *, lag_seconds: float = 0.0) -> None:
        """The event loop turned; `lag_seconds`: how late."""
        self.gauge("streamer_heartbeat_timestamp_seconds").set_to_current_time()
        self.gauge("streamer_event_loop_lag_seconds").set(lag_seconds)

    def reloaded(self, outcome: Literal["accepted", "rejected"], *, revision: int, digest: str) -> None:
        """Definitions were loaded; `revision` and `digest` are of those now in force."""
        self.counter("streamer_config_reloads_total", outcome=outcome).inc()
        self.gauge("streamer_definitions_reload_failed").set(outcome == "rejected")
        if outcome == "accepted":
            self.gauge("streamer_config_last_reload_success_timestamp_seconds").set_to_current_time()
        if self._definitions is not None:
            self.forget("streamer_definitions_info", revision=self._definitions[0], digest=self._definitions[1])
        self._definitions = (str(revision), digest)
        self.gauge("streamer_definitions_info", revision=str(revision), digest=digest).set(1)

    def reload_settled(self) -> None:
        """The definitions file is again what is in force."""
        self.gauge("streamer_definitions_reload_failed").set(0)

    # -- events and checkpoints

    def open_partition(self, partition: int, accounting: Mapping[str, int]) -> PartitionMetrics:
        """The metrics of a partition this process now owns; `accounting` is the restored processor's."""
        self.partitions[partition] = PartitionMetrics(self, partition, accounting)
        return self.partitions[partition]

    def owned(self, change: int) -> None:
        """Own `change` more partitions."""
        self._owned += change
        self.gauge("streamer_partitions_owned").set(self._owned)

    def folded(self, duration_seconds: float) -> None:
        """One fetched batch was folded."""
        self.histogram("streamer_batch_duration_seconds").observe(duration_seconds)

    def checkpoint_failed(self, outcome: Literal["failed", "fenced"]) -> None:
        """A checkpoint was not committed."""
        self.counter("streamer_checkpoints_total", outcome=outcome).inc()

    def reopened_after_fencing(self) -> None:
        """A partition was opened again after another owner fenced this one."""
        self.counter("streamer_fenced_reopenings_total").inc()

    def rebalanced(self, duration_seconds: float) -> None:
        """A rebalance ended with all partitions open."""
        self.counter("streamer_rebalances_total").inc()
        self.histogram("streamer_rebalance_duration_seconds").observe(duration_seconds)

    def active_set_rebuilt(self) -> None:
        """One partition's part of the active set was put back into Redis."""
        self.counter("streamer_active_set_rebuilds_total").inc()

    def restored(self, *, duration_seconds: float, rows: int) -> None:
        """One partition's state was read back."""
        self.histogram("streamer_state_restore_duration_seconds").observe(duration_seconds)
        self.counter("streamer_state_restored_rows_total").inc(rows)

    def data_lost(self, records: int) -> None:
        """Retention deleted so many records before they were read, and a setting said to go on."""
        self.counter("streamer_limit_cuts_total", partition="", limit="retention").inc(records)

    def dead_letter(self, reason: str, count: int = 1) -> None:
        """`count` records were sent to the dead letters with this reason code."""
        self.counter("streamer_dead_letters_total", reason=self.bounded("reason", reason)).inc(count)

    def alert_written(self, transition: str, count: int = 1, *, rule: str = OTHER, severity: str = OTHER) -> None:
        """`count` alert transitions were committed to Kafka; rule ids come from the definitions, a bounded set."""
        transition = self.bounded("transition", transition)
        self.counter("streamer_alerts_written_total", transition=transition).inc(count)
        labels = {"rule": rule, "severity": self.bounded("severity", severity), "transition": transition}
        self.counter("streamer_rule_alerts_total", **labels).inc(count)

    # -- publisher

    def delivered(self, outcome: Literal["delivered", "held", "skipped", "failed"], count: int = 1) -> None:
        """Alert records reached Redis, were there already, or were refused."""
        self.counter("streamer_alerts_delivered_total", outcome=outcome).inc(count)

    def alerts_readable(self, latencies_seconds: Iterable[float]) -> None:
        """Alerts became readable in Redis so long after their causes were appended to Kafka."""
        histogram = self.histogram("streamer_alert_latency_seconds")
        for latency_seconds in latencies_seconds:
            histogram.observe(latency_seconds)

    def published(self, duration_seconds: float) -> None:
        """One delivery to Redis ended."""
        self.histogram("streamer_publish_duration_seconds").observe(duration_seconds)

    def publish_lag(self, topic: str, partition: int, records: int) -> None:
        """Alerts of a partition in Kafka that are not in Redis yet; `topic` is the logical name."""
        self.gauge("streamer_publish_lag_records", topic=topic, partition=str(partition)).set(records)

    def redis_command(self, outcome: Literal["ok", "error"], count: int = 1) -> None:
        """Commands sent to Redis."""
        self.counter("streamer_redis_commands_total", outcome=outcome).inc(count)

    def redis_refused(self, reason: str) -> None:
        """A command that Redis did not carry out; one of `connection.REFUSALS`."""
        self.counter("streamer_redis_refusals_total", reason=reason).inc()

    def group(self, group: str, *, unread: int, pending: int, lost: int) -> None:
        """How far a consumer group of the alert stream is; lost: entries removed unread since the last look."""
        group = self.bounded("group", group)
        self.gauge("streamer_alert_group_lag_records", group=group).set(unread)
        self.gauge("streamer_alert_group_pending_records", group=group).set(pending)
        self.counter("streamer_alert_stream_trimmed_unread_total", group=group).inc(lost)

    def forget_groups(self, groups: Iterable[str]) -> None:
        """These groups are gone, or another process tells of them."""
        for group in groups:
            self.forget("streamer_alert_group_lag_records", group=group)
            self.forget("streamer_alert_group_pending_records", group=group)

    def rule_outcomes(
        self,
        rule: str,
        *,
        outcomes: Mapping[str, int],
        precision: float | None,
        saved: float | None,
        noisy: bool,
        seconds_to_acknowledge: Mapping[float, float],
    ) -> None:
        """What became of a rule's alerts, see `streamer.alerts.verdicts`; a share that cannot be told is not exported.

        Each rule of the file has gauges of its own, however many it has: the last of those that share them would speak for all.
        """
        for outcome, count in outcomes.items():
            self.gauge("streamer_rule_outcomes", rule=rule, outcome=outcome).set(count)
        for name, share in (("streamer_rule_precision_ratio", precision), ("streamer_rule_saved_ratio", saved)):
            if share is None:
                self.forget(name, rule=rule)
            else:
                self.gauge(name, rule=rule).set(share)
        self.gauge("streamer_rule_noisy", rule=rule).set(noisy)
        for quantile, seconds in seconds_to_acknowledge.items():
            self.gauge("streamer_alert_acknowledge_seconds", rule=rule, quantile=f"{quantile:g}").set(seconds)

    def forget_rules(self, rules: Iterable[str]) -> None:
        """Nothing is known of these rules' alerts any more, or another process tells it."""
        for rule in rules:
            for name in _RULE_GAUGES:
                self._gauges[name].remove_by_labels({"role": self.role, "rule": rule})

    # -- forwarder

    def sink_outcome(self, sink: str, outcome: str, count: int = 1) -> None:
        """What became of alerts at a sink: one of `SINK_OUTCOMES`. Sinks are named in a file, a bounded set."""
        self.counter("streamer_sink_deliveries_total", sink=sink, outcome=outcome).inc(count)

    def sink_took(self, sink: str, duration_seconds: float) -> None:
        """A sink took an alert."""
        self.histogram("streamer_sink_delivery_duration_seconds", sink=sink).observe(duration_seconds)

    def sink_lag(self, sink: str, records: int) -> None:
        """Alerts a sink has not taken yet."""
        self.gauge("streamer_sink_lag_records", sink=sink).set(records)


_LABELS: Final = {family.name: family.labels for family in FAMILIES}


class PartitionMetrics:
    """The metrics of one owned partition; the engine keeps it beside the processor and closes it with it."""

    def __init__(self, pipeline: Pipeline, partition: int, accounting: Mapping[str, int]) -> None:
        self._pipeline = pipeline
        self._partition = str(partition)
        self._seen = dict(accounting)
        self._reasons: Tally[str] = Tally()
        self._alerts: Tally[_Counted] = Tally()
        self._counters = {CONSUMED: pipeline.counter("streamer_events_consumed_total", partition=self._partition)}
        for outcome in OUTCOMES:
            self._counters[outcome] = pipeline.counter("streamer_events_total", partition=self._partition, outcome=outcome)
        self._gauges: dict[tuple[str, tuple[tuple[str, str], ...]], Gauge] = {}
        self._committed = pipeline.counter("streamer_checkpoints_total", outcome="committed")
        self._sizes = pipeline.histogram("streamer_checkpoint_size_bytes")
        self._durations = pipeline.histogram("streamer_checkpoint_duration_seconds")
        for outcome in (CONSUMED, *OUTCOMES):
            self._gauge("streamer_accounted_events", outcome=outcome).set(accounting.get(outcome, 0))
        self._gauge("streamer_checkpoint_timestamp_seconds").set_to_current_time()  # its age counts from here
        self._open = True
        pipeline.owned(1)

    def _gauge(self, name: str, **labels: str) -> Gauge:
        """Bound on first use: an instant nobody has set yet must not read as 1970."""
        key = (name, tuple(labels.items()))
        gauge = self._gauges.get(key)
        if gauge is None:
            gauge = self._gauges[key] = self._pipeline.gauge(name, partition=self._partition, **labels)
        return gauge

    def account(self, accounting: Mapping[str, int]) -> None:
        """Take over the processor's accounting; call it after each commit, with the numbers that were committed."""
        for name, total in accounting.items():
            counter = self._counters.get(name)
            if counter is None:
                if name.startswith(REASON):
                    continue  # counted with the outputs
                counter = self._counters[name] = self._other(name)
            counter.inc(max(0, total - self._seen.get(name, 0)))
            self._seen[name] = total
            if name == CONSUMED or name in OUTCOMES:
                self._gauge("streamer_accounted_events", outcome=name).set(total)

    def _other(self, name: str) -> Counter:
        if name.startswith(CUT) or name in CUTS:
            limit = self._pipeline.bounded("limit", name.removeprefix(CUT))
            return self._pipeline.counter("streamer_limit_cuts_total", partition=self._partition, limit=limit)
        if name.startswith(DRAFT):
            transition, _, rule = name.removeprefix(DRAFT).partition(":")
            return self._pipeline.counter("streamer_rule_drafts_total", partition=self._partition, rule=rule, transition=transition)
        return self._pipeline.counter("streamer_notes_total", partition=self._partition, note=self._pipeline.bounded("note", name))

    def drained(self, outputs: Iterable[Output]) -> None:
        """What the checkpoint that begins now will write; counted by `checkpointed`, so that only what is committed counts."""
        self._reasons.clear()
        self._alerts.clear()
        for output in outputs:
            if output.topic == topics.DEAD_LETTERS:
                self._reasons[next((value.decode() for key, value in output.headers if key == "reason"), OTHER)] += 1
            elif output.topic in ALERT_TOPICS and output.value is not None:
                self._alerts[_decode_counted(output.value)] += 1

    def times(self, *, high_ms: int, watermark_ms: int, clock_ms: int) -> None:
        """The fold's times, milliseconds since the epoch."""
        self._gauge("streamer_high_timestamp_seconds").set(high_ms / 1000)
        self._gauge("streamer_watermark_timestamp_seconds").set(watermark_ms / 1000)
        self._gauge("streamer_clock_timestamp_seconds").set(clock_ms / 1000)

    def lag(self, records: int) -> None:
        """Records behind the end of the source."""
        self._gauge("streamer_source_lag_records").set(records)

    def silence(self, seconds: float) -> None:
        """Time since the record arrived that brought the greatest event time: long too while a backlog is worked off."""
        self._gauge("streamer_source_silence_seconds").set(seconds)

    def entries(self, rows: int) -> None:
        """Rows of state held."""
        self._gauge("streamer_state_entries").set(rows)

    def checkpointed(self, *, duration_seconds: float, size_bytes: int) -> None:
        """A checkpoint was committed just now."""
        self._committed.inc()
        for reason, count in self._reasons.items():
            self._pipeline.dead_letter(reason, count)
        for alert, count in self._alerts.items():
            self._pipeline.alert_written(alert.state, count, rule=alert.rule.id, severity=alert.severity)
        self._reasons.clear()
        self._alerts.clear()
        self._durations.observe(duration_seconds)
        self._sizes.observe(size_bytes)
        self._gauge("streamer_checkpoint_timestamp_seconds").set_to_current_time()

    def close(self) -> None:
        """The partition has another owner: stop exporting its gauges. Counters stay, they are this process's work."""
        for name, labels in self._gauges:
            self._pipeline.forget(name, partition=self._partition, **dict(labels))
        self._gauges.clear()
        if self._open:
            self._open = False
            self._pipeline.owned(-1)
        if self._pipeline.partitions.get(int(self._partition)) is self:
            del self._pipeline.partitions[int(self._partition)]
