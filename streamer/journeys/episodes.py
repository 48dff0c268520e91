"""Entity rules: whether a customer's journey, issue or whole self is worth an alert now, and the episodes that come of it.

A rule is evaluated when a signal it may name has changed, in the fold's own time; cooldown is kept here and nowhere else, so that
live, replay and backtest agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from streamer.definitions import Rule
from streamer.journeys.chapter import NOTHING, Chapter
from streamer.journeys.state import Cause, Episode, Instance, Issue, State
from streamer.metrics.catalogue import CHAPTER_OF_SIGNAL
from streamer.rules import language
from streamer.touchpoints.money import exponent_of

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.journeys.sinks import Sink

CUSTOMER: Final = "customer"
_WHO: Final = ("channel", "platform", "segment", "region")
# What only an effort signal changes.
_EFFORT: Final = frozenset({"channel_switches", "recent_switches", "repeat_contacts", "transfers", "cold_transfers", "effort_index"})

# Where the signals of `language.ENTITY_NAMES` stand.
_JOURNEY_FIELDS: Final = {
    "journey": "journey", "friction": "friction", "step": "step", "channel_switches": "switches", "repeat_contacts": "repeats",
    "transfers": "transfers", "cold_transfers": "cold",
}  # fmt: skip
_ISSUE_FIELDS: Final = {
    "contacts": "contacts", "channel_switches": "switches", "repeat_contacts": "repeats", "transfers": "transfers",
    "cold_transfers": "cold", "severity": "severity", "reason": "reason",
}  # fmt: skip
_CUSTOMER_SIGNALS: Final[dict[str, Callable[[State], language.Value]]] = {
    "repeat_contacts": lambda state: len(state.repeats),
    "contacts": lambda state: sum(issue.contacts for issue in state.issues.values()),
    "channel_switches": lambda state: sum(issue.switches for issue in state.issues.values()),
    "recent_switches": lambda state: sum(len(issue.recent_switches) for issue in state.issues.values()),
    "transfers": lambda state: sum(issue.transfers for issue in state.issues.values()),
    "cold_transfers": lambda state: sum(issue.cold for issue in state.issues.values()),
    "effort_index": lambda state: sum(issue.effort_tenths for issue in state.issues.values()) / 10,
    "handoffs": lambda state: sum(case.handoffs for case in state.cases.values()),
    "ping_pongs": lambda state: sum(case.ping_pongs for case in state.cases.values()),
}
_OF_CUSTOMER: Final = {"customer_contacts": "contacts", "customer_switches": "channel_switches"}


class EntityRule(NamedTuple):
    """A rule with its compiled expression and the names it uses."""

    rule: Rule
    holds: language.Expression
    names: frozenset[str]


class _Entity(NamedTuple):
    """Whom an alert is about: evidence, and when nothing is left of it (0: no fixed time)."""

    causes: list[Cause]
    cause_count: int
    expires: int
    journey: str = ""


class EpisodeFold:
    """Evaluates the entity rules of a definitions file."""

    def __init__(self, definitions: Definitions, dimensions: Sequence[str], chapters: Mapping[str, Chapter]) -> None:
        self.rules = {
            rule.id: EntityRule(rule, language.compile_expression(rule.when, names), language.names_in(rule.when))
            for rule in definitions.rule
            if rule.on and (names := language.ENTITY_NAMES[rule.on])
        }
        self._on = {kind: [entry for entry in self.rules.values() if entry.rule.on == kind] for kind in ("journey", "issue", "customer")}
        self.watches_progress = any(entry.names & {"step", "value"} for entry in self._on["journey"])
        self._on_contact = [entry for entry in self._on["issue"] if entry.names - _EFFORT]
        self._where = {name: dimensions.index(name) for name in _WHO if name in dimensions}
        self._effort = definitions.effort
        self._repeat_within = definitions.contacts.repeat_within
        self._evidence = definitions.limits.evidence_per_alert
        self._limit = definitions.limits.episodes_per_customer
        on_customer = frozenset[str]().union(*(entry.rule.names for entry in self._on["customer"]))
        self._after: dict[tuple[tuple[str, ...], bool], list[EntityRule]] = {}
        self._chapters = {name: chapters[CHAPTER_OF_SIGNAL[name]] for name in sorted(on_customer) if name in CHAPTER_OF_SIGNAL}
        self.watched_chapters = frozenset(chapter.id for chapter in self._chapters.values())

    def journey(self, state: State, instance: Instance, time_ms: int, sink: Sink) -> None:
        """Evaluate the journey rules for an instance whose signals have changed."""
        if state.refused:
            return
        for entry in self._on["journey"]:
            self._evaluate(
                state, entry, instance_id(instance), lambda name: self._journey_signal(state, instance, name), time_ms, sink,
                lambda: self._journey_entity(instance),
            )  # fmt: skip

    def _journey_signal(self, state: State, instance: Instance, name: str) -> language.Value:
        if name in _OF_CUSTOMER:
            return _CUSTOMER_SIGNALS[_OF_CUSTOMER[name]](state)
        if name == "abandoned":
            return instance.abandoned_at > 0
        if name == "value":
            return instance.value_minor / float(10 ** exponent_of(instance.currency))
        if name == "effort_index":
            effort, warm = self._effort, instance.transfers - instance.cold
            points: float = (
                instance.repeats * effort.repeat_contact + instance.switches * effort.channel_switch
                + instance.cold * effort.cold_transfer + warm * effort.warm_transfer + instance.ping_pongs * effort.ping_pong
            )  # fmt: skip
            return points
        if name in _WHO:
            return instance.cell.values[self._where[name]]
        value: language.Value = getattr(instance, _JOURNEY_FIELDS[name])
        return value

    def _journey_entity(self, instance: Instance) -> _Entity:
        causes = [*instance.causes, instance.last] if instance.last not in instance.causes else instance.causes
        expires = instance.due if instance.abandoned_at else instance.due + instance.recoverable_ms
        return _Entity(causes, instance.cause_count, expires, instance.journey)

    def issue(self, state: State, issue: Issue, time_ms: int, sink: Sink, *, effort: bool) -> None:
        """Evaluate the issue rules for an issue that has had an event; without new `effort` only those that name more than effort."""
        if state.refused:
            return
        for entry in self._on["issue"] if effort else self._on_contact:
            self._evaluate(
                state, entry, "issue:" + issue.key, lambda name: self._issue_signal(issue, name), time_ms, sink,
                lambda: _Entity(issue.causes, issue.cause_count, issue.due),
            )  # fmt: skip

    def _issue_signal(self, issue: Issue, name: str) -> language.Value:
        if name == "effort_index":
            return issue.effort_tenths / 10
        if name == "recent_switches":
            return len(issue.recent_switches)
        if name in _WHO:
            return issue.cell.values[self._where[name]]
        value: language.Value = getattr(issue, _ISSUE_FIELDS[name])
        return value

    def customer(self, state: State, time_ms: int, sink: Sink, chapters: tuple[str, ...] = (), core: bool = True) -> None:
        """Evaluate the customer rules that name a signal of these chapters or of the core (sums over open issues and known cases,
        repetitions within the repeat window), where nothing else can have changed.
        """
        if state.refused:
            return
        entries = self._after.get((chapters, core))
        if entries is None:
            entries = self._after[chapters, core] = [entry for entry in self._on["customer"] if _is_touched(entry, chapters, core=core)]
        for entry in entries:
            self._evaluate(
                state,
                entry,
                CUSTOMER,
                lambda name: self._customer_signal(state, name),
                time_ms,
                sink,
                lambda: self._customer_entity(state),
            )

    def _customer_signal(self, state: State, name: str) -> language.Value:
        chapter = self._chapters.get(name)
        return _CUSTOMER_SIGNALS[name](state) if chapter is None else chapter.signal(state.kept.get(chapter.id, NOTHING), name)

    def _customer_entity(self, state: State) -> _Entity:
        causes = {cause for issue in state.issues.values() for cause in issue.causes}
        causes.update(cause for kept in state.kept.values() for cause in kept.causes)
        count = sum(issue.cause_count for issue in state.issues.values()) + sum(kept.cause_count for kept in state.kept.values())
        expires = state.repeats[-1] + self._repeat_within if state.repeats else 0
        return _Entity(sorted(causes)[-self._evidence :], count, expires)

    def readers(self, state: State) -> list[tuple[str, str, Callable[[str], language.Value]]]:
        """Whom rules can be about, for who explains them: kind and id of each entity, and a function from a signal's name to its value."""
        found: list[tuple[str, str, Callable[[str], language.Value]]] = [(CUSTOMER, CUSTOMER, partial(self._customer_signal, state))]
        found += [("journey", instance_id(one), partial(self._journey_signal, state, one)) for one in state.instances]
        found += [("issue", "issue:" + one.key, partial(self._issue_signal, one)) for one in state.issues.values()]
        return found

    def _evaluate(
        self, state: State, entry: EntityRule, entity_id: str, read: Callable[[str], language.Value], t: int, sink: Sink,
        entity_of: Callable[[], _Entity],
    ) -> None:  # fmt: skip
        names = {name: read(name) for name in entry.names}
        key = entry.rule.id + "\x1f" + entity_id
        episode = state.episodes.get(key)
        if not _holds(entry, names):
            if episode is not None and episode.firing:
                episode.signals = _shown(entry, names, read)
                self._end(state, key, episode, t, sink)
            return
        entity = entity_of()
        if episode is None:
            if len(state.episodes) >= self._limit and not self._make_room(state, sink):
                return
            episode = state.episodes[key] = Episode(entry.rule.id, entity_id, state.pruned, entity.journey)
        episode.expires = entity.expires
        if not episode.firing and t >= episode.cooldown_until:
            episode.n += 1
            episode.firing, episode.since, episode.cooldown_until = True, t, t + entry.rule.cooldown
            self._fill(episode, _shown(entry, names, read), entity)
            sink.transition("firing", key, episode, t)
        elif episode.firing and any(episode.signals.get(name) != value for name, value in names.items()):
            self._fill(episode, _shown(entry, names, read), entity)
            sink.transition("amended", key, episode, t)

    def _fill(self, episode: Episode, signals: dict[str, language.Value], entity: _Entity) -> None:
        episode.signals, episode.causes, episode.cause_count = signals, list(entity.causes), max(entity.cause_count, len(entity.causes))

    def _make_room(self, state: State, sink: Sink) -> bool:
        """Forget the alert whose cooldown ends first; False if all are in force, and no more can be."""
        sink.note("cut_episodes")
        cooling = [(episode.cooldown_until, key) for key, episode in state.episodes.items() if not episode.firing]
        if cooling:
            key = min(cooling)[1]
            self.forget(state, key, state.episodes[key])
        return bool(cooling)

    def end_removed(self, state: State, time_ms: int, sink: Sink) -> None:
        """Alerts of rules that are no longer defined end."""
        for key, episode in list(state.episodes.items()):
            if episode.firing and episode.rule not in self.rules:
                self._end(state, key, episode, time_ms, sink)

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


def _is_touched(entry: EntityRule, chapters: Sequence[str], *, core: bool) -> bool:
    """Whether a rule names what may have changed."""
    of_chapters = {CHAPTER_OF_SIGNAL[name] for name in entry.rule.names if name in CHAPTER_OF_SIGNAL}
    of_core = not entry.rule.names or any(name not in CHAPTER_OF_SIGNAL for name in entry.rule.names)
    return (core and of_core) or not of_chapters.isdisjoint(chapters)


def instance_id(instance: Instance) -> str:
    """The entity id of a journey instance."""
    return f"journey:{instance.journey}:{instance.key}"


def _shown(entry: EntityRule, names: dict[str, language.Value], read: Callable[[str], language.Value]) -> dict[str, language.Value]:
    """What an alert carries: the numbers put into the condition, and those the rule shows besides."""
    shown = {name: read(name) for name in entry.rule.show}
    return dict(sorted((names | shown).items()))


def _holds(entry: EntityRule, names: Mapping[str, language.Value]) -> bool:
    try:
        return bool(entry.holds(names))
    except (TypeError, ZeroDivisionError, OverflowError):
        # The user's expression has no value for these numbers (a division by zero, a word compared with a number): it does not hold.
        return False
