"""Who was told? Alerts by what they say, and how they went on."""

from __future__ import annotations

from grafana.src import common
from grafana.src.common import GREEN, GREY, RED, YELLOW, colored
from grafana.src.frame import Row

TRANSITIONS = {"firing": colored(RED), "amended": colored(YELLOW), "resolved": colored(GREEN), "retracted": colored(GREY)}
WRITTEN = 'streamer_alerts_written_total{job=~"$job"}'


def row() -> Row:
    """Row 500."""
    return Row(
        500,
        "Who was told?",
        [
            common.timeseries(
                501,
                "Alerts per minute",
                "Transitions committed to Kafka: firing, amended (other numbers), resolved (it ended), retracted (should not have fired).",
                common.queries((f"60 * sum by (transition) (rate({WRITTEN}[$__rate_interval]))", "{{transition}}")),
                unit="short",
                decimals=1,
                width=12,
                overrides=TRANSITIONS,
            ),
        ],
    )
