"""Every metric family of the pipeline itself, declared once. `pipeline.py` binds them; dashboards and rules are checked against them.

Base units, enumerable labels only; no customer, order or session id can become a label value. Instants are exported as
timestamps, so that a process that hangs looks old, not fresh.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

ROLES: Final = ("journeys", "rollup", "publisher")
SUPERVISOR: Final = "supervisor"
# Runs beside a worker, see `streamer alerts forward`.
FORWARDER: Final = "forwarder"
# Invariant I5: these add up to `consumed`. Other keys of `Processor.accounting` are sorted out by `Pipeline`.
OUTCOMES: Final = ("applied", "duplicate", "late", "dead_lettered", "ignored")
CONSUMED: Final = "consumed"
SINK_OUTCOMES: Final = ("delivered", "filtered", "failed", "dead", "trimmed")
TRANSITIONS: Final = ("firing", "amended", "resolved", "retracted")
# Beside the families: what prometheus_client's process collector exports of every process, without labels.
PROCESS_NAMES: Final = (
    "process_virtual_memory_bytes", "process_resident_memory_bytes", "process_start_time_seconds",
    "process_cpu_seconds_total", "process_open_fds", "process_max_fds",
)  # fmt: skip
# From a broker round trip to the watchdog's patience.
DURATION_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# Fine around what is promised: p99 of 0.1 s (aim), 0.3 s (bar) and 1 s.
LATENCY_BUCKETS: Final = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
SIZE_BUCKETS: Final = (1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0)


class Family(NamedTuple):
    """One metric family. `name` is as in Prometheus (counters end in `_total`); `buckets` in the family's unit."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()

    @property
    def sample_names(self) -> tuple[str, ...]:
        """The names queries may use."""
        return tuple(f"{self.name}{suffix}" for suffix in ("_bucket", "_sum", "_count")) if self.kind == "histogram" else (self.name,)


_RP: Final = ("role", "partition")
FAMILIES: Final = (
    Family("streamer_build_info", "gauge", "Always 1; the labels say what runs.", ("role", "version", "python")),
    Family(
        "streamer_definitions_info", "gauge", "Always 1; the labels say which definitions are in force.", ("role", "revision", "digest")
    ),
    Family("streamer_heartbeat_timestamp_seconds", "gauge", "When the role's loop last turned, Unix time.", ("role",)),
    Family("streamer_event_loop_lag_seconds", "gauge", "How late the role's event loop last was.", ("role",)),
    # what came in and what became of it
    Family("streamer_events_consumed_total", "counter", "Records read from the source.", _RP),
    Family("streamer_events_total", "counter", "Records by what became of them; adds up to consumed.", (*_RP, "outcome")),
    Family(
        "streamer_accounted_events",
        "gauge",
        "Records by what became of them since the partition began, across restarts, as of the last checkpoint; with `consumed`.",
        (*_RP, "outcome"),
    ),
    Family(
        "streamer_limit_cuts_total", "counter", "What a limit cut; `retention`: records deleted before they were read.", (*_RP, "limit")
    ),
    Family(
        "streamer_notes_total",
        "counter",
        "What the fold noted beside outcomes, e.g. by which id instances were told apart.",
        (*_RP, "note"),
    ),
    Family("streamer_dead_letters_total", "counter", "Records sent to the dead letters.", ("role", "reason")),
    Family("streamer_label_overflow_total", "counter", "Label values counted as `other`.", ("role", "label")),
    Family("streamer_partitions_owned", "gauge", "Partitions this process owns.", ("role",)),
    Family("streamer_source_lag_records", "gauge", "Records behind the end of the source.", _RP),
    Family("streamer_source_silence_seconds", "gauge", "Time since the record arrived that brought the greatest event time.", _RP),
    Family("streamer_high_timestamp_seconds", "gauge", "Greatest event time, Unix time.", _RP),
    Family("streamer_watermark_timestamp_seconds", "gauge", "Events before this are late, Unix time.", _RP),
    Family("streamer_clock_timestamp_seconds", "gauge", "Clock that decides deadlines and ticks, Unix time.", _RP),
    Family("streamer_state_entries", "gauge", "Rows of state held.", _RP),
    Family("streamer_batch_duration_seconds", "histogram", "Time to fold one fetched batch.", ("role",), DURATION_BUCKETS),
    # durability
    Family("streamer_checkpoints_total", "counter", "Checkpoints by outcome: committed, failed, fenced.", ("role", "outcome")),
    Family("streamer_checkpoint_duration_seconds", "histogram", "Begin to commit of a checkpoint.", ("role",), DURATION_BUCKETS),
    Family("streamer_checkpoint_size_bytes", "histogram", "Encoded output of a checkpoint.", ("role",), SIZE_BUCKETS),
    Family("streamer_checkpoint_timestamp_seconds", "gauge", "When the last checkpoint was committed, Unix time.", _RP),
    Family("streamer_fenced_reopenings_total", "counter", "Partitions opened again after another owner fenced this one.", ("role",)),
    Family("streamer_rebalances_total", "counter", "Rebalances of the group.", ("role",)),
    Family("streamer_rebalance_duration_seconds", "histogram", "Revocation to all partitions open.", ("role",), DURATION_BUCKETS),
    Family("streamer_state_restore_duration_seconds", "histogram", "Time to restore one partition.", ("role",), DURATION_BUCKETS),
    Family("streamer_state_restored_rows_total", "counter", "Rows read back from changelogs.", ("role",)),
    # alerts
    Family("streamer_active_set_rebuilds_total", "counter", "Partitions whose active set in Redis was rebuilt from Kafka.", ("role",)),
    Family("streamer_alerts_written_total", "counter", "Alert transitions committed to Kafka.", ("role", "transition")),
    Family(
        "streamer_rule_alerts_total",
        "counter",
        "The same by rule and severity; a rule appears with its first alert.",
        ("role", "rule", "severity", "transition"),
    ),
    Family(
        "streamer_rule_drafts_total",
        "counter",
        "Transitions of draft rules, of which nobody is told; a rule appears with its first one.",
        ("role", "partition", "rule", "transition"),
    ),
    Family(
        "streamer_alerts_delivered_total",
        "counter",
        "Alert records by outcome: delivered, held (by a storm), skipped, failed.",
        ("role", "outcome"),
    ),
    Family("streamer_alert_latency_seconds", "histogram", "Cause appended to Kafka until readable in Redis.", ("role",), LATENCY_BUCKETS),
    Family("streamer_publish_duration_seconds", "histogram", "One delivery to Redis.", ("role",), DURATION_BUCKETS),
    Family("streamer_publish_lag_records", "gauge", "Alerts in Kafka not yet in Redis.", ("role", "topic", "partition")),
    Family("streamer_redis_commands_total", "counter", "Commands to Redis by outcome: ok, error.", ("role", "outcome")),
    Family(
        "streamer_redis_refusals_total", "counter", "Commands that Redis did not carry out, by why: oom, readonly, ...", ("role", "reason")
    ),
    # who reads them
    Family("streamer_alert_group_lag_records", "gauge", "Alerts in the stream that a consumer group has not read.", ("role", "group")),
    Family(
        "streamer_alert_group_pending_records", "gauge", "Alerts that a consumer group has read and not acknowledged.", ("role", "group")
    ),
    Family(
        "streamer_alert_stream_trimmed_unread_total",
        "counter",
        "Alerts that the stream's bounds removed before a consumer group had read them.",
        ("role", "group"),
    ),
    Family(
        "streamer_sink_deliveries_total",
        "counter",
        "Alerts for a sink: delivered, filtered, dead (given up), trimmed (removed before it took them), and failed attempts.",
        ("role", "sink", "outcome"),
    ),
    Family("streamer_sink_delivery_duration_seconds", "histogram", "One alert taken by a sink.", ("role", "sink"), DURATION_BUCKETS),
    Family("streamer_sink_lag_records", "gauge", "Alerts that a sink has not taken yet.", ("role", "sink")),
    # what became of them
    Family(
        "streamer_rule_outcomes",
        "gauge",
        "Acknowledged alerts that are kept, by outcome: saved, lost, false-alarm, none.",
        ("role", "rule", "outcome"),
    ),
    Family("streamer_rule_precision_ratio", "gauge", "(saved + lost) / judged, of a rule's latest 50 judged alerts.", ("role", "rule")),
    Family("streamer_rule_saved_ratio", "gauge", "saved / (saved + lost), of a rule's latest 50 judged alerts.", ("role", "rule")),
    Family("streamer_rule_noisy", "gauge", "1 if 50 alerts are judged and precision is below 0.2.", ("role", "rule")),
    Family(
        "streamer_alert_acknowledge_seconds",
        "gauge",
        "Firing until acknowledged, quantiles of a rule's latest 50 acknowledged alerts.",
        ("role", "rule", "quantile"),
    ),
    # configuration and supervision
    Family("streamer_config_reloads_total", "counter", "Attempts to load definitions: accepted, rejected.", ("role", "outcome")),
    Family("streamer_config_last_reload_success_timestamp_seconds", "gauge", "When definitions were last accepted, Unix time.", ("role",)),
    Family(
        "streamer_definitions_reload_failed",
        "gauge",
        "1 while the definitions file cannot be used as it is: the last good one stays in force.",
        ("role",),
    ),
    Family("streamer_child_restarts_total", "counter", "Times the supervisor started a dead role again.", ("role",)),
    Family("streamer_child_up", "gauge", "1 while the role's process runs.", ("role",)),
)
