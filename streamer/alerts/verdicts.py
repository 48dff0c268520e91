"""What was said of alerts, and what that says of the rules: precision, saved share, time to acknowledge, noisy or not. Pure.

Of each rule the latest `WINDOW` judged alerts count, so that a rule that was mended is soon judged by what it does now:

  precision      (saved + lost) / (saved + lost + false-alarm): of those judged, who really were in trouble
  saved ratio    saved / (saved + lost): of those in trouble, who could be helped
  noisy          `WINDOW` alerts are judged, and precision is below `NOISY_BELOW`

The time to acknowledge is that of the latest `WINDOW` acknowledged ones, from the firing's `detected_at`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, Literal, get_args

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Verdict = Literal["saved", "lost", "false-alarm"]
VERDICTS: Final[tuple[Verdict, ...]] = get_args(Verdict)
WINDOW: Final = 50
NOISY_BELOW: Final = 0.2
QUANTILES: Final = (0.5, 0.9)


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was said of one episode, as it stands in Redis. Times in milliseconds since the epoch.

    fired_ms: `detected_at` of the transition `firing`, None where that was not to be found any more.
    acknowledged_*: the first word on it. judged_*: when the outcome in force was told, and by whom.
    """

    episode_id: str
    fingerprint: str
    rule: str
    severity: str
    fired_ms: int | None = None
    acknowledged_by: str
    acknowledged_ms: int
    outcome: Verdict | None = None
    judged_by: str = ""
    judged_ms: int = 0
    note: str = ""

    @property
    def seconds_to_acknowledge(self) -> float | None:
        """From firing to the first word on it; clocks of two machines may differ by a little."""
        return None if self.fired_ms is None else max(0, self.acknowledged_ms - self.fired_ms) / 1000


class RuleVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the outcomes say of one rule. `acknowledged` and `judged` count all that are kept; the rest is of the latest ones."""

    rule: str
    acknowledged: int
    judged: dict[str, int]
    precision: float | None
    saved: float | None
    noisy: bool
    seconds_to_acknowledge: dict[float, float]


def by_rule(outcomes: Iterable[Outcome]) -> list[RuleVerdict]:
    """One verdict per rule that somebody has said something of, by name. Any order of the outcomes gives the same."""
    rules: defaultdict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        rules[outcome.rule].append(outcome)
    return [_verdict(rule, rules[rule]) for rule in sorted(rules)]


def _verdict(rule: str, outcomes: Sequence[Outcome]) -> RuleVerdict:
    judged = Counter(outcome.outcome for outcome in outcomes if outcome.outcome)
    told = [outcome for outcome in outcomes if outcome.outcome]
    latest = Counter(outcome.outcome for outcome in sorted(told, key=lambda outcome: (outcome.judged_ms, outcome.episode_id))[-WINDOW:])
    right, seen = latest["saved"] + latest["lost"], latest.total()
    precision = right / seen if seen else None
    timed = sorted(outcomes, key=lambda outcome: (outcome.acknowledged_ms, outcome.episode_id))[-WINDOW:]
    return RuleVerdict(
        rule=rule,
        acknowledged=len(outcomes),
        judged={verdict: judged[verdict] for verdict in VERDICTS},
        precision=precision,
        saved=latest["saved"] / right if right else None,
        noisy=seen >= WINDOW and precision is not None and precision < NOISY_BELOW,
        seconds_to_acknowledge=_quantiles([seconds for outcome in timed if (seconds := outcome.seconds_to_acknowledge) is not None]),
    )


def _quantiles(values: list[float]) -> dict[float, float]:
    """Each of `QUANTILES` by the nearest rank: a value that occurred."""
    ordered = sorted(values)
    return {q: ordered[max(0, -int(-q * len(ordered) // 1) - 1)] for q in QUANTILES} if ordered else {}
