"""What was counted beside what was recounted: per counter and metric, equal, different, or not verified and why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from streamer.alerts.times import rfc3339
from streamer.deltas import PANE_MS
from streamer.metrics.catalogue import METRIC_BY_ID, METRICS
from streamer.metrics.counters import ACCOUNT, FIRST_CHAPTERS, Counter
from streamer.verify import rule_rows
from streamer.verify.limits import TOO_LATE, why_cut, why_cut_of_rules
from streamer.verify.recount import Place, Recount, Sample, Series
from streamer.verify.rules import obstacle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from streamer.definitions import Definitions
    from streamer.verify.counted import Counted
    from streamer.verify.ranges import Range

K = TypeVar("K")
V = TypeVar("V")
Status = Literal["equal", "different", "not verified"]


class Verdict(NamedTuple):
    """One counter or metric. differences: the first ones, as JSON."""

    name: str
    status: Status
    reason: str
    compared: int
    equal: int
    differences: list[dict[str, Any]]

    @property
    def mismatches(self) -> int:
        """What counts as a mismatch; what is not verified does not."""
        return self.compared - self.equal if self.status == "different" else 0


def unverified(names: Iterable[str], reason: str) -> list[Verdict]:
    """What there is nothing to compare with."""
    return [Verdict(name, "not verified", reason, 0, 0, []) for name in names]


def records(mine: Mapping[str, int], theirs: Mapping[str, int], cut: Mapping[str, int]) -> Verdict:
    """What became of the records: applied, duplicate, late, dead letters by reason. cut: by limit, how often it cut."""
    rows = [(name, mine.get(name, 0), theirs.get(name, 0)) for name in sorted({*mine, *theirs})]
    excuse = TOO_LATE.format(cut["cut_events"]) if cut.get("cut_events") else ""
    return _verdict("records", rows, lambda name, a, b: {"outcome": name, "counted": a, "recounted": b}, len(rows), excuse)


def counters(counted: Counted, recounted: Recount, within: Range, most: int) -> list[Verdict]:
    """Every counter of the core, and of chapters what was counted, by cell and pane. most: how many differences to name."""
    rows: dict[str, list[tuple[Place, int, int]]] = {counter.name: [] for counter in Counter if counter < FIRST_CHAPTERS}
    for place in sorted({*counted.sums, *recounted.sums}, key=lambda place: (place[2], place[0], place[1])):
        if within.holds(place[2] * PANE_MS):
            rows.setdefault(place[0], []).append((place, counted.sums.get(place, 0), recounted.sums.get(place, 0)))

    def told(place: Place, mine: int, theirs: int) -> dict[str, Any]:
        cell = {name: value for name, value in zip(recounted.dimensions, place[1], strict=True) if value}
        return {"pane": rfc3339(place[2] * PANE_MS), "cell": cell, "counted": mine, "recounted": theirs}

    return [_verdict(name, rows[name], told, most, why_cut(name, counted, recounted)) for name in rows]


def metrics(counted: Counted, recounted: Recount, definitions: Definitions, within: Range, most: int) -> list[Verdict]:
    """Every metric that is on, in every slice and window: as of the end of the log, or of the range both sides were asked for.

    within: windows that reach back before its begin are left out.
    """
    wanted = [metric for metric in METRICS if definitions.has(metric)]
    rows: dict[str, list[tuple[Series, Sample, Sample]]] = {metric.id: [] for metric in wanted}
    nothing = Sample(0, 0, None, None, None)
    for series in sorted({*counted.metrics, *recounted.metrics}):
        if not within.reaches_back(series[3]) or METRIC_BY_ID[series[0]].kind == "stock":
            rows.setdefault(series[0], []).append((series, counted.metrics.get(series, nothing), recounted.metrics.get(series, nothing)))

    def told(series: Series, mine: Sample, theirs: Sample) -> dict[str, Any]:
        named = {"slice": dict(zip(series[1], series[2], strict=True)), "window": series[3]}
        return {**named, "counted": mine._asdict(), "recounted": theirs._asdict()}

    full = _full(recounted, definitions.limits.label_values)
    verdicts = []
    for metric in wanted:
        parts = [*metric.numerator, *metric.minus, *metric.denominator, *metric.squares_counters]
        reasons = [reason for counter in parts if (reason := why_cut(counter.name, counted, recounted))]
        if full:
            reasons.append(f"more values of {', '.join(full)} than limits.label_values: the rest is counted as `other`")
        verdicts.append(_verdict(metric.id, rows[metric.id], told, most, reasons[0] if reasons else "", _near))
    return verdicts


def rules(counted: Counted, recounted: Recount, definitions: Definitions, within: Range, most: int, *, in_order: bool) -> list[Verdict]:
    """Every entity rule: the signals of each firing and amendment, and of each entity when it fires, when that ends and what was told last.

    in_order: the events arrived in the order of their times. Otherwise what was said in between, and taken back, cannot be recounted
    from the log as it is at last: compared is for whom the rule fires in the end and what was told of them last, and that who was told of
    otherwise last is one for whom it fired.
    """
    verdicts = []
    for rule in definitions.rule:
        if rule.entity is None:
            continue
        if rule.id not in recounted.holdings:
            verdicts += unverified([rule.id], obstacle(rule))
            continue
        of_rule = rule_rows.OfRule(rule, counted, recounted)
        rows = [row for row in (of_rule.in_order() if in_order else of_rule.at_last()) if within.holds(row[0][1].time_ms)]
        verdicts.append(_verdict(rule.id, rows, rule_rows.told, most, why_cut_of_rules(counted)))
    return verdicts


def _verdict(
    name: str, rows: Iterable[tuple[K, V, V]], told: Callable[[K, V, V], dict[str, Any]], most: int, excuse: str,
    same: Callable[[V, V], bool] = lambda mine, theirs: mine == theirs,
) -> Verdict:  # fmt: skip
    rows = list(rows)
    different = [row for row in rows if not same(row[1], row[2])]
    status: Status = "equal" if not different else "not verified" if excuse else "different"
    reason = excuse if different else ""
    return Verdict(name, status, reason, len(rows), len(rows) - len(different), [told(*row) for row in different[:most]])


def _near(mine: Sample, theirs: Sample) -> bool:
    """Integers exactly; what is computed of them to 9 digits, because the order of additions is nobody's promise."""
    pairs = zip(mine[2:], theirs[2:], strict=True)
    return mine[:2] == theirs[:2] and all(
        a == b or (a is not None and b is not None and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)) for a, b in pairs
    )


def _full(recounted: Recount, most: int) -> list[str]:
    values: dict[str, set[str]] = {name: set() for name in recounted.dimensions}
    for _, cell, _ in recounted.sums:
        for name, value in zip(recounted.dimensions, cell, strict=True):
            values[name].add(value)
    return [name for name, found in values.items() if name != ACCOUNT and len(found - {""}) > most]
