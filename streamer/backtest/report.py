"""What a backtest says: one JSON object, and the same for people."""

from __future__ import annotations

from collections import Counter as Tally
from statistics import median
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streamer.alerts.times import rfc3339
from streamer.backtest import labels as labelled
from streamer.backtest.diff import differences

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamer.backtest.diff import Difference
    from streamer.backtest.firings import Firing, Span
    from streamer.backtest.labels import Labels, Precision
    from streamer.backtest.runs import Version

STATES: Final = ("firing", "amended", "resolved", "retracted")


class Log(NamedTuple):
    """What was folded. source: a file's or topic's name; begin_ms, end_ms: of its events, None if there are none."""

    source: str
    records: int
    begin_ms: int | None
    end_ms: int | None
    notes: Sequence[str] = ()


def summary(log: Log, span: Span, versions: Sequence[Version], labels: Labels | None) -> dict[str, Any]:
    """Everything, as JSON has it; the same input gives the same bytes."""
    here = versions[0]
    marks = {} if labels is None else labelled.judged(here.firings, labels)
    told: dict[str, Any] = {
        "log": {
            "source": log.source, "records": log.records, "begin": _time(log.begin_ms), "end": _time(log.end_ms), "notes": list(log.notes),
        },
        "range": {"from": _time(span.from_ms), "to": _time(span.to_ms)},
        "definitions": _revision(here),
        "in_force_before": here.before,
        "rules": [_rule(here, rule.id, marks.get(rule.id)) for rule in here.definitions.rule],
        "days": days(here.firings),
        "firings": [_firing(firing, labels) for firing in here.firings],
    }  # fmt: skip
    if labels is not None:
        told["incidents"] = [_incident(incident, here.firings) for incident in labels.incidents]
        told["outcomes"] = {
            "labelled": len(labels.outcomes),
            "matched": sum(labelled.outcome_of(firing, labels) is not None for firing in here.firings),
        }
    if len(versions) > 1:
        there = versions[1]
        found = differences(here.all_firings, there.all_firings, span)
        told["against"] = {"definitions": _revision(there), "rules": [_difference(difference) for difference in found]}
    return told


def days(firings: Sequence[Firing]) -> list[dict[str, Any]]:
    """Firings by day in UTC and rule; days without any are left out."""
    by_day: dict[str, Tally[str]] = {}
    for firing in firings:
        by_day.setdefault(rfc3339(firing.start_ms)[:10], Tally())[firing.rule] += 1
    return [{"day": day, "firings": sum(rules.values()), "by_rule": dict(sorted(rules.items()))} for day, rules in sorted(by_day.items())]


def _revision(version: Version) -> dict[str, Any]:
    return {"revision": version.definitions.revision, "digest": version.definitions.digest}


def _rule(version: Version, rule: str, mark: Precision | None) -> dict[str, Any]:
    states = Tally(alert.state for alert in version.alerts if alert.rule.id == rule)
    mine = [firing for firing in version.firings if firing.rule == rule]
    per_day = Tally(rfc3339(firing.start_ms)[:10] for firing in mine)
    row: dict[str, Any] = {
        "rule": rule,
        **{state: states.get(state, 0) for state in STATES},
        "firings": len(mine),
        "subjects": len({firing.fingerprint for firing in mine}),
        "lasting": sum(firing.end_ms is None for firing in mine),
        "busiest_day": max(sorted(per_day), key=per_day.__getitem__, default=None),
        "busiest_day_firings": max(per_day.values(), default=0),
    }
    if mark is not None:
        row["precision"] = {"right": mark.right, "judged": mark.judged, "share": mark.share}
        row["lead_seconds_median"] = _median_seconds(mark.lead_ms)
        row["seconds_before_outcome_median"] = _median_seconds(mark.before_ms)
    return row


def _firing(firing: Firing, labels: Labels | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "time": rfc3339(firing.start_ms),
        "told": rfc3339(firing.told_ms),
        "end": _time(firing.end_ms),
        "ended": firing.ended,
        "rule": firing.rule,
        "severity": firing.severity,
        "about": dict(firing.about),
        "why": firing.why,
        "fingerprint": firing.fingerprint,
        "episode_id": firing.episode_id,
        "alert_id": firing.transitions[0],
    }
    if labels is not None:
        if labelled.is_judged(firing, labels):
            row["incidents"] = [incident.name for incident in labels.incidents if incident.explains(firing)]
        outcome = labelled.outcome_of(firing, labels)
        if outcome is not None:
            row["outcome"] = outcome.result
    return row


def _incident(incident: labelled.Incident, firings: Sequence[Firing]) -> dict[str, Any]:
    rules = [
        {
            "rule": row["rule"],
            "firings": row["firings"],
            "first": rfc3339(row["first_ms"]),
            "lead_seconds": row["lead_ms"] / 1000,
            "by": row["by"],
        }
        for row in labelled.told_of(incident, firings)
    ]
    return {
        "incident": incident.name,
        "start": rfc3339(incident.start_ms),
        "end": rfc3339(incident.end_ms),
        "slice": dict(incident.slice),
        "rules": rules,
    }


def _difference(difference: Difference) -> dict[str, Any]:
    def one(firing: Firing) -> dict[str, Any]:
        return {"time": rfc3339(firing.start_ms), "about": dict(firing.about), "fingerprint": firing.fingerprint, "why": firing.why}

    return {
        "rule": difference.rule,
        "same": difference.same,
        "only_here": [one(firing) for firing in difference.only_here],
        "only_there": [one(firing) for firing in difference.only_there],
        "moved": [
            {**one(here), "there": rfc3339(there.start_ms), "later_seconds": (here.start_ms - there.start_ms) / 1000}
            for here, there in difference.moved
        ],
    }


def _median_seconds(times_ms: Sequence[int]) -> float | None:
    return median(times_ms) / 1000 if times_ms else None


def _time(time_ms: int | None) -> str | None:
    return None if time_ms is None else rfc3339(time_ms)


def about_text(about: Mapping[str, str]) -> str:
    """Whom a firing is about, for people; everything without a break-down."""
    return " ".join(f"{name}={value}" for name, value in about.items()) or "everything"
