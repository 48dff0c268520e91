"""What a replay says: one JSON object, or tables for people."""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING, Any

from rich.table import Table

from streamer.alerts.times import rfc3339
from streamer.metrics.counters import Counter

if TYPE_CHECKING:
    from rich.console import Console

    from streamer.definitions import Definitions
    from streamer.metrics.readings import Gauge
    from streamer.replay.history import History
    from streamer.replay.pipeline import Result


def summary(history: History, definitions: Definitions, result: Result) -> dict[str, Any]:
    """Input, accounting, counters, metrics and alerts as JSON. Metrics without a sample are left out."""
    rules: dict[str, Tally[str]] = {}
    for transition in result.alerts:
        rules.setdefault(transition.rule.id, Tally())[transition.state] += 1
    reasons = Tally(f"{output.topic}: {dict(output.headers)['reason'].decode()}" for output in result.put_aside)
    totals = result.totals
    return {
        "rows": history.rows,
        "unmapped_rows": history.unmapped,
        "events": len(history.events),
        "begin": rfc3339(history.begin_ms),
        "end": rfc3339(history.end_ms),
        "clock": rfc3339(result.clock_ms),
        "definitions": {"revision": definitions.revision, "digest": definitions.digest},
        "accounting": dict(result.accounting),
        "put_aside": dict(sorted(reasons.items())),
        "counters": {counter.name: total for counter in Counter if (total := totals[counter])},
        "metrics": [_metric(gauge) for gauge in result.gauges if gauge.n],
        "alerts": {"transitions": len(result.alerts), "by_rule": {rule: dict(states) for rule, states in sorted(rules.items())}},
    }


def _metric(gauge: Gauge) -> dict[str, Any]:
    return {
        "metric": gauge.metric.id,
        "gauge": gauge.metric.gauge,
        "slice": dict(zip(gauge.by, gauge.values, strict=True)),
        "window": gauge.window,
        "value": gauge.value,
        "lower": gauge.lower,
        "upper": gauge.upper,
        "k": gauge.k,
        "n": gauge.n,
        "sufficient": gauge.sufficient,
    }


def show(console: Console, report: dict[str, Any]) -> None:
    """The same for people: unsliced metrics, alerts by rule, and what was put aside."""
    accounting = report["accounting"]
    outcomes = ", ".join(f"{accounting[name]} {name.replace('_', ' ')}" for name in ("applied", "duplicate", "late", "dead_lettered"))
    console.print(f"{report['events']} touchpoints of {report['rows']} rows, {report['begin']} to {report['end']}: {outcomes}")
    table = Table("metric", "window", "value", "95 % interval", "k", "n", title="Metrics, over everything")
    for metric in report["metrics"]:
        if not metric["slice"]:
            interval = "" if metric["lower"] is None else f"{metric['lower']:.4g} - {metric['upper']:.4g}"
            value = "" if metric["value"] is None else f"{metric['value']:.4g}"
            table.add_row(metric["metric"], metric["window"], value, interval, str(metric["k"]), str(metric["n"]))
    console.print(table)
    alerts = Table("rule", "firing", "amended", "resolved", "retracted", title="Alert transitions")
    for rule, states in report["alerts"]["by_rule"].items():
        alerts.add_row(rule, *(str(states.get(state, 0)) for state in ("firing", "amended", "resolved", "retracted")))
    console.print(alerts)
    for reason, number in report["put_aside"].items():
        console.print(f"{number} records to {reason}")
