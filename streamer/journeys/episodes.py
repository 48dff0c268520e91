"""Entity rules: whether a customer's journey, issue or whole self is worth an alert now, and the episodes that come of it.

A rule is evaluated when a signal it may name has changed, in the fold's own time. Cooldown, the daily maximum and quiet hours are kept
here and nowhere else, so that live, replay and backtest agree: a firing that they hold back comes when they allow it, if its condition
still holds then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from streamer.definitions import Rule
from streamer.journeys.chapter import Chapter
from streamer.journeys.signals import OF_CUSTOMER, OfCustomer, OfIssue, OfJourney, Reader, Signals, Sources, sources_of
from streamer.journeys.state import Episode, Instance, Issue, State
from streamer.metrics.catalogue import chapter_of_signal
from streamer.rules import language
from streamer.rules.explain import explainer_of
from streamer.rules.quiet import QuietHours, held_until, zone_of

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.journeys.sinks import Sink

CUSTOMER: Final = "customer"
_ISSUE: Final = "issue:"
_PROGRESS: Final = frozenset({"step", "value"})
# What only an effort signal changes.
_EFFORT: Final = frozenset({"channel_switches", "recent_switches", "repeat_contacts", "transfers", "cold_transfers", "effort_index"})


class EntityRule(NamedTuple):
    """A rule with its compiled expression, the names that uses, who keeps their events, and its quiet hours, if it has any."""

    rule: Rule
    holds: language.Expression
    names: frozenset[str]
    sources: Sources
    quiet: QuietHours | None
    zone: str

    @property
    def holding_back(self) -> tuple[object, ...]:
        """What decides when it may fire again."""
        return (self.rule.cooldown, self.rule.max_per_day, self.rule.quiet, self.zone if self.rule.quiet else "")

    def counterfactual(self, signals: Mapping[str, language.Value]) -> str:
        """What would have had to be different for it not to fire."""
        return explainer_of(self.rule.when, language.ENTITY_NAMES[self.rule.entity or "customer"]).counterfactual(signals)


class EpisodeFold:
    """Evaluates the entity rules of a definitions file."""

    def __init__(self, definitions: Definitions, dimensions: Sequence[str], chapters: Mapping[str, Chapter]) -> None:
        zone = zone_of(definitions.timezone)
        self.rules = {
            rule.id: EntityRule(
                rule,
                language.compile_expression(rule.when, language.ENTITY_NAMES[rule.entity]),
                language.names_in(rule.when),
                sources_of(language.names_in(rule.when)),
                QuietHours(rule.quiet, zone) if rule.quiet else None,
                definitions.timezone,
            )
            for rule in definitions.rule
            if rule.entity and rule.mode != "off"
        }
        self._on = {kind: [entry for entry in self.rules.values() if entry.rule.on == kind] for kind in ("journey", "issue", "customer")}
        self._on_progress = [entry for entry in self._on["journey"] if entry.names & _PROGRESS]
        self._on_contact = [entry for entry in self._on["issue"] if entry.names - _EFFORT]
        self._on_issues = [entry for entry in self._on["journey"] if any(name in OF_CUSTOMER for name in entry.names)]
        self._limit = definitions.limits.episodes_per_customer
        on_customer = frozenset[str]().union(*(entry.rule.names for entry in self._on["customer"]))
        self._after: dict[tuple[tuple[str, ...], bool], list[EntityRule]] = {}
        watched = {name: chapters[chapter] for name in sorted(on_customer) if (chapter := chapter_of_signal(name)) is not None}
        self.watched_chapters = frozenset(chapter.id for chapter in watched.values())
        self.watches_cases = any(entry.sources.cases for entry in self._on["customer"])
        self.watches_contacts = any("contacts" in entry.names for entry in (*self._on["customer"], *self._on["issue"]))
        self._signals = Signals(definitions, dimensions, watched)
        stranger = OfCustomer(self._signals, State(), CUSTOMER)
        of_strangers = [entry for entry in self._on["customer"] if _holds(entry, stranger)]
        # Of the rules that hold of a customer of whom nothing is known, the chapters whose first event they are looked at with.
        self.chapters_of_strangers = frozenset(chapter_of_signal(name) for entry in of_strangers for name in entry.rule.names)

    def journey(self, state: State, instance: Instance, time_ms: int, sink: Sink) -> None:
        """Evaluate the journey rules for an instance whose signals have changed."""
        if state.refused:
            return
        self._look(state, self._on["journey"], self._of_journey(state, instance), time_ms, sink)

    def progress(self, state: State, instance: Instance, time_ms: int, sink: Sink) -> None:
        """Evaluate the journey rules that name its step or its value, of which one has changed."""
        if state.refused or not self._on_progress:
            return
        self._look(state, self._on_progress, self._of_journey(state, instance), time_ms, sink)

    def journeys(self, state: State, time_ms: int, sink: Sink) -> None:
        """Evaluate the journey rules that name numbers of the customer's issues, which have changed."""
        if state.refused or not self._on_issues:
            return
        for instance in state.instances:
            self._look(state, self._on_issues, self._of_journey(state, instance), time_ms, sink)

    def issue(self, state: State, issue: Issue, time_ms: int, sink: Sink, *, effort: bool) -> None:
        """Evaluate the issue rules for an issue that has had an event; without new `effort` only those that name more than effort."""
        if state.refused:
            return
        self._look(state, self._on["issue"] if effort else self._on_contact, self._of_issue(state, issue), time_ms, sink)

    def customer(self, state: State, time_ms: int, sink: Sink, chapters: tuple[str, ...] = (), core: bool = True) -> None:
        """Evaluate the customer rules that name a signal of these chapters or of the core (sums over open issues and known cases,
        repetitions within the repeat window), where nothing else can have changed.
        """
        if state.refused:
            return
        entries = self._after.get((chapters, core))
        if entries is None:
            entries = self._after[chapters, core] = [entry for entry in self._on["customer"] if _is_touched(entry, chapters, core=core)]
        if entries:
            self._look(state, entries, OfCustomer(self._signals, state, CUSTOMER), time_ms, sink)

    def _of_journey(self, state: State, instance: Instance) -> Reader:
        return OfJourney(self._signals, state, instance_id(instance), instance)

    def _of_issue(self, state: State, issue: Issue) -> Reader:
        return OfIssue(self._signals, state, _ISSUE + issue.key, issue)

    def readers(self, state: State) -> list[tuple[str, Reader]]:
        """Whom rules can be about, for who explains them: the kind of each entity, and its signals."""
        found: list[tuple[str, Reader]] = [(CUSTOMER, OfCustomer(self._signals, state, CUSTOMER))]
        found += [("journey", self._of_journey(state, one)) for one in state.instances]
        found += [("issue", self._of_issue(state, one)) for one in state.issues.values()]
        return found

    def _look(self, state: State, entries: Sequence[EntityRule], reader: Reader, t: int, sink: Sink) -> None:
        for entry in entries:
            if _holds(entry, reader):
                self._hold(state, entry, reader, t, sink)
            elif state.episodes:
                self._hold_no_longer(state, entry, reader, t, sink)

    def _hold_no_longer(self, state: State, entry: EntityRule, reader: Reader, t: int, sink: Sink) -> None:
        key = _key(entry, reader)
        episode = state.episodes.get(key)
        if episode is None:
            return
        episode.waiting = False
        if episode.firing:
            episode.signals = _shown(entry, reader)
            self._end(state, key, episode, t, sink)

    def _hold(self, state: State, entry: EntityRule, reader: Reader, t: int, sink: Sink) -> None:
        key, entity = _key(entry, reader), reader.entity(entry.sources)
        episode = state.episodes.get(key)
        if episode is None:
            if len(state.episodes) >= self._limit and not self._make_room(state, sink):
                return
            episode = state.episodes[key] = Episode(entry.rule.id, reader.id, state.pruned, entity.journey)
        episode.expires = entity.expires
        if episode.firing and all(episode.signals.get(name) == reader[name] for name in entry.names):
            return
        was_firing = episode.firing
        if not was_firing and not _begin(entry, episode, t):
            return
        episode.signals = _shown(entry, reader)
        if entity.causes or not was_firing:  # nobody keeps the events of an issue that is over: then those that it fired with stay
            episode.causes, episode.cause_count = list(entity.causes), max(entity.cause_count, len(entity.causes))
        sink.transition("amended" if was_firing else "firing", key, episode, t)

    def wake(self, state: State, key: str, episode: Episode, due: int, sink: Sink) -> None:
        """The time that held a firing back is over: evaluate again, and forget what has nothing to wait for."""
        entry = self.rules.get(episode.rule)
        if episode.waiting and entry is not None and not state.refused:
            episode.waiting = False
            self._again(state, entry, episode.entity, due, sink)
        if not episode.firing and episode.wakes_at <= due:
            self._forget(state, key, episode)

    def _again(self, state: State, entry: EntityRule, entity: str, due: int, sink: Sink) -> None:
        for reader in [reader for kind, reader in self.readers(state) if kind == entry.rule.on and reader.id == entity]:
            self._look(state, [entry], reader, due, sink)

    def _make_room(self, state: State, sink: Sink) -> bool:
        """Forget the alert whose cooldown ends first; False if all are in force, and no more can be."""
        sink.note("cut_episodes")
        cooling = [(episode.cooldown_until, key) for key, episode in state.episodes.items() if not episode.firing]
        if cooling:
            key = min(cooling)[1]
            self._forget(state, key, state.episodes[key])
        return bool(cooling)

    def end_changed(self, state: State, before: EpisodeFold, time_ms: int, sink: Sink) -> None:
        """Alerts of rules that are no longer defined, or are about others now, end, and of those that were drafts or now are: told and
        untold never mix. Of the others, what does not hold any more ends: nothing that their rules name now may ever change again.
        """
        for key, episode in list(state.episodes.items()):
            now, was = self.rules.get(episode.rule), before.rules.get(episode.rule)
            if now is not None and was is not None and now.rule.on == was.rule.on:
                was_firing = episode.firing
                if was_firing and now.rule.mode != was.rule.mode:
                    self._end(state, key, episode, time_ms, sink)
                _hold_back_anew(episode, now, was, time_ms)
                if was_firing and episode.firing:
                    self._again(state, now, episode.entity, time_ms, sink)
                continue
            if episode.firing:
                self._end(state, key, episode, time_ms, sink)
            if key in state.episodes:
                self._forget(state, key, episode)

    def end_entity(self, state: State, entity: str, time_ms: int, sink: Sink) -> None:
        """Nothing is left of the entity: every alert about it ends, and what waits does not wait for another one of its name."""
        for key, episode in list(state.episodes.items()):
            if episode.entity == entity:
                episode.waiting = False
                if episode.firing:
                    self._end(state, key, episode, time_ms, sink)

    def end_all(self, state: State, time_ms: int, sink: Sink) -> None:
        """The customer refused analytics: every personal alert ends."""
        for key, episode in list(state.episodes.items()):
            if episode.firing:
                self._end(state, key, episode, time_ms, sink)

    def _end(self, state: State, key: str, episode: Episode, t: int, sink: Sink) -> None:
        episode.firing = False
        # A deadline that new definitions move may lie before the firing.
        sink.transition("resolved", key, episode, max(t, episode.since))
        if episode.wakes_at <= t:
            self._forget(state, key, episode)

    def _forget(self, state: State, key: str, episode: Episode) -> None:
        """Nothing to wait for. Numbers go on from the greatest ever used, so that no episode's identity comes twice."""
        state.pruned = max(state.pruned, episode.n)
        del state.episodes[key]


def _begin(entry: EntityRule, episode: Episode, t: int) -> bool:
    """Let it fire, or wait until that is allowed; says whether it fires."""
    rule = entry.rule
    allowed = held_until(t, episode.cooldown_until, episode.fired, rule.max_per_day, entry.quiet)
    if allowed > t:
        episode.waiting, episode.cooldown_until = True, allowed
        return False
    episode.n += 1
    episode.firing, episode.waiting, episode.since, episode.cooldown_until = True, False, t, t + rule.cooldown
    if rule.max_per_day:
        episode.fired = [*episode.fired, t][-rule.max_per_day :]
    return True


def _hold_back_anew(episode: Episode, now: EntityRule, was: EntityRule, t: int) -> None:
    """What holds firings back is that of the definitions in force; what a draft fired, of which nobody was told, holds nothing back."""
    if was.rule.mode == "draft" != now.rule.mode:
        episode.cooldown_until, episode.fired = 0, []
    elif now.holding_back != was.holding_back:
        episode.cooldown_until = episode.since + now.rule.cooldown
        fired = episode.fired or ([episode.since] if episode.since else [])
        episode.fired = fired[-now.rule.max_per_day :] if now.rule.max_per_day else []
    else:
        return
    if episode.waiting:  # is looked at after what happens at this moment: that may be the end of its condition
        episode.cooldown_until = max(episode.cooldown_until, t + 1)


def _is_touched(entry: EntityRule, chapters: Sequence[str], *, core: bool) -> bool:
    """Whether a rule names what may have changed."""
    named = {chapter_of_signal(name) for name in entry.rule.names}
    return (core and (not named or None in named)) or not named.isdisjoint(chapters)


def instance_id(instance: Instance) -> str:
    """The entity id of a journey instance."""
    return f"journey:{instance.journey}:{instance.key}"


def _key(entry: EntityRule, reader: Reader) -> str:
    return entry.rule.id + "\x1f" + reader.id


def _shown(entry: EntityRule, reader: Reader) -> dict[str, language.Value]:
    """What an alert carries: the numbers put into the condition, and those the rule shows besides."""
    return {name: reader[name] for name in sorted(entry.names.union(entry.rule.show))}


def _holds(entry: EntityRule, reader: Reader) -> bool:
    try:
        return bool(entry.holds(reader))
    except language.NO_VALUE:  # then it does not hold
        return False
