"""What was counted beside what was recounted: per counter and metric, equal, different, or not verified and why."""

from __future__ import annotations

import math
from collections import Counter as Tally
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from streamer.alerts.times import rfc3339
from streamer.deltas import PANE_MS
from streamer.metrics.catalogue import METRIC_BY_ID, METRICS
from streamer.metrics.counters import ACCOUNT, FIRST_CHAPTERS, Counter
from streamer.verify.limits import TOO_LATE, why_cut, why_cut_of_rules
from streamer.verify.recount import Place, Recount, Sample, Series
from streamer.verify.rules import Holding, Spell, obstacle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from streamer.definitions import Definitions
    from streamer.verify.counted import Counted, Told
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
    """Every entity rule: the signals of each firing and amendment, and of each entity when it fires and when that ends.

    in_order: the events arrived in the order of their times. Otherwise what was said in between, and taken back, cannot be recounted
    from the log as it is at last: compared is for whom the rule fires in the end.
    """
    verdicts = []
    for rule in definitions.rule:
        if rule.entity is None:
            continue
        if rule.id not in recounted.holdings:
            verdicts += unverified([rule.id], obstacle(rule))
            continue
        mine, theirs = counted.spells.get(rule.id, ()), recounted.spells[rule.id]
        if in_order:
            told = [one for one in counted.told if one.rule == rule.id]
            moments = _moments(told, recounted.holdings[rule.id], theirs, recounted.refusing)
            rows = [*moments, *_spells(mine, theirs, recounted.refusing)]
        else:
            rows = list(_in_force(mine, theirs, recounted.refusing))
        rows = [row for row in rows if within.holds(row[0][1].time_ms)]
        verdicts.append(_verdict(rule.id, rows, _told_rule, most, why_cut_of_rules(counted)))
    return verdicts


_Moment = tuple[str, Holding]  # what it is about, and of whom and when
_Answer = dict[str, Any] | None


def _moments(
    told: Sequence[Told], holding: Sequence[Holding], spells: Sequence[Spell], refusing: frozenset[str]
) -> Iterator[tuple[_Moment, _Answer, _Answer]]:
    """Each alert's signals, and those of the recount at the same moment of the same entity. What was held back until then tells what has
    held since before. Who refused and consents again is told of at any moment since, be it one at which nothing changes.
    """
    known: dict[tuple[Any, ...], list[Holding]] = {}
    for one in holding:
        known.setdefault(one[:3], []).append(one)
    held_back = {one[:4] for one in spells if one.held_back}
    for transition in told:
        mine = transition.holding
        theirs = [one for one in known.get(mine[:3], ()) if one.time_ms == mine.time_ms and one.looked_at]
        if transition.state == "firing" and mine[:4] in held_back:
            now = 2 * mine.time_ms
            theirs = [one for one in known.get(mine[:3], ()) if one.looked_at and one.since == now][:1] or [
                one for one in known.get(mine[:3], ()) if one.since <= now < one.until
            ]
        elif mine.key in refusing:
            theirs = [one for one in known.get(mine[:3], ()) if one.since <= 2 * mine.time_ms + 1 and one.until >= 2 * mine.time_ms]
        equal = any(_same_signals(mine.signals, other.signals) for other in theirs)
        yield (transition.state, mine), mine.signals, mine.signals if equal else theirs[-1].signals if theirs else None


def _spells(told: Sequence[Spell], held: Sequence[Spell], refusing: frozenset[str]) -> Iterator[tuple[_Moment, _Answer, _Answer]]:
    """Each firing must be one of the recount, and end when that does, with the same signals; where its entity ended, with those last told.
    Not of who refuses: then it waits.
    """
    mine, theirs = _numbered(told), _numbered(held)
    for at in sorted({*mine, *theirs}):
        key, journey, name, time_ms, _ = at
        if key not in refusing:
            ours, other = mine.get(at), theirs.get(at)
            yield ("spell", Holding(key, journey, name, time_ms, {})), _ending(ours, ours), _ending(other, ours)


def _in_force(told: Sequence[Spell], held: Sequence[Spell], refusing: frozenset[str]) -> Iterator[tuple[_Moment, _Answer, _Answer]]:
    """For whom the rule fires at the end of the log, each with the recount's begin if it has one. Not of who refuses: then it waits."""
    mine, theirs = ({one[:3]: one.time_ms for one in some if one.until_ms is None} for some in (told, held))
    for entity, time_ms in sorted({**mine, **theirs}.items()):
        if entity[0] not in refusing:
            fires: _Answer = {"fires": True}
            yield ("in force", Holding(*entity, time_ms, {})), fires if entity in mine else None, fires if entity in theirs else None


def _numbered(spells: Iterable[Spell]) -> dict[tuple[str, str, str, int, int], Spell]:
    """By entity, begin, and number, because several may begin and end at one moment."""
    seen: Tally[tuple[Any, ...]] = Tally()
    found = {}
    for one in spells:
        seen[one[:4]] += 1
        found[one.key, one.journey, one.name, one.time_ms, seen[one[:4]]] = one
    return found


def _ending(spell: Spell | None, counted: Spell | None) -> _Answer:
    """When it ends, and with which signals: of what equals the processors' theirs, so that the order of additions makes no difference."""
    if spell is None or spell.until_ms is None:
        return spell and {"until": None}
    signals = spell.signals
    if counted is not None and signals is None:
        signals = counted.told
    if counted is not None and counted.signals is not None and signals is not None and _same_signals(counted.signals, signals):
        signals = counted.signals
    return {"until": rfc3339(spell.until_ms), "signals": signals}


def _same_signals(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    return mine.keys() == theirs.keys() and all(
        math.isclose(a, b, rel_tol=1e-9)
        if isinstance(a := mine[name], float) and isinstance(b := theirs[name], (int, float))
        else a == theirs[name]
        for name in mine
    )


def _told_rule(moment: _Moment, mine: _Answer, theirs: _Answer) -> dict[str, Any]:
    about, one = moment
    entity = {"customer": one.key, **({"journey": one.journey} if one.journey else {}), **({"id": one.name} if one.name else {})}
    return {"about": about, "time": rfc3339(one.time_ms), "entity": entity, "counted": mine, "recounted": theirs}


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
