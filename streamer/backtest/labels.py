"""What really happened, as somebody wrote it down: incidents with their time and slice, and the outcomes of single alerts.

A file of JSON lines; each line is an incident (`start`, `end`, as `streamer simulate --labels` writes them) or an outcome (`outcome`, as
`streamer alerts outcomes --json` prints them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgspec

from streamer.alerts.times import milliseconds
from streamer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from streamer.backtest.firings import Firing

Result = Literal["saved", "lost", "false-alarm"]
OUTCOMES: Final[tuple[str, ...]] = ("saved", "lost", "false-alarm")


class _Move(msgspec.Struct):
    metric: str
    slice: dict[str, str] = {}
    from_: str | None = msgspec.field(name="from", default=None)
    until: str | None = None


class _Line(msgspec.Struct):
    incident: str = "incident"
    start: str | None = None
    end: str | None = None
    slice: dict[str, str] = {}
    metrics: list[_Move] | None = None
    also: list[str] = []
    effects_until: str | None = None
    outcome: str | None = None
    alert_id: str | None = None
    episode_id: str | None = None
    fingerprint: str | None = None
    time: str | None = None


class Move(NamedTuple):
    """Where and until when an incident moves a metric; metric None: any."""

    metric: str | None
    slice: Mapping[str, str]
    until_ms: int


class Incident(NamedTuple):
    """Something that went wrong. Times in milliseconds since the epoch.

    also: rules that may fire for it until `until_ms`, whatever they look at.
    """

    name: str
    start_ms: int
    end_ms: int
    slice: Mapping[str, str]
    moves: Sequence[Move]
    also: Sequence[str] = ()
    until_ms: int = 0

    def explains(self, firing: Firing) -> bool:
        """Whether an aggregate firing began in it, in a metric that it moves, and not elsewhere than where it struck; or is of `also`."""
        if firing.metric is None or firing.start_ms < self.start_ms:
            return False
        return (firing.rule in self.also and firing.start_ms <= self.until_ms) or any(
            move.metric in (None, firing.metric)
            and firing.start_ms <= move.until_ms
            and all(move.slice.get(name, value) == value for name, value in firing.about.items())
            for move in self.moves
        )


class Outcome(NamedTuple):
    """What became of an alert, and when that was, if the label says it."""

    result: Result
    time_ms: int | None = None


class Labels(NamedTuple):
    """outcomes: by alert_id, episode_id or fingerprint."""

    incidents: Sequence[Incident]
    outcomes: Mapping[str, Outcome]


class Precision(NamedTuple):
    """right of judged firings.

    lead_ms: from an incident's start to the rule's first firing, of each incident that it fired in; before_ms: from a right firing to its
    outcome, where that has a time.
    """

    right: int
    judged: int
    lead_ms: Sequence[int]
    before_ms: Sequence[int] = ()

    @property
    def share(self) -> float | None:
        """right / judged; None of none."""
        return self.right / self.judged if self.judged else None


_decode = msgspec.json.Decoder(_Line).decode


def read(lines: Iterable[tuple[int, bytes]], where: str) -> Labels:
    """The labels of numbered JSON lines. Raises InputError with the line that is neither kind."""
    incidents: list[Incident] = []
    outcomes: dict[str, Outcome] = {}
    for number, text in lines:
        try:
            line = _decode(text)
            if line.start is not None and line.end is not None:
                incidents.append(_incident(line))
                continue
            time_ms = None if line.time is None else milliseconds(line.time)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as exc:
            raise InputError(f"{where}:{number}: {exc}") from exc
        named = line.alert_id or line.episode_id or line.fingerprint
        if named is None or (line.outcome is not None and line.outcome not in OUTCOMES):
            raise InputError(
                f"{where}:{number}: is neither an incident (start, end) nor an outcome (alert_id, episode_id or fingerprint, and outcome:"
                f" {', '.join(OUTCOMES)})"
            )
        if line.outcome is not None:  # nobody has said yet
            outcomes[named] = Outcome(line.outcome, time_ms)  # type: ignore[arg-type]
    return Labels(sorted(incidents, key=lambda incident: (incident.start_ms, incident.name)), outcomes)


def _incident(line: _Line) -> Incident:
    start_ms, end_ms = milliseconds(line.start or ""), milliseconds(line.end or "")
    if end_ms < start_ms:
        raise ValueError("the incident ends before it starts")
    if line.metrics is None:
        return Incident(line.incident, start_ms, end_ms, line.slice, [Move(None, line.slice, end_ms)])
    moves = [Move(m.metric, m.slice, end_ms if m.until is None else milliseconds(m.until)) for m in line.metrics]
    until_ms = end_ms if line.effects_until is None else milliseconds(line.effects_until)
    return Incident(line.incident, start_ms, end_ms, line.slice, moves, line.also, until_ms)


def judged(firings: Sequence[Firing], labels: Labels) -> dict[str, Precision]:
    """By rule: every rule by its outcomes where there are any, else aggregate rules by the incidents. What nothing judges is absent:
    also an aggregate rule of whose metric no incident says anything.
    """
    found: dict[str, Precision] = {}
    for rule in sorted({firing.rule for firing in firings}):
        mine = [firing for firing in firings if firing.rule == rule]
        outcomes = [(firing, outcome) for firing in mine if (outcome := outcome_of(firing, labels)) is not None]
        if outcomes:
            right = [(firing, outcome.time_ms) for firing, outcome in outcomes if outcome.result != "false-alarm"]
            before = [time_ms - firing.start_ms for firing, time_ms in right if time_ms is not None]
            found[rule] = Precision(len(right), len(outcomes), leads(mine, labels), before)
        elif is_judged(mine[0], labels):
            explained = sum(any(incident.explains(firing) for incident in labels.incidents) for firing in mine)
            found[rule] = Precision(explained, len(mine), leads(mine, labels))
    return found


def is_judged(firing: Firing, labels: Labels) -> bool:
    """Whether the incidents say something of the firing's metric."""
    named = {move.metric for incident in labels.incidents for move in incident.moves}
    return firing.metric is not None and not named.isdisjoint({None, firing.metric})


def leads(firings: Sequence[Firing], labels: Labels) -> list[int]:
    """Of each incident that explains one of the firings: from its start to the first of them, milliseconds."""
    first = [min((f.start_ms for f in firings if incident.explains(f)), default=None) for incident in labels.incidents]
    return [at - incident.start_ms for at, incident in zip(first, labels.incidents, strict=True) if at is not None]


def outcome_of(firing: Firing, labels: Labels) -> Outcome | None:
    """What became of a firing, by the id that says it most exactly."""
    for name in (*firing.transitions, firing.episode_id, firing.fingerprint):
        if name in labels.outcomes:
            return labels.outcomes[name]
    return None


def told_of(incident: Incident, firings: Sequence[Firing]) -> list[dict[str, Any]]:
    """Which rules fired in it, in the order in which they came; `by` its metrics and slice where these explain it, else by time alone."""
    rows = []
    for rule in sorted({firing.rule for firing in firings}):
        mine = [f for f in firings if f.rule == rule]
        explained = [f for f in mine if incident.explains(f)]
        within = explained or [f for f in mine if incident.start_ms <= f.start_ms <= incident.end_ms]
        if within:
            first_ms = min(f.start_ms for f in within)
            rows.append({"rule": rule, "firings": len(within), "first_ms": first_ms, "lead_ms": first_ms - incident.start_ms,
                         "by": "metric" if explained else "time"})  # fmt: skip
    return sorted(rows, key=lambda row: (row["first_ms"], row["rule"]))
