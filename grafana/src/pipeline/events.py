"""What came in, and what became of it."""

from __future__ import annotations

from grafana.src import common
from grafana.src.common import GREEN, GREY, RED, YELLOW, colored
from grafana.src.frame import Row
from grafana.src.telemetry import JOURNEYS, quantile, rate, total
from streamer.metrics.exporter import LABEL_OVERFLOW

OUTCOMES = {
    "applied": colored(GREEN),
    "duplicate": colored(GREY),
    "ignored": colored("#5794F2"),
    "late": colored(YELLOW),
    "dead_lettered": colored(RED),
}


def row() -> Row:
    """Row 200."""
    return Row(
        200,
        "What came in, and what became of it",
        [
            common.timeseries(
                201,
                "Events per second by outcome",
                "Every record has exactly one outcome; together they are what was consumed.",
                common.queries((rate("streamer_events_total", "outcome", JOURNEYS), "{{outcome}}")),
                unit="eps",
                overrides=OUTCOMES,
            ),
            common.timeseries(
                202,
                "Lag by partition",
                "Records behind the end of the source. Rising on all: too few workers. On one: a hot customer or a stuck owner.",
                common.queries((total("streamer_source_lag_records", "partition", JOURNEYS), "partition {{partition}}")),
                unit="short",
            ),
            common.timeseries(
                203,
                "Dead letters by reason",
                "Per second. A producer's new version shows here first.",
                common.queries(
                    (rate("streamer_dead_letters_total", "reason"), "{{reason}}"),
                    (rate("streamer_events_total", "", 'role="journeys", outcome="dead_lettered"'), "all"),
                ),
                unit="eps",
                overrides={"all": colored(GREY, **{"custom.lineStyle": {"fill": "dash", "dash": [4, 6]}})},
            ),
            common.timeseries(
                204,
                "Source silence by partition",
                "Seconds since the newest record read arrived. All rising without lag: a producer's outage, not mass abandonment.",
                common.queries((total("streamer_source_silence_seconds", "partition", JOURNEYS, how="max"), "partition {{partition}}")),
                unit="s",
            ),
            common.timeseries(
                205,
                "Time to fold a batch",
                "One fetched batch of one partition. The p99 bounds how long an alert can wait behind other events.",
                common.queries(
                    (quantile(0.5, "streamer_batch_duration_seconds", "role"), "{{role}} p50"),
                    (quantile(0.99, "streamer_batch_duration_seconds", "role"), "{{role}} p99"),
                ),
                unit="s",
            ),
            common.timeseries(
                206,
                "Cut by a limit",
                "Per second: events, journeys or label values beyond what is kept per customer or dimension. Lasting: raise the limit.",
                common.queries(
                    (rate("streamer_limit_cuts_total", "limit"), "{{limit}}"),
                    (rate(LABEL_OVERFLOW, "dimension"), "label {{dimension}}"),
                    (f"0 * {rate('streamer_events_consumed_total', '')}", "none"),
                ),
                unit="eps",
                overrides={"none": colored("transparent", **{"custom.hideFrom": {"legend": False, "tooltip": True, "viz": False}})},
            ),
        ],
    )
