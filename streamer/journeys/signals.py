"""Where the signals that entity rules name stand in a customer's state (`language.ENTITY_NAMES`)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, final

from streamer.journeys.chapter import NOTHING, Chapter
from streamer.journeys.state import Instance, Issue, State, pack_cause
from streamer.metrics.catalogue import chapter_of_signal
from streamer.rules.language import Value
from streamer.touchpoints.money import exponent_of

if TYPE_CHECKING:
    from streamer.definitions import Definitions

_WHO: Final = ("channel", "platform", "segment", "region")

_JOURNEY_FIELDS: Final = {
    "journey": "journey", "friction": "friction", "step": "step", "channel_switches": "switches", "repeat_contacts": "repeats",
    "transfers": "transfers", "cold_transfers": "cold",
}  # fmt: skip
_ISSUE_FIELDS: Final = {
    "contacts": "contacts", "channel_switches": "switches", "repeat_contacts": "repeats", "transfers": "transfers",
    "cold_transfers": "cold", "severity": "severity", "reason": "reason",
}  # fmt: skip
_CUSTOMER_SIGNALS: Final[dict[str, Callable[[State], Value]]] = {
    "repeat_contacts": lambda state: len(state.repeats),
    "contacts": lambda state: sum(issue.contacts for issue in state.issues.values()),
    "channel_switches": lambda state: sum(issue.switches for issue in state.issues.values()),
    "recent_switches": lambda state: sum(len(issue.recent_switches) for issue in state.issues.values()),
    "transfers": lambda state: sum(issue.transfers for issue in state.issues.values()),
    "cold_transfers": lambda state: sum(issue.cold for issue in state.issues.values()),
    "effort_index": lambda state: sum(issue.effort_tenths for issue in state.issues.values()) / 10,
    "handoffs": lambda state: sum(case.handoffs for case in state.cases.values()),
    "ping_pongs": lambda state: sum(case.ping_pongs for case in state.cases.values()),
    "ping_pongs_of_case": lambda state: max([case.ping_pongs for case in state.cases.values()], default=0),
}
# Of journeys, what they share with the customer.
OF_CUSTOMER: Final = {"customer_contacts": "contacts", "customer_switches": "channel_switches"}
# Of the core's signals those whose events cases keep; those of all others are the issues'.
_OF_CASES: Final = frozenset({"handoffs", "ping_pongs", "ping_pongs_of_case"})


class Entity(NamedTuple):
    """Whom an alert is about: evidence, and when nothing is left of it (0: no fixed time)."""

    causes: list[bytes]
    cause_count: int
    expires: int
    journey: str = ""


class Sources(NamedTuple):
    """Who keeps the events that a condition on a customer is about: these chapters, the issues, the cases. repeats: it is about
    repetitions, of which nothing is left at a fixed time.
    """

    chapters: tuple[str, ...]
    issues: bool
    cases: bool
    repeats: bool


def sources_of(names: frozenset[str]) -> Sources:
    """Of a condition that uses these names. Without any it is looked at with whatever the core sees, and that is its evidence."""
    core = frozenset(name for name in names if chapter_of_signal(name) is None)
    chapters = {chapter for name in names if (chapter := chapter_of_signal(name)) is not None}
    issues, cases = bool(core - _OF_CASES), bool(core & _OF_CASES)
    return Sources(tuple(sorted(chapters)), issues or not names, cases or not names, "repeat_contacts" in names)


class Signals:
    """Reads signals and evidence out of states. chapters: by the name of their signals, as far as rules name any."""

    def __init__(self, definitions: Definitions, dimensions: Sequence[str], chapters: Mapping[str, Chapter]) -> None:
        self._where = {name: dimensions.index(name) for name in _WHO if name in dimensions}
        self._effort = definitions.effort
        self._repeat_within = definitions.contacts.repeat_within
        self._evidence = definitions.limits.evidence_per_alert
        self._chapters = chapters

    def journey(self, state: State, instance: Instance, name: str) -> Value:
        """Of a journey instance."""
        if name in OF_CUSTOMER:
            return _CUSTOMER_SIGNALS[OF_CUSTOMER[name]](state)
        if name == "abandoned":
            return instance.abandoned_at > 0
        if name == "value":
            return instance.value_minor / float(10 ** exponent_of(instance.currency))
        if name == "effort_index":
            effort, warm = self._effort, instance.transfers - instance.cold
            points: float = (
                instance.repeats * effort.repeat_contact + instance.switches * effort.channel_switch
                + instance.cold * effort.cold_transfer + warm * effort.warm_transfer + instance.ping_pongs * effort.ping_pong
                + instance.found_tenths / 10
            )  # fmt: skip
            return points
        if name in _WHO:
            return instance.cell.values[self._where[name]]
        value: Value = getattr(instance, _JOURNEY_FIELDS[name])
        return value

    def issue(self, issue: Issue, name: str) -> Value:
        """Of an issue."""
        if name == "effort_index":
            return issue.effort_tenths / 10
        if name == "recent_switches":
            return len(issue.recent_switches)
        if name in _WHO:
            return issue.cell.values[self._where[name]]
        value: Value = getattr(issue, _ISSUE_FIELDS[name])
        return value

    def customer(self, state: State, name: str) -> Value:
        """Of the customer."""
        chapter = self._chapters.get(name)
        return _CUSTOMER_SIGNALS[name](state) if chapter is None else chapter.signal(state.kept.get(chapter.id, NOTHING), name)

    def of_customer(self, state: State, sources: Sources) -> Entity:
        """The customer as whom an alert is about that comes of a condition with these sources."""
        lists: list[list[bytes]] = []
        count = 0
        for name in sources.chapters:
            kept = state.kept.get(name)
            if kept is not None:
                lists.append(kept.causes)
                count += kept.cause_count
        if sources.issues:
            for issue in state.issues.values():
                lists.append(issue.causes)
                count += issue.cause_count
        if sources.cases:
            for case in state.cases.values():
                lists.append(case.causes)
                count += case.cause_count
        causes = {cause for some in lists for cause in some}
        # What two of them keep is one event. Of what they had no room for nobody knows whether it is.
        count -= sum([len(some) for some in lists]) - len(causes)
        expires = state.repeats[-1] + self._repeat_within if sources.repeats and state.repeats else 0
        return Entity(sorted(causes)[-self._evidence :], count, expires)


class Reader:
    """One entity's signals, each looked up when a rule asks for it: most rules need one of theirs to see that they do not hold."""

    def __init__(self, signals: Signals, state: State, id_: str) -> None:
        self.id = id_
        self._signals = signals
        self._state = state

    @abstractmethod
    def __getitem__(self, name: str) -> Value:
        """The value of a signal."""

    @abstractmethod
    def entity(self, sources: Sources) -> Entity:
        """What an alert is about. sources: of the condition it comes of; only a customer is more than what a condition is about."""


@final
class OfJourney(Reader):
    """Of a journey instance."""

    def __init__(self, signals: Signals, state: State, id_: str, instance: Instance) -> None:
        super().__init__(signals, state, id_)
        self._instance = instance

    def __getitem__(self, name: str) -> Value:
        """The value of a signal."""
        return self._signals.journey(self._state, self._instance, name)

    def entity(self, sources: Sources) -> Entity:
        """The journey instance."""
        instance = self._instance
        last = pack_cause(instance.last)
        causes = instance.causes if last in instance.causes else [*instance.causes, last]
        expires = instance.due if instance.abandoned_at else instance.due + instance.recoverable_ms
        return Entity(causes, instance.cause_count, expires, instance.journey)


@final
class OfIssue(Reader):
    """Of an issue."""

    def __init__(self, signals: Signals, state: State, id_: str, issue: Issue) -> None:
        super().__init__(signals, state, id_)
        self._issue = issue

    def __getitem__(self, name: str) -> Value:
        """The value of a signal."""
        return self._signals.issue(self._issue, name)

    def entity(self, sources: Sources) -> Entity:
        """The issue."""
        return Entity(self._issue.causes, self._issue.cause_count, self._issue.due)


@final
class OfCustomer(Reader):
    """Of the customer."""

    def __getitem__(self, name: str) -> Value:
        """The value of a signal."""
        return self._signals.customer(self._state, name)

    def entity(self, sources: Sources) -> Entity:
        """The customer."""
        return self._signals.of_customer(self._state, sources)
