"""From transitions to firings: when each episode began and ended, and who it was about."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from streamer.alerts.alert import ENDS
from streamer.alerts.times import milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from streamer.alerts.alert import Alert


class Span(NamedTuple):
    """Event times in milliseconds since the epoch, from inclusive, to exclusive; None is open."""

    from_ms: int | None = None
    to_ms: int | None = None

    def has(self, time_ms: int) -> bool:
        """Whether a time is in it."""
        return (self.from_ms is None or time_ms >= self.from_ms) and (self.to_ms is None or time_ms < self.to_ms)


class Firing(NamedTuple):
    """One episode from `firing` to its end.

    start_ms: of the condition, event time; told_ms: when it was told; end_ms, ended (`resolved` or `retracted`): None while it lasts.
    about: the entity's ids or the slice; metric: of an aggregate rule. transitions: of this episode, by their `alert_id`.
    """

    rule: str
    severity: str
    fingerprint: str
    episode_id: str
    about: Mapping[str, str]
    metric: str | None
    start_ms: int
    told_ms: int
    end_ms: int | None
    ended: str | None
    why: str
    transitions: tuple[str, ...]


def firings_of(alerts: Iterable[Alert]) -> list[Firing]:
    """The episodes in the order of their start. Transitions of one fingerprint are in the order in which they were told."""
    done: list[Firing] = []
    lasting: dict[str, Firing] = {}
    last: dict[str, int] = {}
    for told in alerts:
        known = lasting.get(told.episode_id)
        if told.state == "firing" and known is None:
            lasting[told.episode_id] = _begun(told)
        elif known is not None:
            known = lasting[told.episode_id] = known._replace(transitions=(*known.transitions, told.alert_id))
            if told.state in ENDS:
                del lasting[told.episode_id]
                last[told.episode_id] = len(done)
                done.append(known._replace(end_ms=milliseconds(told.event_time), ended=told.state))
        elif told.state == "retracted" and told.episode_id in last:
            # It had ended, and an event that came late shows that it should never have begun.
            place = last[told.episode_id]
            done[place] = done[place]._replace(ended="retracted", transitions=(*done[place].transitions, told.alert_id))
    return sorted([*done, *lasting.values()], key=lambda f: (f.start_ms, f.rule, f.fingerprint, f.transitions))


def about_of(told: Alert) -> dict[str, str]:
    """Whom or what an alert is about: the entity's ids that there are, or the slice or account."""
    if (entity := told.entity) is None or entity.account_id:
        return dict(told.series or {})
    ids = {
        "customer": entity.canonical_id,
        "journey": entity.journey,
        "journey_id": entity.journey_id,
        "issue_id": entity.issue_id,
    }
    return {name: value for name, value in ids.items() if value}


def _begun(told: Alert) -> Firing:
    return Firing(
        told.rule.id,
        told.severity,
        told.fingerprint,
        told.episode_id,
        about_of(told),
        None if told.entity is not None and told.entity.canonical_id else told.metric.name,
        milliseconds(told.event_time),
        milliseconds(told.detected_at),
        None,
        None,
        told.why,
        (told.alert_id,),
    )
