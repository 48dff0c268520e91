"""Who reads the alerts, and what becomes of them?"""

from __future__ import annotations

from grafana.src import common
from grafana.src.common import GREEN, GREY, RED, YELLOW, colored
from grafana.src.frame import Panels, Row
from grafana.src.telemetry import quantile, rate, total

UNUSED = "no data: no consumer group reads the stream"
UNFORWARDED = "no data: nothing is forwarded (streamer alerts forward)"
UNJUDGED = "no data: nobody has said what became of alerts (streamer alerts ack)"

SINKS = {
    "/ delivered$/": colored(GREEN),
    "/ filtered$/": colored(GREY),
    "/ failed$/": colored(YELLOW),
    "/ (dead|trimmed)$/": colored(RED),
}


def row() -> Row:
    """Row 700."""
    return Row(700, "Who reads the alerts, and what becomes of them?", [*_groups(), *_sinks(), *_outcomes()])


def _groups() -> Panels:
    return [
        common.timeseries(
            701,
            "Waiting by consumer group",
            "Alerts in the Redis stream that a group has not read, or has read and not acknowledged. Rising: its consumers are too slow.",
            common.queries(
                (total("streamer_alert_group_lag_records", "group"), "{{group}} unread"),
                (total("streamer_alert_group_pending_records", "group"), "{{group}} in hand"),
            ),
            unit="short",
            width=6,
            empty=UNUSED,
        ),
        common.timeseries(
            702,
            "Lost unread by consumer group",
            "Alerts that the stream's bounds removed before a group had read them, since the publisher started. It never gets them.",
            common.queries((total("streamer_alert_stream_trimmed_unread_total", "group"), "{{group}}")),
            unit="short",
            width=6,
            steps=((None, "transparent"), (1, RED)),
            empty=UNUSED,
        ),
    ]


def _sinks() -> Panels:
    return [
        common.timeseries(
            703,
            "Forwarded per second by outcome",
            "What sinks took, did not want, attempts that failed, and alerts that were given up (dead letters).",
            common.queries((rate("streamer_sink_deliveries_total", "sink, outcome"), "{{sink}} {{outcome}}")),
            unit="ops",
            width=6,
            overrides=SINKS,
            empty=UNFORWARDED,
        ),
        common.timeseries(
            704,
            "Waiting by sink, and how long one takes",
            "Alerts a sink has not taken yet, and the p99 of one that was taken.",
            common.queries(
                (total("streamer_sink_lag_records", "sink", how="max"), "{{sink}} waiting"),
                (quantile(0.99, "streamer_sink_delivery_duration_seconds", "sink"), "{{sink}} p99"),
            ),
            unit="short",
            width=6,
            overrides={"/ p99$/": {"unit": "s", "custom.axisPlacement": "right"}},
            empty=UNFORWARDED,
        ),
    ]


def _outcomes() -> Panels:
    return [
        common.timeseries(
            705,
            "Precision by rule",
            "Of a rule's latest 50 judged alerts, the share that was right. Below 20 % over 50 the rule is noisy: nobody looks any more.",
            common.queries((total("streamer_rule_precision_ratio", "rule", how="max"), "{{rule}}")),
            unit="percentunit",
            width=6,
            high=1,
            steps=((None, RED), (0.2, "transparent")),
            empty=UNJUDGED,
        ),
        common.timeseries(
            706,
            "Saved, of those in trouble, by rule",
            "Of a rule's latest 50 judged alerts that were right, the share that could be helped.",
            common.queries((total("streamer_rule_saved_ratio", "rule", how="max"), "{{rule}}")),
            unit="percentunit",
            width=6,
            high=1,
            empty=UNJUDGED,
        ),
        common.timeseries(
            707,
            "Time to acknowledge by rule",
            "From firing to the first word on it, of a rule's latest 50 acknowledged alerts.",
            common.queries((total("streamer_alert_acknowledge_seconds", "rule, quantile", how="max"), "{{rule}} p{{quantile}}")),
            unit="s",
            width=6,
            empty=UNJUDGED,
        ),
        common.timeseries(
            708,
            "Outcomes and noisy rules",
            "Acknowledged alerts that are kept, by outcome, and how many rules are noisy.",
            common.queries(
                (total("streamer_rule_outcomes", "outcome"), "{{outcome}}"),
                (total("streamer_rule_noisy"), "noisy rules"),
            ),
            unit="short",
            width=6,
            overrides={"saved": colored(GREEN), "lost": colored(YELLOW), "false-alarm": colored(RED), "none": colored(GREY)},
            empty=UNJUDGED,
        ),
    ]
