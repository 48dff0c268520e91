"""How a rule stands to one entity: whether it fires, which condition fails and by how much, and what would have turned it over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from streamer.rules.explain import Condition, Explainer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.definitions import Rule
    from streamer.explain.signals import Entity
    from streamer.journeys.state import Episode

Status = Literal["firing", "cooling down", "holds", "not firing", "ended"]


class Seen(NamedTuple):
    """An entity as it was last seen, and when: milliseconds since the epoch."""

    entity: Entity
    time_ms: int


class Verdict(NamedTuple):
    """A rule on an entity. as_of_ms: of the signals; since_ms, until_ms: of the firing, of the cooldown.

    conditions: the nearest to turning over first. order: verdicts by it come nearest first.
    """

    rule: Rule
    entity: str
    status: Status
    as_of_ms: int
    since_ms: int | None
    until_ms: int | None
    conditions: Sequence[Condition]
    counterfactual: str
    order: tuple[float | str, ...]


def verdict_of(rule: Rule, explainer: Explainer, seen: Seen, episode: Episode | None, *, now_ms: int, is_there: bool) -> Verdict:
    """How a rule stands to an entity; of one that has ended, how it stood when it was last there."""
    env = seen.entity.signals
    firing = episode is not None and episode.firing
    holds = explainer.holds(env)
    cooling = episode is not None and not firing and episode.cooldown_until > now_ms
    status: Status = "firing" if firing else "ended" if not is_there else "cooling down" if cooling else "holds" if holds else "not firing"
    decisive, change = explainer.decisive(env), explainer.nearest(env)
    size = (0.0, 0.0) if change is None else change.size
    return Verdict(
        rule,
        seen.entity.id,
        status,
        seen.time_ms,
        episode.since if episode is not None and firing else None,
        episode.cooldown_until if episode is not None and cooling else None,
        nearest_first(explainer.conditions(env)),
        explainer.counterfactual(env),
        (
            not firing,
            not is_there,
            not holds,
            change is None,
            len(decisive),
            *size,
            rule.id,
            seen.entity.id,
        ),
    )


def nearest_first(conditions: Sequence[Condition]) -> list[Condition]:
    """What fails before what holds, each the nearest to its threshold first, relative to the numbers; what has no distance last."""

    def order(condition: Condition) -> tuple[bool, float]:
        if condition.distance is None or isinstance(condition.value, str) or isinstance(condition.threshold, str):
            return condition.holds, float("inf")
        greater = max(abs(condition.value or 0), abs(condition.threshold or 0))
        return condition.holds, condition.distance / greater if greater else 0.0

    return sorted(conditions, key=order)
