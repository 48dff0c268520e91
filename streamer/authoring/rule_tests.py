"""Tests of rules: events in, alerts expected and alerts that must not be out, by the same processors as live."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

import msgspec

from streamer.alerts.alert import Alert
from streamer.alerts.times import milliseconds
from streamer.authoring import notation
from streamer.definitions import Definitions
from streamer.durations import Part
from streamer.replay.pipeline import Arrival, run_history
from streamer.suggestions import hint, quoted
from streamer.touchpoints.check import OK, check
from streamer.validation import Problem, Remark, read, refuse

HOUR_MS: Final = 3_600_000
# The keys of an expectation beside `rule`; those given must be as the alert says.
_PARTS: Final = ("state", "at", "severity", "customer", "journey", "journey_id", "issue", "slice", "account")


class Expected(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An alert that must come.

    rule: its id. state: the transition. at: when, as of the event, the deadline or the second that caused it. slice: of an aggregate rule.
    customer, journey, journey_id, issue: of an entity rule. account: of a rule on accounts. What is not written may be anything.
    """

    rule: str
    state: Literal["firing", "amended", "resolved", "retracted"] = "firing"
    at: str | None = None
    severity: str | None = None
    customer: str | None = None
    journey: str | None = None
    journey_id: str | None = None
    issue: str | None = None
    slice: dict[str, str] | None = None
    account: str | None = None

    def __post_init__(self) -> None:
        refuse(_wrong_times(at=self.at))

    @property
    def wanted(self) -> dict[str, str | dict[str, str]]:
        """What must be as the alert says, in words."""
        given = {name: getattr(self, name) for name in _PARTS if getattr(self, name) is not None}
        return given | {"at": notation.shown(notation.time_ms(self.at))} if self.at else given


class RuleTest(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One test. events: what happens, see `notation`. until: when it ends; an hour after the last event. expect: alerts that must come.

    none: rules that must not fire. Rules in neither may do as they like; of a rule in `expect` no other firing may come.
    """

    name: str
    events: tuple[str, ...]
    until: str | None = None
    expect: tuple[Expected, ...] = ()
    none: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        refuse(self._wrong())

    def _wrong(self) -> Iterator[Remark]:
        yield from _wrong_times(until=self.until)
        if not self.expect and not self.none:
            yield Remark("expects nothing: it needs `expect` or `none`")
        for index, line in enumerate(self.events):
            try:
                told = notation.arrivals([line])
            except ValueError as exc:
                yield Remark(str(exc), "events", element=index)
                continue
            finding = check(told[0].value or b"", told[0].arrival_ms)
            if finding.reason != OK:
                becomes = "is read in part" if finding.accepted else "would be a dead letter"
                yield Remark(f"{quoted(line)} {becomes}: {finding.detail}. {finding.advice}", "events", element=index)
        if not self.events:
            yield Remark("`events` is empty", "events")


class RuleTests(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of tests. definitions: the file with the rules, beside this one unless it is absolute. test: the tests."""

    definitions: str
    test: tuple[RuleTest, ...]


def _wrong_times(**times: str | None) -> Iterator[Remark]:
    for key, text in times.items():
        if text is not None:
            try:
                notation.time_ms(text)
            except ValueError as exc:
                yield Remark(f"`{key}`: {exc}", key)


def load(text: str) -> RuleTests | list[Problem]:
    """The tests of a file, or everything that is wrong with it."""
    return read(RuleTests, text)


class Told(NamedTuple):
    """A transition, in the words of an expectation."""

    rule: str
    says: dict[str, str | dict[str, str]]

    def __str__(self) -> str:
        return f"rule {quoted(self.rule)} " + ", ".join(_word(name, value) for name, value in self.says.items())


class Outcome(NamedTuple):
    """What came of a test. missing: expected, and did not come. unexpected: came, and should not have. told: all of the rules at hand."""

    name: str
    missing: list[Told]
    unexpected: list[Told]
    told: list[Told]

    @property
    def ok(self) -> bool:
        """Whether everything is as expected."""
        return not self.missing and not self.unexpected


def unknown_rules(test: RuleTest, definitions: Definitions) -> list[str]:
    """A sentence for each rule that the test names and the definitions do not have: it would never fire, and prove nothing."""
    known = {rule.id for rule in definitions.rule}
    named = dict.fromkeys([*(one.rule for one in test.expect), *test.none])
    return [f"no rule is called {quoted(name)}: {hint(name, known)}" for name in named if name not in known]


def run(test: RuleTest, definitions: Definitions) -> Outcome:
    """Fold the events and compare."""
    arrivals = notation.arrivals(test.events)
    told = [_told(one) for one in _alerts(arrivals, definitions, None if test.until is None else notation.time_ms(test.until))]
    expected = [Told(one.rule, one.wanted) for one in test.expect]
    left, missing = list(told), []
    # The one that says most takes its pick first: what fits it may fit a vague one as well.
    for wanted in sorted(expected, key=lambda one: -len(one.says)):
        match = next((one for one in left if one.rule == wanted.rule and wanted.says.items() <= one.says.items()), None)
        if match is None:
            missing.append(wanted)
        else:
            left.remove(match)
    about = {one.rule for one in expected} | set(test.none)
    unexpected = [one for one in left if one.rule in about and one.says["state"] == "firing"]
    return Outcome(test.name, missing, unexpected, [one for one in told if one.rule in about])


def _alerts(arrivals: list[Arrival], definitions: Definitions, until_ms: int | None) -> Iterable[Alert]:
    end_ms = arrivals[-1].arrival_ms + HOUR_MS if until_ms is None else until_ms
    before = [one for one in arrivals if one.arrival_ms <= end_ms]
    result = run_history(before, definitions, partitions=1, begin_ms=arrivals[0].arrival_ms, end_ms=end_ms)
    return sorted(result.alerts, key=lambda one: milliseconds(one.detected_at))


def _told(alert: Alert) -> Told:
    says: dict[str, str | dict[str, str]] = {"state": alert.state, "severity": alert.severity}
    says["at"] = notation.shown(milliseconds(alert.event_time))
    if alert.entity is not None:
        entity = msgspec.structs.asdict(alert.entity)
        entity["customer"], entity["issue"] = entity.pop("canonical_id"), entity.pop("issue_id")
        entity["account"] = entity.pop("account_id")
        says |= {name: value for name, value in entity.items() if value}
    if alert.slice is not None:
        says["slice"] = alert.slice
    return Told(alert.rule.id, says)


def _word(name: str, value: str | dict[str, str]) -> str:
    if isinstance(value, dict):
        return f"{name} " + (" ".join(f"{dimension}={of}" for dimension, of in value.items()) or "all")
    return value if name in ("state", "severity") else f"{name} {value}"
