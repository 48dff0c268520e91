"""D2: were the alerts right, and early? Each rule's alerts against what became of the same customers: `foresight.py`.

Alerts are the product's own, folded over the same history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamer.analysis import pictures
from streamer.analysis.foresight import NOISY_BELOW, NOISY_FROM, Judged, Question, base_rate, judge
from streamer.analysis.history import DAY_MS, Measure
from streamer.analysis.report import Report, Table, between, counted, percent
from streamer.errors import InputError
from streamer.replay.pipeline import arrivals_of, run_history
from streamer.touchpoints.times import milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from streamer.analysis.history import Log
    from streamer.replay.history import History

# Alerts that a rule takes to be called the best. [H]
RANKED_FROM: Final = 10

# What may come of it, and how it is said: a query of (customer, when).
OUTCOMES: Final = {
    "detractor": "an NPS answer ({scope}) of 6 or less",
    "abandoned": "a journey abandoned for good",
    "lapsed": "no order for {lapse} days after one",
}
# Of (customer, when).
QUERIES: Final = {
    "detractor": "SELECT key, t FROM answers WHERE instrument = 'nps' AND scope = $scope AND band = 0",
    "abandoned": """
        SELECT key, fallen
        FROM (
            SELECT key, event, changes.t AS fallen, sum(n) AS n
            FROM changes JOIN events USING (event) WHERE counter = 'ABANDONED' GROUP BY ALL
        )
        WHERE n > 0
    """,
    # When the last order before the lapse was.
    "lapsed": """
        SELECT key, t
        FROM (SELECT key, t, lead(t) OVER (PARTITION BY key ORDER BY t) AS next FROM spent WHERE is_order)
        WHERE coalesce(next > t + $lapse, true) AND t + $lapse <= $end
    """,
}

_FIRST_SEEN: Final = "SELECT key, min(t) FROM events GROUP BY key"
_ORDERED: Final = "SELECT key, t FROM spent WHERE is_order"

Times = dict[str, list[int]]  # by customer, ascending


def analyse(log: Log, history: History, outcome: str, *, scope: str, days: int, lapse_days: int) -> Report:
    """The entity rules of the definitions against an outcome. Raises InputError if there is nothing to judge."""
    words = OUTCOMES[outcome].format(lapse=lapse_days, scope=scope)
    lapse_ms = lapse_days * DAY_MS if outcome == "lapsed" else None
    parameters = {"detractor": {"scope": scope}, "lapsed": {"lapse": lapse_ms, "end": log.end_ms}}
    found = _by_customer(log.rows(QUERIES[outcome], parameters.get(outcome)))
    if not found:
        raise InputError(f"the outcome {outcome!r} ({words}) never comes in this file: there is nothing to foresee")
    alerts = _alerts(log, history)
    if not alerts:
        raise InputError("the definitions have no rule on a customer, a journey or an issue")
    seen = _by_customer(log.rows(_FIRST_SEEN if lapse_ms is None else _ORDERED))
    question = Question(found, seen, days * DAY_MS, log.begin_ms, log.end_ms, lapse_ms)
    rules = [judge(rule, times, question) for rule, times in sorted(alerts.items())]
    rules.sort(key=lambda one: (-_lower(one), one.rule))
    base = base_rate(question)
    notes = [
        *_means(words, days, lapse_days if lapse_ms is not None else None),
        f"Noisy: right in less than {percent(NOISY_BELOW)} of {NOISY_FROM} alerts or more.",
        "An alert that was acted on may have prevented its outcome, and then counts as wrong.",
        "Rules on metrics are not judged: they are about nobody in particular.",
    ]
    if outcome == "detractor":
        notes += log.off_scale(Measure("nps", scope))
    headline = _headline(rules, outcome, base)
    return Report(
        headline,
        [_table(rules, base, days)],
        notes,
        {
            "outcome": outcome, "scope": scope, "days": days, "base_rate": base, "definitions": {"revision": log.definitions.revision},
            "rules": [one._asdict() for one in rules], "notes": notes,
        },
        lambda figure: _draw(figure, rules, base, headline, days, words),
    )  # fmt: skip


def _by_customer(rows: Sequence[tuple[str, int]]) -> Times:
    found: Times = {}
    for key, time in rows:
        found.setdefault(key, []).append(time)
    return {key: sorted(times) for key, times in found.items()}


def _alerts(log: Log, history: History) -> dict[str, Times]:
    """Firings by rule and customer."""
    result = run_history(arrivals_of(history), log.definitions, partitions=1, begin_ms=history.begin_ms, end_ms=None, build="analyze")
    fired: dict[str, list[tuple[str, int]]] = {rule.id: [] for rule in log.definitions.rule if rule.entity}
    for alert in result.alerts:
        if alert.entity is not None and alert.entity.canonical_id and alert.state == "firing":
            fired[alert.rule.id].append((alert.entity.canonical_id, milliseconds(alert.event_time)))
    return {rule: _by_customer(rows) for rule, rows in fired.items()}


def _means(words: str, days: int, lapse_days: int | None) -> list[str]:
    if lapse_days is None:
        return [
            f"The outcome: {words}, within {days} days after the alert; alerts less than {days} days before the end are not judged.",
            f"Recall: of outcomes {days} days or more from both ends. Base rate: of customers seen before, every {days} days.",
        ]
    return [
        f"The outcome: {words}. Judged are alerts of customers who ordered in the {lapse_days} days before, and so long before the end.",
        f"Recall: of lapses with {days} days after the last order in which alerts are judged. Lead: from that order, so below 0.",
    ]


def _lower(one: Judged) -> float:
    """What rules are ranked by: they cannot all be seen equally often."""
    return one.precision_interval[0] if one.precision_interval and one.alerts >= RANKED_FROM else -1.0


def _headline(rules: Sequence[Judged], outcome: str, base: float | None) -> str:
    noisy = [one.rule for one in rules if one.noisy]
    also = f"; {counted(len(noisy), 'rule is', 'rules are')} noisy: {', '.join(noisy)}" if noisy else ""
    best = next((one for one in rules if _lower(one) >= 0), None)
    if best is None or base is None:
        return f"No rule has {RANKED_FROM} alerts that could be judged against {outcome}{also}"
    if _lower(best) <= base:
        return f"No rule is surely better at {outcome} than the base rate of {percent(base)}{also}"
    return f"{best.rule} foretells {outcome} best: right in {percent(best.precision or 0, 0)} of {counted(best.alerts, 'alert')}{also}"


def _table(rules: Sequence[Judged], base: float | None, days: int) -> Table:
    rows = []
    for one in rules:
        precision = "-" if one.precision is None else percent(one.precision)
        recall = "-" if one.recall is None else percent(one.recall)
        lift = "-" if not base or one.precision is None else f"{one.precision / base:.1f}"
        lead = "-" if one.lead_hours is None else f"{one.lead_hours:,.1f}"
        name = f"{one.rule} (noisy)" if one.noisy else one.rule
        rows.append([name, f"{one.alerts:,} of {one.customers:,}", precision, _interval(one.precision_interval), lift, recall, lead])
    return Table(
        f"Alerts against what came after, by a horizon of {days} days" + ("" if base is None else f"; base rate {percent(base)}"),
        ["Rule", "Alerts of customers", "Precision", "95 %", "Lift", "Recall", "Lead, h"],
        rows,
    )


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else between(100 * interval[0], 100 * interval[1], 1)


def _draw(figure: Figure, rules: Sequence[Judged], base: float | None, headline: str, days: int, words: str) -> None:
    pictures.rows(figure, len(rules))
    left, right = figure.subplots(1, 2, sharey=True)
    shown = list(rules)[::-1]
    for ax, title, part in ((left, "Precision: alerts that were right", "precision"), (right, "Recall: outcomes foreseen", "recall")):
        for row, one in enumerate(shown):
            value, interval = (one.precision, one.precision_interval) if part == "precision" else (one.recall, one.recall_interval)
            if value is None or interval is None or not one.alerts:
                ax.annotate("no alerts to judge", (50, row), color=pictures.MUTED, va="center", ha="center", fontsize=9)
                continue
            colour = pictures.RED if one.noisy and part == "precision" else pictures.BLUE
            ax.plot([100 * interval[0], 100 * interval[1]], [row, row], color=colour, linewidth=6, alpha=0.3, solid_capstyle="round")
            ax.plot([100 * value], [row], "o", color=colour, markersize=9)
            count = one.alerts if part == "precision" else one.outcomes
            # Beside the interval, on the side that has room.
            at, shift = (interval[1], 10) if value < 0.6 else (interval[0], -10)
            ax.annotate(
                f"{percent(value, 0)} of {count:,}", (100 * at, row), xytext=(shift, 0), textcoords="offset points", va="center",
                ha="left" if shift > 0 else "right", fontsize=9,
            )  # fmt: skip
        ax.set_title(title, loc="left")
        ax.set_xlim(-6, 106)
        ax.grid(axis="x")
        ax.grid(visible=False, axis="y")
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
    left.set_yticks(range(len(shown)), [one.rule for one in shown], color=pictures.INK)
    left.set_ylim(-0.6, len(shown) - 0.3)
    if base is not None:
        left.axvline(100 * base, color=pictures.MUTED, linewidth=1, linestyle=(0, (4, 3)))
        left.annotate(
            f"base rate {percent(base, 0)}",
            (100 * base, -0.52),
            xytext=(4, 0),
            textcoords="offset points",
            color=pictures.MUTED,
            fontsize=8.5,
        )
    pictures.frame(figure, headline, f"Outcome: {words}; horizon {days} days. Bars: 95 % interval, by customer. Red: noisy.")
