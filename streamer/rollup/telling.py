"""The alert records of aggregate rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from streamer.alerts import alert, identity
from streamer.alerts.links import link
from streamer.alerts.times import rfc3339
from streamer.deltas import TICK_MS
from streamer.metrics.counters import ACCOUNT
from streamer.metrics.metric import SAMPLED
from streamer.rules.explain import explainer_of
from streamer.rules.language import AGGREGATE_NAMES

if TYPE_CHECKING:
    from streamer.definitions import Rule
    from streamer.rollup.estimates import Estimate
    from streamer.rollup.plans import Case, Plan
    from streamer.rules.evaluate import Episode, Transition

# When a consumer may forget an episode of which nobody said that it ended [H]; while its condition goes on holding it is told again daily.
EXPIRES_AFTER_MS: Final = 7 * 86_400_000
# Series that a group's alert lists.
CHILDREN_MAX: Final = 20


def of_case(case: Case, transition: Transition, now_ms: int, estimates: Sequence[Estimate], usual: float | None) -> alert.Alert:
    """A rule on one series."""
    plan = case.plan
    numbers = _numbers(plan, estimates)
    where = _where(case.series)
    why = f"{plan.metric.id} ({where}) is {numbers}: {_said(plan, transition)}"
    otherwise = _counterfactual(case, estimates, usual) if transition.state == "firing" else ""
    return _record(plan, case.series, case.episode, transition, now_ms, _measured(plan, estimates[plan.longest], usual), why, otherwise)


def of_group(
    plan: Plan, labels: Mapping[str, str], episode: Episode, transition: Transition, now_ms: int,
    firing: Sequence[tuple[Case, list[Estimate], float | None]],
) -> alert.Alert:  # fmt: skip
    """Several series of one rule; the numbers are those of the one with the largest sample."""
    if not firing:
        why = f"no series of {plan.metric.id} ({_where(labels)}) fires any more."
        return _record(plan, labels, episode, transition, now_ms, alert.Measured(name=plan.metric.id), why)
    ranked = sorted(firing, key=lambda one: (-one[1][plan.longest].n, one[0].values))
    children = [_child(case, estimates[plan.longest]) for case, estimates, _ in ranked[:CHILDREN_MAX]]
    case, estimates, usual = ranked[0]
    count = f"{len(ranked)} series fire" if len(ranked) > 1 else "one series fires"
    why = (
        f"{plan.metric.id} ({_where(labels)}): {count}, the largest, {_where(case.series)}, with {_numbers(plan, estimates)}:"
        f" {_said(plan, transition)}"
    )
    measured = _measured(plan, estimates[plan.longest], usual)
    otherwise = _counterfactual(case, estimates, usual) if len(ranked) == 1 else ""
    return _record(plan, labels, episode, transition, now_ms, measured, why, otherwise, children, len(ranked))


def of_gone(rule: Rule, labels: Mapping[str, str], episode: Episode, now_ms: int) -> alert.Alert:
    """What was firing when its rule or its slice was taken out of the definitions."""
    why = f"rule {rule.id} on {_where(labels)} is not in the definitions any more."
    return _alert(rule, labels, episode, "resolved", now_ms, alert.Measured(name=rule.metric or ""), why)


def _record(
    plan: Plan, labels: Mapping[str, str], episode: Episode, transition: Transition, now_ms: int, measured: alert.Measured, why: str,
    counterfactual: str = "", children: Sequence[alert.Child] = (), children_count: int = 0,
) -> alert.Alert:  # fmt: skip
    start_ms, _ = plan.window_at(now_ms)
    return msgspec.structs.replace(
        _alert(plan.rule, labels, episode, transition.state, now_ms, measured, why),
        # A tick is decided when all sources have passed the whole of it.
        window=alert.Window(start=rfc3339(start_ms), end=rfc3339(now_ms), watermark=rfc3339(now_ms + TICK_MS)),
        children=list(children),
        children_count=children_count,
        counterfactual=counterfactual,
        suggested_action=plan.rule.action,
        owner_team=plan.rule.owner_team,
        runbook=plan.rule.runbook,
        # A dashboard has no accounts, and its address is no place for one.
        dashboard=link(plan.dashboard, start_ms, now_ms, {} if ACCOUNT in labels else labels),
    )


def _alert(
    rule: Rule, labels: Mapping[str, str], episode: Episode, state: alert.State, now_ms: int, measured: alert.Measured, why: str
) -> alert.Alert:
    """What every record of an aggregate rule has."""
    fingerprint = identity.fingerprint_of(rule.id, *labels, *labels.values())
    account = labels.get(ACCOUNT)
    episode_id = identity.episode_id_of(fingerprint, episode.firings)
    now = rfc3339(now_ms)
    return alert.Alert(
        alert_id=identity.alert_id_of(episode_id, episode.transitions),
        episode_id=episode_id,
        fingerprint=fingerprint,
        schema_version=alert.SCHEMA_VERSION,
        state=state,
        severity=episode.severity or rule.severity,
        rule=alert.RuleRef(id=rule.id, version=rule.version, text=rule.when),
        entity=alert.Entity(account_id=account) if account else None,
        slice=None if account else dict(labels),
        metric=measured,
        timeline=_timeline(episode, state, now),
        why=why,
        event_time=now,
        detected_at=now,
        expires_at=rfc3339(now_ms + EXPIRES_AFTER_MS),
    )


def _timeline(episode: Episode, state: alert.State, now: str) -> list[alert.Moment]:
    """When the condition began to hold, if it had to hold for a while, when it fired, and now."""
    moments = []
    if episode.since < episode.fired and episode.since:
        moments.append(alert.Moment(state="pending", time=rfc3339(episode.since * TICK_MS)))
    if state != "firing" and episode.fired:
        moments.append(alert.Moment(state="firing", time=rfc3339(episode.fired * TICK_MS)))
    return [*moments, alert.Moment(state=state, time=now)]


def _measured(plan: Plan, found: Estimate, usual: float | None) -> alert.Measured:
    delta = None if usual is None or found.value is None else found.value - usual
    return alert.Measured(
        name=plan.metric.id, value=found.value, k=found.k, n=found.n, ci_low=found.lower, ci_high=found.upper,
        confidence=None if found.lower is None else plan.confidence, baseline=usual, delta=delta,
    )  # fmt: skip


def _counterfactual(case: Case, estimates: Sequence[Estimate], usual: float | None) -> str:
    """What would have had to be different for the series not to fire."""
    windows = {name: case.named(found, usual) for (name, _), found in zip(case.plan.windows, estimates, strict=True)}
    return explainer_of(case.plan.rule.when, AGGREGATE_NAMES).counterfactual_over(windows)


def _child(case: Case, found: Estimate) -> alert.Child:
    return alert.Child(slice=case.series, value=found.value, k=found.k, n=found.n, ci_low=found.lower, ci_high=found.upper)


def _where(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in labels.items()) or "all"


def _said(plan: Plan, transition: Transition) -> str:
    if transition.state == "resolved":
        return f"`{plan.rule.when}` ended after {transition.reason}."
    held = f" for {plan.policy.for_ticks} s" if plan.policy.for_ticks else ""
    return f"`{plan.rule.when}` held{held}."


def _numbers(plan: Plan, estimates: Sequence[Estimate]) -> str:
    return " and ".join(_number(plan, found, name) for (name, _), found in zip(plan.windows, estimates, strict=True))


def _number(plan: Plan, found: Estimate, window: str) -> str:
    if found.value is None:
        return f"unknown over {window}"
    show = _percent if plan.metric.kind == "ratio" else _plain
    confidence = 95 if plan.confidence is None else 99
    bounds = found.lower is not None and found.upper is not None
    interval = f"{confidence} % interval {show(found.lower or 0.0)} to {show(found.upper or 0.0)}, " if bounds else ""
    sample = f" ({interval}n = {found.n})" if plan.metric.kind in SAMPLED else ""
    return f"{show(found.value)} over {window}{sample}"


def _percent(value: float) -> str:
    return f"{value * 100:.1f} %"


def _plain(value: float) -> str:
    return f"{value:.6g}"
