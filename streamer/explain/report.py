"""What an explanation says, as one JSON object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from streamer.alerts.times import rfc3339
from streamer.explain.find import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.alerts.alert import Alert
    from streamer.definitions import Definitions
    from streamer.explain.customer import CustomerStory, Happened
    from streamer.explain.series import Moment, Reading, RuleStory, SeriesVerdict
    from streamer.explain.signals import Change
    from streamer.explain.verdicts import Verdict
    from streamer.rules.explain import Condition

# Entities that have ended, beyond those that are there; and series of a rule.
ENDED_MAX: Final = 20
SERIES_MAX: Final = 20


def of_customer(story: CustomerStory, definitions: Definitions, *, id_: str = "", about: Alert | None = None) -> dict[str, Any]:
    """Of a customer; with `id_` only what has to do with that journey or issue, with `about` what that alert is of."""
    happened = [one for one in story.happened if not id_ or _concerns(one, id_)]
    verdicts = [one for one in story.verdicts() if (not id_ or _has_id(one.entity, id_)) and (about is None or is_about(about, one.entity))]
    if about is not None:
        verdicts.sort(key=lambda one: one.rule.id != about.rule.id)
    there = [one for one in verdicts if one.status != "ended"]
    ended = [one for one in verdicts if one.status == "ended"]
    return {
        "customer": story.key.decode(errors="replace"),
        "partition": story.partition,
        "accounts": list(story.accounts),
        "at": rfc3339(story.clock_ms),
        "definitions": {"revision": definitions.revision, "digest": definitions.digest},
        "alert": None if about is None else msgspec.to_builtins(about),
        "refused": story.state.refused,
        "timeline": [_happened(one) for one in happened],
        "rules": [_verdict(one) for one in [*there, *ended[:ENDED_MAX]]],
        "ended_left_out": max(0, len(ended) - ENDED_MAX),
    }


def of_rule(story: RuleStory, definitions: Definitions, at_ms: int | None, about: Alert | None = None) -> dict[str, Any]:
    """Of an aggregate rule: its series, those that fire first, then the nearest."""
    return of_rules([story], definitions, at_ms, about)


def of_rules(stories: Sequence[RuleStory], definitions: Definitions, at_ms: int | None, about: Alert | None = None) -> dict[str, Any]:
    """Of several aggregate rules, one after the other."""
    verdicts = [verdict for story in stories for verdict in story.verdicts()]
    latest = max((one.as_of_ms for one in verdicts), default=0)
    return {
        "at": rfc3339(latest if at_ms is None else at_ms),
        "definitions": {"revision": definitions.revision, "digest": definitions.digest},
        "alert": None if about is None else msgspec.to_builtins(about),
        "told": [
            {"time": told.event_time, "state": told.state, "series": told.series, "alert_id": told.alert_id, "why": told.why}
            for story in stories
            for told in story.told
            if at_ms is None or told.event_time <= rfc3339(at_ms)
        ],
        "series": [_series(one) for one in verdicts[:SERIES_MAX]],
        "series_left_out": max(0, len(verdicts) - SERIES_MAX),
        "series_excluded": sum(story.excluded for story in stories),
    }


def is_about(about: Alert, entity: str) -> bool:
    """Whether an alert is about an entity; an issue's id in the state says besides what kind of id it is."""
    issue_id = "" if about.entity is None else about.entity.issue_id
    return entity.startswith("issue:") and _has_id(entity, issue_id) if issue_id else entity == entity_of(about)


def entity_of(about: Alert) -> str:
    """Whom an alert is about: `customer`, `journey:ID:KEY` or `issue:KEY`."""
    entity = about.entity
    assert entity is not None  # noqa: S101  asked of entity alerts only
    if entity.journey_id:
        return f"journey:{entity.journey}:{entity.journey_id}"
    return f"issue:{entity.issue_id}" if entity.issue_id else "customer"


def _concerns(one: Happened, id_: str) -> bool:
    if one.event is not None and names(one.event, id_):
        return True
    if one.told is not None:
        return _has_id(entity_of(one.told), id_)
    return any(_has_id(change.entity, id_) for change in one.changes)


def _has_id(entity: str, id_: str) -> bool:
    return entity.endswith(f":{id_}")


def _happened(one: Happened) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": one.kind, "time": rfc3339(one.time_ms)}
    if one.told is not None:
        alert = one.told
        return told | {
            "state": alert.state, "rule": alert.rule.id, "entity": entity_of(alert), "alert_id": alert.alert_id,
            "episode_id": alert.episode_id, "why": alert.why,
        }  # fmt: skip
    if one.kind == "event":
        told |= {"arrival": None if one.arrival_ms is None else rfc3339(one.arrival_ms), "offset": one.offset, "outcome": one.outcome}
    if one.event is not None:
        told |= {"event_id": one.event.id, "type": one.event.type, "channel": one.event.channel}
    return told | {"changes": [_change(change) for change in one.changes]}


def _change(change: Change) -> dict[str, Any]:
    return {"entity": change.entity, "what": change.what, "signals": {name: list(values) for name, values in change.signals.items()}}


def _condition(condition: Condition) -> dict[str, Any]:
    return condition._asdict()


def _verdict(one: Verdict) -> dict[str, Any]:
    return {
        "rule": one.rule.id,
        "entity": one.entity,
        "status": one.status,
        "when": one.rule.when,
        "as_of": rfc3339(one.as_of_ms),
        "since": None if one.since_ms is None else rfc3339(one.since_ms),
        "cooldown_until": None if one.until_ms is None else rfc3339(one.until_ms),
        "conditions": [_condition(condition) for condition in one.conditions],
        "counterfactual": one.counterfactual,
    }


def _series(one: SeriesVerdict) -> dict[str, Any]:
    return {
        "rule": one.rule.id,
        "series": dict(one.series),
        "status": one.status,
        "when": one.rule.when,
        "min_n": one.min_n,
        "as_of": rfc3339(one.as_of_ms),
        "since": None if one.since_ms is None else rfc3339(one.since_ms),
        "windows": [_window(reading, conditions) for reading, conditions in one.windows],
        "counterfactual": one.counterfactual,
        "moments": [_moment(moment) for moment in one.moments],
    }


def _window(reading: Reading, conditions: Sequence[Condition] = ()) -> dict[str, Any]:
    told: dict[str, Any] = {"window": reading.window, "outcome": reading.outcome.name.lower(), **reading.estimate._asdict()}
    return told | ({"conditions": [_condition(condition) for condition in conditions]} if conditions else {})


def _moment(moment: Moment) -> dict[str, Any]:
    return {"time": rfc3339(moment.time_ms), "status": moment.status, "windows": [_window(reading) for reading in moment.readings]}
