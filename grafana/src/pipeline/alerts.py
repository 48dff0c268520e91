"""Do alerts reach their readers?"""

from __future__ import annotations

from grafana.src import common
from grafana.src.common import GREEN, GREY, RED, colored
from grafana.src.frame import Row
from grafana.src.telemetry import quantile, rate, total


def row() -> Row:
    """Row 500."""
    return Row(
        500,
        "Do alerts reach their readers?",
        [
            common.timeseries(
                501,
                "Alert latency",
                "Cause appended to Kafka until the alert is readable in Redis.",
                common.queries(
                    (quantile(0.5, "streamer_alert_latency_seconds"), "p50"),
                    (quantile(0.99, "streamer_alert_latency_seconds"), "p99"),
                ),
                unit="s",
                width=6,
                steps=((None, "transparent"), (1, RED)),
            ),
            common.timeseries(
                502,
                "Publisher lag",
                "Alert records in Kafka that are not in Redis yet. Redis down: they wait here, none is lost.",
                common.queries((total("streamer_publish_lag_records", "topic"), "{{topic}}")),
                unit="short",
                width=6,
            ),
            common.timeseries(
                503,
                "Written and delivered per second",
                "Transitions committed to Kafka, and records delivered to Redis. Skipped: already there, seen after a restart.",
                common.queries(
                    (rate("streamer_alerts_written_total", ""), "written"),
                    (rate("streamer_alerts_delivered_total", "outcome"), "{{outcome}}"),
                ),
                unit="ops",
                width=6,
                overrides={"delivered": colored(GREEN), "failed": colored(RED), "skipped": colored(GREY)},
            ),
            common.timeseries(
                504,
                "Redis commands per second and duration",
                "Commands by outcome, the p99 of one delivery, and why Redis refuses: oom is full, readonly a replica.",
                common.queries(
                    (rate("streamer_redis_commands_total", "outcome"), "{{outcome}}"),
                    (quantile(0.99, "streamer_publish_duration_seconds"), "delivery p99"),
                    (rate("streamer_redis_refusals_total", "reason"), "{{reason}}"),
                ),
                unit="ops",
                width=6,
                overrides={
                    "delivery p99": {"unit": "s", "custom.axisPlacement": "right"},
                    "error": colored(RED),
                },
            ),
        ],
    )
