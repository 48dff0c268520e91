"""What must not differ, and the first thing that does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamer.alerts.alert import decode as decode_alert
from streamer.rollup.estimates import COUNTER_BITS
from tests.simulation.world import World, complete_last_tick, folded_at_once, rolled_up_at_once, sorted_pass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamer.alerts.alert import Alert
    from tests.simulation.history import History
    from tests.simulation.owners import RollupOwners, SourceOwners

_SHOWN = 3


class DivergenceError(Exception):
    """What differs, and how."""


def check(history: History) -> None:
    """Run a history and compare. Raises DivergenceError; whatever else is raised was raised by a processor, and is wrong as well."""
    world = World(history).run()
    at_once = [folded_at_once(source) for source in world.sources]
    for live, once in zip(world.sources, at_once, strict=True):
        _compare_sources(live, once)
    _compare_rollup(world.rollup, at_once)
    if history.orderly:
        _compare_sorted(world)


def divergence(history: History) -> str | None:
    """What is wrong with a history in one line, None if nothing is."""
    try:
        check(history)
    except Exception as exc:
        return f"{type(exc).__name__}: {exc}"
    return None


def _same(what: str, live: object, other: object) -> None:
    if live == other:
        return
    if isinstance(live, dict) and isinstance(other, dict):
        keys = [key for key in {**live, **other} if live.get(key) != other.get(key)]
        shown = [f"{key!r}: {live.get(key)!r}, not {other.get(key)!r}" for key in keys[:_SHOWN]]
        raise DivergenceError(f"{what}: {len(keys)} differ; " + "; ".join(shown))
    if isinstance(live, list) and isinstance(other, list):
        at = next((i for i, (one, two) in enumerate(zip(live, other, strict=False)) if one != two), min(len(live), len(other)))
        shown = [repr(part[at]) if at < len(part) else "nothing" for part in (live, other)]
        raise DivergenceError(f"{what}: {len(live)} and {len(other)}; number {at} is {shown[0]}, not {shown[1]}")
    raise DivergenceError(f"{what}: {live!r}, not {other!r}")


def _compare_sources(live: SourceOwners, once: SourceOwners) -> None:
    """Any batches, drains, crashes and late rows against the single pass."""
    name = f"source {live.number}"
    _same(f"{name}, alerts", live.alerts, once.alerts)
    _same(f"{name}, sums per tick", _without_zeros(live.tick_sums), _without_zeros(once.tick_sums))
    _same(f"{name}, late and dead letters", live.put_aside, once.put_aside)
    _same(f"{name}, accounting", dict(live.processor.accounting), dict(once.processor.accounting))
    _same(f"{name}, records consumed", live.processor.accounting["consumed"], len(live.log))
    rows = once.rows()
    _same(f"{name}, state", live.rows(), rows)
    live.open()
    _same(f"{name}, state of the next owner", live.rows(), rows)
    live.close()
    once.close()
    _same(f"{name}, changelog", live.rows_written(), once.rows_written())


def _compare_rollup(live: RollupOwners, at_once: list[SourceOwners]) -> None:
    """Against a single pass over the same records and, while its definitions stay, over those of the single passes."""
    once = rolled_up_at_once(live.log, live)
    _same("rollup, alerts", live.alerts, once.alerts)
    _same("rollup, state", live.rows(), once.rows())
    if len(live.upgrades) == 1:  # else rows have series and labels left that the new definitions do not know
        _same("rollup, changelog", live.rows_written(), live.rows())
    live.open()
    _same("rollup, state of the next owner", live.rows(), once.rows())
    if len(live.upgrades) > 1:
        return
    apart = rolled_up_at_once([], live)
    for source in at_once:
        for value in source.deltas:
            apart.append(value)
    apart.fold_next(len(apart.log))
    apart.drain()
    _same("rollup, alerts of other records of the same changes", live.alerts, apart.alerts)
    _same("rollup, clock with other records of the same changes", live.processor.clock_ms, apart.processor.clock_ms)
    _same("rollup, sums of other records of the same changes", _sums(live), _sums(apart))
    _same("rollup, rules with other records of the same changes", *(sorted(one.processor.rule_states()) for one in (live, apart)))


def _compare_sorted(world: World) -> None:
    """Arrival in any order within the lateness, with duplicates and what is no event, against the sorted events alone."""
    sources, rollup = sorted_pass(world)
    for live, other in zip(world.sources, sources, strict=True):
        kinds = [sent.kind for sent in world.history.logs[live.number]]
        accounting = live.processor.accounting
        named = {"applied": "event", "duplicate": "copy", "dead_lettered": "poison", "late": "nothing"}
        counted = {kind: accounting[kind] for kind in named}
        expected = {outcome: sum(one == kind for one in kinds) for outcome, kind in named.items()}
        _same(f"source {live.number}, outcomes", counted, expected)
        _same(f"source {live.number}, net sums against the sorted pass", live.sums(), other.sums())
        _same(f"source {live.number}, alerts in force against the sorted pass", in_force(live), in_force(other))
    for owners in (world.rollup, rollup):
        complete_last_tick(owners, world)
    _same("rollup, sums against the sorted pass", _sums(world.rollup), _sums(rollup))


def in_force(owners: SourceOwners) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    """What a consumer holds: the signals of each episode that has not ended. Raises DivergenceError for one told out of turn."""
    held: dict[str, Alert] = {}
    last: dict[str, str] = {}
    for alert in map(decode_alert, owners.alerts):
        before, last[alert.fingerprint] = last.get(alert.fingerprint), alert.state
        if alert.state == "retracted" and before == "resolved":
            continue  # it has ended, and never happened
        if (alert.fingerprint in held) == (alert.state == "firing"):
            raise DivergenceError(f"source {owners.number}, an alert out of turn: {alert}")
        if alert.state in ("firing", "amended"):
            held[alert.fingerprint] = alert
        else:
            del held[alert.fingerprint]
    found: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for alert in held.values():
        entity = alert.entity
        assert entity is not None
        found[entity.canonical_id, alert.rule.id, entity.journey, entity.journey_id or entity.issue_id] = alert.metric.signals
    return found


def _without_zeros(sums: Mapping[Any, int]) -> dict[Any, int]:
    return {key: n for key, n in sums.items() if n}


def _sums(owners: RollupOwners) -> dict[tuple[Any, ...], int]:
    """Lifetime sums and panes by labels and counter; numbers of series depend on who came first."""
    processor = owners.processor
    processor.rows()  # settles
    series, store = processor.table.series, processor.store
    found: dict[tuple[Any, ...], int] = {}
    places = [("lifetime", 0, store.lifetime)]
    for panes in store.panes:
        places += [(f"{panes.granularity_ms} ms", start, panes.cells(start, chunk) or {}) for start, chunk in panes.rows()]
    for kind, start, sums in places:
        for key, n in sums.items():
            labels = series[key >> COUNTER_BITS]
            if n:
                found[kind, start, labels.by, labels.values, key & ((1 << COUNTER_BITS) - 1)] = n
    return found
