"""The other side: the product's own processors over the same log, as `streamer replay` runs them."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from streamer.metrics.counters import ACCOUNT
from streamer.replay.pipeline import Arrival, Result, run_history
from streamer.touchpoints.times import milliseconds
from streamer.verify.ranges import WHOLE, Range
from streamer.verify.readings import metrics_within, samples_of
from streamer.verify.recount import Place, Sample, Series
from streamer.verify.rules import Holding, Spell
from streamer.verify.tables import cell_of

if TYPE_CHECKING:
    from streamer.alerts.alert import Alert, Entity
    from streamer.definitions import Definitions
    from streamer.verify.raw_log import Record

_OUTCOMES: Final = ("applied", "duplicate", "late", "dead_lettered")


class Told(NamedTuple):
    """A transition of an entity alert that carries the signals of its moment."""

    rule: str
    state: str
    holding: Holding


class Counted(NamedTuple):
    """sums, metrics, records: as of a recount. cut: by limit, how often it cut. told: the firings and amendments, in their order.
    spells: by rule, from when until when it fires for whom."""

    sums: Mapping[Place, int]
    metrics: Mapping[Series, Sample]
    records: Mapping[str, int]
    cut: Mapping[str, int]
    told: Sequence[Told]
    spells: Mapping[str, Sequence[Spell]] = {}


def count(
    records: Sequence[Record], definitions: Definitions, dimensions: Sequence[str], *, begin_ms: int, end_ms: int | None,
    within: Range = WHOLE,
) -> Counted:  # fmt: skip
    """Fold the log. begin_ms, end_ms: as of `run_history`; dimensions: what a cell is told by; within: what metrics are of.

    Drafts are folded as rules of which somebody is told: that is all they differ in, and of what nobody is told the signals are gone.
    The rollup has no rules on metrics but those that make a count be kept by account: nothing is compared of what they tell, and looking
    until the last deadline took half of the time.
    """
    arrivals = (Arrival(record.arrival, record.key, record.value, record.headers) for record in records)
    rules = tuple(replace(rule, mode="enabled") if rule.entity and rule.mode == "draft" else rule for rule in definitions.rule)
    silent = replace(definitions, rule=tuple(rule for rule in rules if not rule.metric or rule.on == ACCOUNT))
    result = run_history(
        arrivals, replace(definitions, rule=rules), partitions=1, begin_ms=begin_ms, end_ms=end_ms, build="verify", of_rollup=silent
    )
    counted = counted_of(result, dimensions, definitions.account_counters)
    return counted._replace(metrics=metrics_within(within, result.sums, definitions)) if within.limited else counted


def counted_of(result: Result, dimensions: Sequence[str], by_account: frozenset[int]) -> Counted:
    """A run's result in the terms of the comparison; `by_account`: as of `cell_of`."""
    sums: Tally[Place] = Tally()
    for (counter, cell, pane), n in result.sums.items():
        sums[counter.name, cell_of(counter, dict(cell), dimensions, by_account), pane] += n
    accounting = result.accounting
    outcomes = {name: n for name, n in accounting.items() if n and (name in _OUTCOMES or name.startswith("dead_"))}
    return Counted(
        {place: n for place, n in sums.items() if n},
        samples_of(result.gauges),
        outcomes,
        {name: n for name, n in accounting.items() if name.startswith("cut_")},
        [
            _told(transition, transition.entity)
            for transition in result.alerts
            if transition.entity and transition.entity.canonical_id and transition.state in ("firing", "amended")
        ],
        _spells(result.alerts),
    )


def _spells(alerts: Sequence[Alert]) -> dict[str, list[Spell]]:
    found: dict[str, list[Spell]] = {}
    firing: dict[str, int] = {}  # by fingerprint, the place among those of its rule
    for transition in alerts:
        if transition.entity is None or not transition.entity.canonical_id:
            continue
        of_rule = found.setdefault(transition.rule.id, [])
        at = firing.get(transition.fingerprint)
        if transition.state == "firing" or at is None:  # what changes or ends without having begun begins there, and differs
            at = firing[transition.fingerprint] = len(of_rule)
            holding = _told(transition, transition.entity).holding
            of_rule.append(Spell(*holding[:4], None, told=holding.signals))
        if transition.state == "amended":
            of_rule[at] = of_rule[at]._replace(told=dict(transition.metric.signals))
        elif transition.state == "resolved":
            of_rule[at] = of_rule[at]._replace(until_ms=milliseconds(transition.event_time), signals=dict(transition.metric.signals))
        elif transition.state == "retracted":
            of_rule[at] = of_rule[at]._replace(until_ms=of_rule[at].time_ms, taken_back=True)
    return found


def _told(transition: Alert, entity: Entity) -> Told:
    time_ms = milliseconds(transition.event_time)
    name = entity.journey_id or entity.issue_id
    journey = entity.journey if entity.journey_id else ""
    return Told(transition.rule.id, transition.state, Holding(entity.canonical_id, journey, name, time_ms, dict(transition.metric.signals)))
