"""One alert for many series: an outage is one alert with its slices, not a hundred."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.rules.evaluate import Episode, Transition

if TYPE_CHECKING:
    from streamer.rollup.plans import Case, Plan

# Beside the rule's id, in the identity of a group's state.
_MARK = "\x1fgroup"


class Group:
    """The series of a rule that share the values of its `group_by`: it fires while any of them does. `labels`: those values."""

    def __init__(self, plan: Plan, values: tuple[str, ...]) -> None:
        self.plan = plan
        self.by = plan.rule.group_by or ()
        self.values = values
        self.labels = dict(zip(self.by, values, strict=True))
        self.cases: list[Case] = []
        self.episode = Episode()
        self.dirty = False

    @property
    def identity(self) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """As of a series, with another name."""
        return (self.plan.rule.id + _MARK, self.by, self.values)

    @property
    def is_draft(self) -> bool:
        """Whether nobody is told."""
        return self.plan.rule.mode == "draft"

    @property
    def is_of_another_mode(self) -> bool:
        """Whether it fires, and somebody was told who would not be now, or the other way round."""
        return self.episode.status == "firing" and self.episode.muted != self.is_draft

    def firing(self) -> list[Case]:
        """The series that fire."""
        return [case for case in self.cases if case.episode.status == "firing"]

    def step(self, firing: list[Case], tick: int) -> Transition | None:
        """A series has begun or ended to fire at `tick`."""
        episode = self.episode
        if not firing and episode.status != "firing":
            return None  # began and ended within one tick
        self.dirty = True
        if not firing:
            episode.status = "ok"
            episode.transitions += 1
            return Transition("resolved", "all of its series")
        if episode.status == "firing":
            episode.transitions += 1
            return Transition("amended", "")
        episode.status, episode.transitions = "firing", 1
        episode.firings += 1
        episode.fired = tick
        episode.muted, episode.severity = self.is_draft, self.plan.rule.severity
        return Transition("firing", "")


def values_of(case: Case) -> tuple[str, ...]:
    """A series' values of its rule's `group_by`."""
    return tuple(case.series[name] for name in case.plan.rule.group_by or ())


def rule_of(identity: str) -> str:
    """The rule's id, of a series' or a group's state."""
    return identity.removesuffix(_MARK)
