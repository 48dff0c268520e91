"""From episodes to alert records: numbering of transitions, and what changed when events were folded again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from streamer.alerts.alert import (
    SCHEMA_VERSION,
    Alert,
    Entity,
    Evidence,
    Measured,
    Moment,
    RuleRef,
    State,
)
from streamer.alerts.identity import alert_id_of, episode_id_of, fingerprint_of
from streamer.alerts.links import link
from streamer.alerts.times import rfc3339
from streamer.definitions import Rule
from streamer.journeys.customer import Customer, Happened
from streamer.journeys.episodes import EntityRule
from streamer.journeys.row import Emitted
from streamer.journeys.state import Episode, unpack_cause
from streamer.journeys.state import State as CustomerState

# An alert that nothing ends by itself may be forgotten by consumers after this long: the longest span in the default definitions.
_EXPIRES_DEFAULT_MS = 7 * 86_400_000


# Episodes of a customer whose transitions are remembered; the limit of episodes at one time is well below.
EMITTED_MAX = 1_000


class Place(NamedTuple):
    """Where the causing events lie, and the dashboard of those who look at them."""

    topic: str
    partition: int
    dashboard: str = ""


class Transition(NamedTuple):
    """A transition that has to be told."""

    state: State
    episode_key: str
    episode: Episode


def differences(customer: Customer, before: CustomerState, after: CustomerState, happened: Happened) -> Iterator[Transition]:
    """What consumers must be told so that what they hold in force is what `after` holds in force. Order: by key.

    happened: the firings that there have been in `after`; what was told last of a key and is not among them is retracted, also if it
    has ended meanwhile.
    """
    for key in sorted(customer.emitted):
        told = customer.emitted[key]
        if not told.in_force:
            if not told.taken_back and not happened.has(key, told.n):
                yield Transition("retracted", key, _last_known(before, key, told))
            continue
        now = after.episodes.get(key)
        if now is not None and now.firing and now.n == told.n:
            if now.signals != told.signals:
                yield Transition("amended", key, now)
        elif (key, told.n) in happened.firings:
            yield Transition("resolved", key, now or _last_known(before, key, told))
        else:
            yield Transition("retracted", key, _last_known(before, key, told))
    for key in sorted(after.episodes):
        now = after.episodes[key]
        said = customer.emitted.get(key)
        if now.firing and (said is None or said.n != now.n or not said.in_force):
            yield Transition("firing", key, now)


def _last_known(before: CustomerState, key: str, told: Emitted) -> Episode:
    known = before.episodes.get(key)
    if known is not None:
        return known
    rule, _, entity = key.partition("\x1f")
    episode = Episode(rule, entity, told.n, "")
    episode.signals = told.signals
    return episode


def tell(customer: Customer, transition: Transition, rule: Rule | None) -> Emitted:
    """Note that a transition goes out, or would but for the rule being a draft when it fired; `n` and `transitions` number it.

    rule: None of one that nobody knows any more.
    """
    episode = transition.episode
    told = customer.emitted.get(transition.episode_key)
    n = told.n if told is not None and transition.state in ("resolved", "retracted") else episode.n
    if told is None:
        told = customer.emitted[transition.episode_key] = Emitted(n, 0, False, {}, n)
    elif told.n != n:
        # Folded again, an earlier episode may be in force once more, and its first transitions were told: they are numbered on.
        newest, highest = max(told.newest, told.n), max(told.highest, told.transitions)
        told = Emitted(n, 0 if n > newest else highest, False, {}, max(n, newest), highest)
        customer.emitted[transition.episode_key] = told
    if len(customer.emitted) > EMITTED_MAX:
        over = [key for key, kept in customer.emitted.items() if not kept.in_force and kept is not told]
        for key in over[: EMITTED_MAX // 4]:
            del customer.emitted[key]
    if transition.state == "firing" and rule is not None:
        told.muted, told.severity = rule.mode == "draft", rule.severity
    told.transitions += 1
    told.taken_back = transition.state == "retracted"
    told.in_force = transition.state in ("firing", "amended")
    told.signals = dict(episode.signals)
    return told


def alert_of(
    customer: Customer, entry: EntityRule, transition: Transition, told: Emitted, place: Place, event_ms: int, detected_ms: int
) -> Alert:
    """The alert record of a transition. event_ms: when it happened; detected_ms: arrival of the cause, or the clock."""
    rule, episode, topic, partition = entry.rule, transition.episode, place.topic, place.partition
    canonical_id = customer.key.decode(errors="replace")
    fingerprint = fingerprint_of(rule.id, canonical_id, episode.entity)
    episode_id = episode_id_of(f"{fingerprint}.{customer.born}", told.n)
    kind, _, rest = episode.entity.partition(":")
    expires = episode.expires or event_ms + _EXPIRES_DEFAULT_MS
    return Alert(
        alert_id=alert_id_of(episode_id, told.transitions),
        episode_id=episode_id,
        fingerprint=fingerprint,
        schema_version=SCHEMA_VERSION,
        state=transition.state,
        severity=told.severity or rule.severity,
        rule=RuleRef(id=rule.id, version=rule.version, text=rule.when),
        entity=Entity(
            canonical_id=canonical_id,
            journey=episode.journey,
            journey_id=rest.partition(":")[2] if kind == "journey" else "",
            issue_id=rest.partition(":")[2] if kind == "issue" else "",
        ),
        metric=Measured(name=rule.id, signals=dict(episode.signals)),
        evidence=[
            Evidence(id_, type_, rfc3339(time), topic, partition, offset) for time, offset, type_, id_ in map(unpack_cause, episode.causes)
        ],
        evidence_count=episode.cause_count,
        timeline=_timeline(episode, transition.state, event_ms),
        why=_why(rule, transition, canonical_id, kind, rest),
        counterfactual=entry.counterfactual(episode.signals) if transition.state in ("firing", "amended") else "",
        suggested_action=rule.action,
        owner_team=rule.owner_team,
        runbook=rule.runbook,
        dashboard=link(rule.dashboard or place.dashboard, event_ms, event_ms, {}),
        event_time=rfc3339(event_ms),
        detected_at=rfc3339(detected_ms),
        expires_at=rfc3339(expires),
    )


def _timeline(episode: Episode, state: State, event_ms: int) -> list[Moment]:
    """When it fired, as far as that is known, and now."""
    began = [Moment(state="firing", time=rfc3339(episode.since))] if state != "firing" and episode.since else []
    return [*began, Moment(state=state, time=rfc3339(event_ms))]


def _why(rule: Rule, transition: Transition, customer: str, kind: str, rest: str) -> str:
    whom = {"journey": f"The {rest.partition(':')[0]} {rest.partition(':')[2]} of customer {customer}",
            "issue": f"An issue of customer {customer}"}.get(kind, f"Customer {customer}")  # fmt: skip
    shown = {name: value for name, value in transition.episode.signals.items() if name != "journey"}
    numbers = ", ".join(f"{name} = {str(value).lower() if isinstance(value, bool) else value}" for name, value in shown.items())
    if transition.state == "retracted":
        return f"{whom} did not meet {rule.when!r} after all: events that arrived late show it."
    if transition.state == "resolved":
        return f"{whom} no longer meets {rule.when!r}, or has ended; last seen with {numbers}."
    return f"{whom} {'now' if transition.state == 'firing' else 'by now'} has {numbers}, which meets {rule.when!r}."
