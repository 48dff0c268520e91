"""Are we keeping up? One number per promise."""

from __future__ import annotations

from grafana.src import common
from grafana.src.common import BLUE, GREEN, RED, YELLOW
from grafana.src.frame import Panels, Row
from grafana.src.telemetry import JOURNEYS, age, quantile, rate, select, total
from streamer.metrics.exporter import ROLLUP_CLOCK, ROLLUP_PARTIAL

PURPOSE = """\
**Does every event arrive in time, and is every one accounted for?** Rows follow the data: source → fold → checkpoint → rollup → alerts →
processes. Start with what is red above; a customer-facing number is only as fresh as *Age of the figures*. All calm here and odd
numbers on *Customer experience*? Then it is the customers, or a producer that went silent (*Source silence*).
**Owner:** platform operations · **Runbooks:** `docs/runbooks/` · **How it works:** `docs/explanation/architecture.md`"""


def _promises() -> Panels:
    """What is promised."""
    accounted = select("streamer_accounted_events", 'outcome!="consumed"')
    consumed = select("streamer_accounted_events", 'outcome="consumed"')
    return [
        common.text(101, "How to read this", "What the dashboard is for, how to read it, whom to ask.", PURPOSE, height=4),
        common.stat(
            102,
            "Events",
            "Records read from the source by the journeys role, per second.",
            common.queries((rate("streamer_events_consumed_total", "", JOURNEYS), "events")),
            unit="eps",
            decimals=0,
        ),
        common.stat(
            103,
            "Lag",
            "Records behind the end of the source, all partitions of the journeys role together.",
            common.queries((total("streamer_source_lag_records", matchers=JOURNEYS), "lag")),
            unit="short",
            decimals=0,
            steps=((None, GREEN), (10_000, YELLOW), (100_000, RED)),
        ),
        common.stat(
            104,
            "Age of the figures",
            "Age of the instant before which everything is in the gauges; the slowest source partition decides. "
            "Promised: at most 3 s from event to gauge.",
            common.queries((age(ROLLUP_CLOCK, ""), "age")),
            unit="s",
            decimals=1,
            steps=((None, GREEN), (5, YELLOW), (30, RED)),
        ),
        common.stat(
            105,
            "Alert latency, p99",
            "Cause appended to Kafka until the alert is readable in Redis. Promised: at most 1 s at 1,000 events per second.",
            common.queries((quantile(0.99, "streamer_alert_latency_seconds"), "p99")),
            unit="s",
            decimals=2,
            missing="no alert lately",
            steps=((None, GREEN), (1, YELLOW), (10, RED)),
        ),
        common.stat(
            106,
            "Unaccounted events",
            "Consumed minus (applied + duplicate + late + dead-lettered + ignored), since the partitions began. Not 0: a bug.",
            common.queries((f"sum({consumed}) - sum({accounted})", "unaccounted")),
            unit="short",
            decimals=0,
            steps=((None, RED), (0, GREEN), (1, RED)),
        ),
        common.stat(
            107,
            "Processes down",
            "Roles the supervisor wants up and which are not.",
            common.queries((f"count({select('streamer_child_up')}) - sum({select('streamer_child_up')})", "down")),
            unit="short",
            decimals=0,
            steps=((None, GREEN), (1, RED)),
        ),
    ]


def _waiting() -> Panels:
    """What waits, and what is missing."""
    return [
        common.stat(
            108,
            "Oldest checkpoint",
            "Age of the oldest partition's last checkpoint: what a crash would have to fold again.",
            common.queries((age("streamer_checkpoint_timestamp_seconds", ""), "age")),
            unit="s",
            decimals=1,
            steps=((None, GREEN), (10, YELLOW), (30, RED)),
            width=4,
        ),
        common.stat(
            109,
            "Restarts",
            "Roles started again by the supervisor since it began.",
            common.queries((total("streamer_child_restarts_total"), "restarts")),
            unit="short",
            decimals=0,
            steps=((None, GREEN), (1, YELLOW), (5, RED)),
            width=4,
        ),
        common.stat(
            110,
            "Customers in state",
            "Rows of state held by the journeys role.",
            common.queries((total("streamer_state_entries", matchers=JOURNEYS), "rows")),
            unit="short",
            width=4,
            steps=((None, BLUE),),
        ),
        common.stat(
            111,
            "Alerts not in Redis yet",
            "Alert records in Kafka that the publisher has still to deliver.",
            common.queries((total("streamer_publish_lag_records"), "waiting")),
            unit="short",
            decimals=0,
            steps=((None, GREEN), (100, YELLOW), (10_000, RED)),
            width=4,
        ),
        common.stat(
            112,
            "Dead letters",
            "Records that could not be used, per second. They are kept with their reason: `streamer dead-letters list`.",
            common.queries((rate("streamer_events_total", "", 'role="journeys", outcome="dead_lettered"'), "dead letters")),
            unit="eps",
            decimals=2,
            steps=((None, GREEN), (0.01, YELLOW), (10, RED)),
            width=4,
        ),
        common.stat(
            113,
            "Partial figures",
            "1 while the rollup leaves a dead source partition out: its customers are missing from the gauges.",
            common.queries((total(ROLLUP_PARTIAL, how="max"), "partial")),
            unit="short",
            steps=((None, GREEN), (1, RED)),
            texts={"0": ("complete", GREEN), "1": ("partial", RED)},
            width=4,
        ),
    ]


def row() -> Row:
    """Row 100."""
    return Row(100, "Are we keeping up?", [*_promises(), *_waiting()])
