"""What was counted beside what was recounted: per counter and metric, equal, different, or not verified and why."""

from __future__ import annotations

import math
from collections import Counter as Tally
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar

from streamer.alerts.times import rfc3339
from streamer.deltas import PANE_MS
from streamer.metrics.catalogue import CHAPTERS, METRICS
from streamer.metrics.counters import ACCOUNT, FIRST_CHAPTERS, Counter
from streamer.metrics.metric import counters_of
from streamer.verify.recount import Place, Recount, Sample, Series
from streamer.verify.rules import Holding, Spell, obstacle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from streamer.definitions import Definitions
    from streamer.verify.counted import Counted, Told

K = TypeVar("K")
V = TypeVar("V")
Status = Literal["equal", "different", "not verified"]

_JOURNEYS: Final = frozenset(c for c in Counter if Counter.STARTED <= c < Counter.CONTACTS)
_ISSUES: Final = frozenset(c for c in Counter if Counter.CONTACTS <= c < Counter.CASES)
_CASES: Final = frozenset(c for c in Counter if Counter.CASES <= c < FIRST_CHAPTERS)
_COMMERCE: Final = frozenset(c for c in Counter if Counter.ORDERS_PLAIN <= c < Counter.SESSIONS_BROWSED)
_LEVELS: Final = frozenset(
    {Counter.LEVEL_ORDERS, Counter.LEVEL_REFERRAL_ORDERS, Counter.LEVEL_PRICE_PREMIUM, Counter.LEVEL_PRICE_REFERENCE}
)
_EFFORT: Final = frozenset(c for c in Counter if Counter.ISSUES_EFFORT_MEDIUM <= c < Counter.CASES or c == Counter.FRICTION_INSTANCES)


def _of_chapter(chapter: str) -> frozenset[Counter]:
    return frozenset(counter for metric in CHAPTERS[chapter] for counter in counters_of(metric))


# What the recount does not know: the limits of docs/reference/journeys.md, and the counters that each can touch.
LIMITS: Final[Mapping[str, frozenset[Counter]]] = {
    "cut_journeys": _JOURNEYS | _of_chapter("steps") | _of_chapter("value"),
    "cut_issues": _ISSUES | {Counter.FRICTION_INSTANCES},
    "cut_cases": _CASES | _EFFORT,
    "cut_orders": _COMMERCE | _LEVELS | {Counter.CUSTOMERS_SLIPPED, Counter.CUSTOMERS_ORDERED, Counter.CUSTOMERS_REPEATED},
    "cut_contracts": _of_chapter("contracts"),
    "cut_refunds": _COMMERCE,
    "cut_offers": frozenset({Counter.UPGRADES_SHOWN, Counter.UPGRADES_ACCEPTED}),
    "cut_sessions": frozenset({Counter.SESSIONS_BROWSED, Counter.SESSIONS_HESITATED}),
    "cut_resolutions": _EFFORT | {Counter.REPEAT_CONTACTS},
    **{f"cut_{chapter}": _of_chapter(chapter) for chapter in ("steps", "handoffs", "communication", "causes")},
    "cut_shipments": frozenset(c for c in Counter if Counter.SHIPMENTS <= c < Counter.PROACTIVE_CONTACTS),
    "cut_messages": frozenset({Counter.INFORMATION_OPENED}),
    "cut_goals": frozenset({Counter.GOALS, Counter.GOALS_PROGRESSED, Counter.GOALS_REACHED}),
}

_TOO_LATE: Final = "{} events left the retained ones early (cut_events), and some came too late for that"


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


class Range(NamedTuple):
    """Only panes that start in it are compared; the whole log is folded on both sides all the same."""

    from_ms: int | None = None
    to_ms: int | None = None

    def holds(self, time_ms: int) -> bool:
        """Whether a time is in it."""
        return (self.from_ms is None or time_ms >= self.from_ms) and (self.to_ms is None or time_ms < self.to_ms)

    @property
    def limited(self) -> bool:
        """Whether it leaves anything out."""
        return self.from_ms is not None or self.to_ms is not None


def unverified(names: Iterable[str], reason: str) -> list[Verdict]:
    """What there is nothing to compare with."""
    return [Verdict(name, "not verified", reason, 0, 0, []) for name in names]


def records(mine: Mapping[str, int], theirs: Mapping[str, int], cut: Mapping[str, int]) -> Verdict:
    """What became of the records: applied, duplicate, late, dead letters by reason. cut: by limit, how often it cut."""
    rows = [(name, mine.get(name, 0), theirs.get(name, 0)) for name in sorted({*mine, *theirs})]
    excuse = _TOO_LATE.format(cut["cut_events"]) if cut.get("cut_events") else ""
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

    return [_verdict(name, rows[name], told, most, _cut(name, counted, recounted)) for name in rows]


def metrics(counted: Counted, recounted: Recount, definitions: Definitions, within: Range, most: int) -> list[Verdict]:
    """Every metric that is on, in every slice and window, as of the end of the log."""
    wanted = [metric for metric in METRICS if definitions.has(metric)]
    if within.limited:
        reason = "windows are as of the end of the log; in a part of it the counters are compared that it is made of"
        return unverified([metric.id for metric in wanted], reason)
    rows: dict[str, list[tuple[Series, Sample, Sample]]] = {metric.id: [] for metric in wanted}
    nothing = Sample(0, 0, None, None, None)
    for series in sorted({*counted.metrics, *recounted.metrics}):
        rows.setdefault(series[0], []).append((series, counted.metrics.get(series, nothing), recounted.metrics.get(series, nothing)))

    def told(series: Series, mine: Sample, theirs: Sample) -> dict[str, Any]:
        named = {"slice": dict(zip(series[1], series[2], strict=True)), "window": series[3]}
        return {**named, "counted": mine._asdict(), "recounted": theirs._asdict()}

    full = _full(recounted, definitions.limits.label_values)
    verdicts = []
    for metric in wanted:
        parts = [*metric.numerator, *metric.minus, *metric.denominator, *metric.squares_counters]
        reasons = [reason for counter in parts if (reason := _cut(counter.name, counted, recounted))]
        if full:
            reasons.append(f"more values of {', '.join(full)} than limits.label_values: the rest is counted as `other`")
        verdicts.append(_verdict(metric.id, rows[metric.id], told, most, reasons[0] if reasons else "", _near))
    return verdicts


def rules(counted: Counted, recounted: Recount, definitions: Definitions, within: Range, most: int, *, in_order: bool) -> list[Verdict]:
    """Every entity rule: the signals of each firing and amendment, and of each entity when it fires and when that ends.

    in_order: the events arrived in the order of their times. Otherwise what was said in between, and taken back, cannot be recounted
    from the log as it is at last.
    """
    verdicts = []
    for rule in definitions.rule:
        if rule.entity is None:
            continue
        if not in_order:
            reason = "what was said before a late event corrected it cannot be recounted from the whole log: verify it in order"
            verdicts += unverified([rule.id], reason)
        elif rule.id not in recounted.holdings:
            verdicts += unverified([rule.id], obstacle(rule))
        else:
            told = [one for one in counted.told if one.rule == rule.id]
            rows = [
                *_moments(told, recounted.holdings[rule.id], recounted.spells[rule.id], recounted.refusing),
                *_spells(counted.spells.get(rule.id, ()), recounted.spells[rule.id], recounted.refusing),
            ]
            cut = next((name for name in (*RULE_LIMITS, *LIMITS, *CHAPTER_LIMITS) if counted.cut.get(name)), "")
            excuse = f"a limit per customer cut {counted.cut[cut]} times ({cut}), which the recount does not know" if cut else ""
            rows = [row for row in rows if within.holds(row[0][1].time_ms)]
            verdicts.append(_verdict(rule.id, rows, _told_rule, most, excuse))
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
    """Each firing must be one of the recount, and end when that does. Not of who refuses: then it waits."""
    mine, theirs = _numbered(told), _numbered(held)
    for at in sorted({*mine, *theirs}):
        key, journey, name, time_ms, _ = at
        if key not in refusing:
            yield ("spell", Holding(key, journey, name, time_ms, {})), _ending(mine.get(at)), _ending(theirs.get(at))


def _numbered(spells: Iterable[Spell]) -> dict[tuple[str, str, str, int, int], Spell]:
    """By entity, begin, and number, because several may begin and end at one moment."""
    seen: Tally[tuple[Any, ...]] = Tally()
    found = {}
    for one in spells:
        seen[one[:4]] += 1
        found[one.key, one.journey, one.name, one.time_ms, seen[one[:4]]] = one
    return found


def _ending(spell: Spell | None) -> _Answer:
    return None if spell is None else {"until": None if spell.until_ms is None else rfc3339(spell.until_ms)}


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


_SERVICE: Final = _of_chapter("service")
_DIGITAL: Final = frozenset(c for c in Counter if Counter.DIGITAL_SESSIONS <= c <= Counter.DIGITAL_SIGNALS)
_SURVEYS: Final = frozenset(c for c in Counter if Counter.NPS_EXPERIENCE_ANSWERS <= c <= Counter.INVITATIONS_ANSWERED)
# The same of these chapters, docs/reference/chapters; what they find is friction of journeys, too.
CHAPTER_LIMITS: Final[Mapping[str, frozenset[Counter]]] = {
    "cut_survey_touchpoints": _SURVEYS,
    "cut_invitations": frozenset({Counter.INVITATIONS, Counter.INVITATIONS_ANSWERED}),
    "cut_service_issues": _SERVICE | {Counter.FRICTION_INSTANCES},
    "cut_waiting_contacts": _SERVICE,
    "cut_late_contacts": _SERVICE,
    "cut_info_fields": _SERVICE | {Counter.FRICTION_INSTANCES},
    "cut_templates": _SERVICE | {Counter.FRICTION_INSTANCES},
    "cut_digital_sessions": _DIGITAL | {Counter.FRICTION_INSTANCES},
    "cut_bursts": _DIGITAL | {Counter.FRICTION_INSTANCES},
    "cut_help": _DIGITAL,
}


# The same of rules, besides all these.
RULE_LIMITS: Final = ("cut_episodes", "cut_repeats", "cut_preferences", "cut_patterns")


def _cut(name: str, counted: Counted, recounted: Recount) -> str:
    """Why a difference of this counter need not be one: a limit that the recount does not know has cut."""
    for limit, touched in [*LIMITS.items(), *CHAPTER_LIMITS.items()]:
        if counted.cut.get(limit) and Counter[name] in touched:
            return f"a limit per customer cut {counted.cut[limit]} times ({limit}), which the recount does not know"
    if counted.cut.get("cut_events") and counted.records.get("late") != recounted.records.get("late", 0):
        return _TOO_LATE.format(counted.cut["cut_events"])
    return ""


def _full(recounted: Recount, most: int) -> list[str]:
    values: dict[str, set[str]] = {name: set() for name in recounted.dimensions}
    for _, cell, _ in recounted.sums:
        for name, value in zip(recounted.dimensions, cell, strict=True):
            values[name].add(value)
    return [name for name, found in values.items() if name != ACCOUNT and len(found - {""}) > most]
