"""Who was told? Alerts by rule and severity, and how they went on."""

from __future__ import annotations

from grafana.src import common
from grafana.src.common import GREEN, GREY, RED, YELLOW, colored
from grafana.src.frame import Row
from streamer.metrics.exporter import RULE_ACCOUNTS, RULE_STATE

TRANSITIONS = {"firing": colored(RED), "amended": colored(YELLOW), "resolved": colored(GREEN), "retracted": colored(GREY)}
JOB = 'job=~"$job"'
WRITTEN = f'streamer_alerts_written_total{{{JOB}, transition="firing"}}'


def row() -> Row:
    """Row 500."""
    fired = f'sum by (rule, severity) (streamer_rule_alerts_total{{{JOB}, transition="firing"}})'
    of_drafts = f'sum by (rule) (streamer_rule_drafts_total{{{JOB}, transition="firing"}})'
    drafts = f'label_replace({of_drafts}, "severity", "draft", "", "")'
    states = f"sum by (rule, severity, state) ({RULE_STATE}{{{JOB}}})"
    accounts = f"sum by (rule, severity, state) ({RULE_ACCOUNTS}{{{JOB}}})"
    return Row(
        500,
        "Who was told?",
        [
            common.timeseries(
                501,
                "Alerts per minute",
                "Transitions committed to Kafka: firing, amended (other numbers), resolved (it ended), retracted (should not have fired).",
                common.queries(
                    (f"60 * sum by (transition) (rate(streamer_alerts_written_total{{{JOB}}}[$__rate_interval]))", "{{transition}}")
                ),
                unit="short",
                decimals=1,
                width=8,
                overrides=TRANSITIONS,
            ),
            common.bars(
                503,
                "Fired, by rule",
                "Alerts fired by each rule since the workers started. A rule appears with its first alert; drafts tell nobody.",
                common.queries((f"sort_desc({fired} or {drafts})", "{{rule}} ({{severity}})"), (f"sum({WRITTEN})", "all")),
                unit="short",
                decimals=0,
                width=6,
            ),
            common.timeseries(
                502,
                "Aggregate rules",
                "On how many slices, or accounts, each aggregate rule is in which state. Insufficient is neither ok nor firing;"
                " pending waits its `for`.",
                common.queries((states, "{{rule}} ({{severity}}): {{state}}"), (accounts, "{{rule}} ({{severity}}): {{state}}")),
                unit="short",
                decimals=0,
                width=10,
                overrides={
                    "/: firing$/": colored(RED),
                    "/: pending$/": colored(YELLOW),
                    "/: ok$/": colored(GREEN),
                    "/: insufficient$/": colored(GREY),
                },
            ),
        ],
    )
