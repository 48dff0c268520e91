"""One alert from its cause to its end, as consumers of the stream have seen it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from streamer.alerts import tail
from streamer.alerts.times import milliseconds
from streamer.commands.alerts import about, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamer.alerts.alert import Alert
    from streamer.alerts.publisher import AlertStore

# Of the stream, what is looked at.
LOOKED_AT: Final = 5_000
# The one that a visitor understands without knowing the product: somebody left because something failed, and came back.
FAVOURITE: Final = "abandoned-with-friction"


class Story(NamedTuple):
    """The transitions of an episode that has begun and ended, in their order."""

    transitions: list[Alert]

    @property
    def began(self) -> Alert:
        """The firing."""
        return self.transitions[0]

    @property
    def ended(self) -> Alert:
        """How it ended."""
        return self.transitions[-1]

    @property
    def rank(self) -> tuple[bool, int, str]:
        """The greater, the better it tells."""
        return (self.began.rule.id == FAVOURITE, min(self.began.evidence_count, 4), self.ended.event_time)


async def find(store: AlertStore) -> Story | None:
    """The episode that tells most, if any has ended."""
    return best(entry.alert for entry in await tail.last(store.client, store.keys, LOOKED_AT))


def best(alerts: Iterable[Alert]) -> Story | None:
    """Of transitions in the stream's order."""
    episodes: dict[str, list[Alert]] = {}
    for alert in alerts:
        episodes.setdefault(alert.episode_id, []).append(alert)
    whole = [Story(told) for told in episodes.values() if told[0].state == "firing" and told[-1].state == "resolved" and told[0].evidence]
    return max(whole, key=lambda story: story.rank, default=None)


def lines(story: Story, partitions: int) -> list[str]:
    """For people, one line each. partitions: of the source topic, which the command has to be told."""
    began = story.began
    told = [f"one alert from its cause to its end: {began.rule.id}, {printable(about(began))}"]
    told += [f"  {_at(event.time)}  {event.type:<24} {event.topic}[{event.partition}] offset {event.offset}" for event in began.evidence]
    for alert in story.transitions:
        told.append(f"  {_at(alert.event_time)}  {alert.state}: {printable(alert.why)}")
        if alert is began:
            told += [
                f"            {text}" for text in (began.counterfactual, f"To do: {began.suggested_action}. See {began.runbook}") if text
            ]
    command = f"STREAMER_PARTITIONS={partitions} .venv/bin/streamer explain {began.alert_id} --topic"
    return [*told, f"  how it came to that, in full, while this runs: {command}"]


def summary(story: Story | None) -> dict[str, Any] | None:
    """The same in numbers."""
    if story is None:
        return None
    lasted_ms = milliseconds(story.ended.event_time) - milliseconds(story.began.event_time)
    return {
        "rule": story.began.rule.id,
        "alert_id": story.began.alert_id,
        "evidence": story.began.evidence_count,
        "states": [alert.state for alert in story.transitions],
        "lasted_seconds": lasted_ms / 1000,
    }


def _at(time: str) -> str:
    return time[11:19]
