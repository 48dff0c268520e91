"""Entity rules: whether a customer's journey, issue or whole self is worth an alert now, and the episodes that come of it.

A rule is evaluated when a signal it may name has changed, in the fold's own time; cooldown is kept here and nowhere else, so that
live, replay and backtest agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from streamer.journeys.state import Cause, Episode, Instance, Issue, State
from streamer.rules import language
from streamer.touchpoints.money import exponent_of

if TYPE_CHECKING:
    from streamer.definitions import Definitions, Rule
    from streamer.journeys.sinks import Sink

CUSTOMER: Final = "customer"
_WHO: Final = ("channel", "platform", "segment", "region")


class EntityRule(NamedTuple):
    """A rule with its compiled expression and the names it uses."""

    rule: Rule
    holds: language.Expression
    names: frozenset[str]


class _Entity(NamedTuple):
    """Whom a rule is evaluated for: identity, evidence, and when nothing is left of it (0: no fixed time)."""

    id: str
    causes: list[Cause]
    cause_count: int
    expires: int
    journey: str


class EpisodeFold:
    """Evaluates the entity rules of a definitions file."""

    def __init__(self, definitions: Definitions, dimensions: Sequence[str]) -> None:
        self.rules = {
            rule.id: EntityRule(rule, language.compile_expression(rule.when, names), language.names_in(rule.when))
            for rule in definitions.rule
            if rule.on and (names := language.ENTITY_NAMES[rule.on])
        }
        self._on = {kind: [entry for entry in self.rules.values() if entry.rule.on == kind] for kind in ("journey", "issue", "customer")}
        self._where = {name: dimensions.index(name) for name in _WHO if name in dimensions}
        self._effort = definitions.effort
        self._repeat_within = definitions.contacts.repeat_within
        self._evidence = definitions.limits.evidence_per_alert

    def journey(self, state: State, instance: Instance, time_ms: int, sink: Sink) -> None:
        """Evaluate the journey rules for an instance whose signals have changed."""
        if not self._on["journey"] or state.refused:
            return
        warm = instance.transfers - instance.cold
        effort = (
            instance.repeats * self._effort.repeat_contact + instance.switches * self._effort.channel_switch
            + instance.cold * self._effort.cold_transfer + warm * self._effort.warm_transfer
        )  # fmt: skip
        names: dict[str, language.Value] = {
            "journey": instance.journey, "abandoned": instance.abandoned_at > 0, "friction": instance.friction, "step": instance.step,
            "value": instance.value_minor / 10 ** exponent_of(instance.currency),
            "channel_switches": instance.switches, "repeat_contacts": instance.repeats, "transfers": instance.transfers,
            "cold_transfers": instance.cold, "effort_index": effort, **self._who(instance.cell.values),
        }  # fmt: skip
        causes = [*instance.causes, instance.last] if instance.last not in instance.causes else instance.causes
        expires = instance.due if instance.abandoned_at else instance.due + instance.recoverable_ms
        entity = _Entity(instance_id(instance), causes, instance.cause_count, expires, instance.journey)
        self._evaluate(state, "journey", entity, names, time_ms, sink)

    def issue(self, state: State, issue: Issue, time_ms: int, sink: Sink) -> None:
        """Evaluate the issue rules for an issue whose signals have changed."""
        if not self._on["issue"] or state.refused:
            return
        names: dict[str, language.Value] = {
            "journey": "", "channel_switches": issue.switches, "repeat_contacts": issue.repeats, "transfers": issue.transfers,
            "cold_transfers": issue.cold, "contacts": issue.contacts, "severity": issue.severity, "reason": issue.reason,
            "effort_index": issue.effort_tenths / 10, **self._who(issue.cell.values),
        }  # fmt: skip
        entity = _Entity("issue:" + issue.key, issue.causes, issue.cause_count, issue.due, "")
        self._evaluate(state, "issue", entity, names, time_ms, sink)

    def customer(self, state: State, time_ms: int, sink: Sink) -> None:
        """Evaluate the customer rules: sums over the open issues and cases, repetitions within the repeat window."""
        if not self._on["customer"] or state.refused:
            return
        issues = state.issues.values()
        names: dict[str, language.Value] = {
            "channel_switches": sum(issue.switches for issue in issues), "repeat_contacts": len(state.repeats),
            "transfers": sum(issue.transfers for issue in issues), "cold_transfers": sum(issue.cold for issue in issues),
            "contacts": sum(issue.contacts for issue in issues), "effort_index": sum(issue.effort_tenths for issue in issues) / 10,
            "handoffs": sum(case.handoffs for case in state.cases.values()),
            "ping_pongs": sum(case.ping_pongs for case in state.cases.values()),
        }  # fmt: skip
        causes = sorted({cause for issue in issues for cause in issue.causes})
        expires = state.repeats[-1] + self._repeat_within if state.repeats else 0
        entity = _Entity(CUSTOMER, causes[-self._evidence :], sum(issue.cause_count for issue in issues), expires, "")
        self._evaluate(state, "customer", entity, names, time_ms, sink)

    def _who(self, values: Sequence[str]) -> dict[str, language.Value]:
        return {name: values[self._where[name]] if name in self._where else "" for name in _WHO}

    def _evaluate(self, state: State, on: str, entity: _Entity, names: Mapping[str, language.Value], t: int, sink: Sink) -> None:
        for entry in self._on[on]:
            key = entry.rule.id + "\x1f" + entity.id
            episode = state.episodes.get(key)
            signals = {name: names[name] for name in sorted(entry.names)}
            if not _holds(entry, names):
                if episode is not None and episode.firing:
                    episode.signals = signals
                    self._end(state, key, episode, t, sink)
                continue
            if episode is None:
                episode = state.episodes[key] = Episode(entry.rule.id, entity.id, state.pruned, False, 0, 0, 0, journey=entity.journey)
            episode.expires = entity.expires
            changed = signals != episode.signals
            if not episode.firing and t >= episode.cooldown_until:
                episode.n += 1
                episode.firing, episode.since, episode.cooldown_until = True, t, t + entry.rule.cooldown
                self._fill(episode, signals, entity)
                sink.transition("firing", key, episode, t)
            elif episode.firing and changed:
                self._fill(episode, signals, entity)
                sink.transition("amended", key, episode, t)

    def _fill(self, episode: Episode, signals: dict[str, language.Value], entity: _Entity) -> None:
        episode.signals, episode.causes, episode.cause_count = signals, list(entity.causes), max(entity.cause_count, len(entity.causes))

    def end_entity(self, state: State, entity: str, time_ms: int, sink: Sink) -> None:
        """Nothing is left of the entity: every alert about it ends."""
        for key, episode in list(state.episodes.items()):
            if episode.entity == entity and episode.firing:
                self._end(state, key, episode, time_ms, sink)

    def end_all(self, state: State, time_ms: int, sink: Sink) -> None:
        """The customer refused analytics: every personal alert ends."""
        for key, episode in list(state.episodes.items()):
            if episode.firing:
                self._end(state, key, episode, time_ms, sink)

    def _end(self, state: State, key: str, episode: Episode, t: int, sink: Sink) -> None:
        episode.firing = False
        sink.transition("resolved", key, episode, t)
        if episode.cooldown_until <= t:
            self.forget(state, key, episode)

    def forget(self, state: State, key: str, episode: Episode) -> None:
        """The cooldown is over. Numbers go on from the greatest ever used, so that no episode's identity comes twice."""
        state.pruned = max(state.pruned, episode.n)
        del state.episodes[key]


def instance_id(instance: Instance) -> str:
    """The entity id of a journey instance."""
    return f"journey:{instance.journey}:{instance.key}"


def _holds(entry: EntityRule, names: Mapping[str, language.Value]) -> bool:
    try:
        return bool(entry.holds(names))
    except (TypeError, ZeroDivisionError, OverflowError):
        # The user's expression has no value for these numbers (a division by zero, a word compared with a number): it does not hold.
        return False
