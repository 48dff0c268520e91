"""The definitions file: journeys, contacts and issues, effort, cases, slices and rules, validated as a whole.

Durations are written `"90s"`, `"30m"`, `"24h"`, `"7d"` and held as milliseconds. `default.toml` beside this file is the
documented default; a user's file replaces it entirely.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib import resources
from typing import Annotated, Final, Literal

import msgspec

from streamer.chapter_settings import (
    Browsing,
    Causes,
    Commerce,
    Communication,
    Contracts,
    Digital,
    Handoffs,
    Operations,
    Service,
    Steps,
    Surveys,
    Value,
    Wallet,
)
from streamer.durations import Duration, Part, durations_in, parse_duration
from streamer.errors import DefinitionsError
from streamer.metrics.catalogue import CHAPTER_OF, CHAPTERS, CORE, METRIC_BY_ID, PATTERN_PREFIX, PATTERNS, chapter_of_signal
from streamer.metrics.chapters.causes import SPANS_MS as CAUSE_SPANS_MS
from streamer.metrics.counters import ACCOUNT, DIMENSIONS
from streamer.metrics.metric import Metric, counters_of, shared_dimensions
from streamer.rules import language
from streamer.rules.quiet import QuietHours, zone_of
from streamer.suggestions import hint, quoted
from streamer.validation import Problem, Remark, read, refuse

Identifier = Literal["journey_id", "checkout_id", "order_id", "cart_id", "case_id", "session"]
Entity = Literal["customer", "journey", "issue"]
EventId = Literal["journey_id", "session_id", "checkout_id", "order_id", "cart_id", "issue_id", "case_id", "contact_id"]
AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
Weight = Annotated[float, msgspec.Meta(ge=0, le=1_000)]


class Journey(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of journey: which events start, advance, complete or fail an instance, and when it counts as abandoned.

    Event types may end in `.*`. Types named `journey.*` count only when the event's `journey` field is this id.
    id: its name. start, complete, fail: types that begin an instance, and end it well or badly. activity: types that keep it alive.
    identified_by: the ids that tell instances apart, strongest first; `session` is the last resort.
    deadline: so long after its last activity an open instance is abandoned. recoverable_for: so long after that it can still be completed.
    Of the chapter `steps`. steps: the names of the journey's steps in their order, if it is to be said how far instances have come;
    stall_after: for this journey in place of the chapter's.
    """

    id: str
    start: tuple[str, ...]
    complete: tuple[str, ...]
    fail: tuple[str, ...] = ()
    activity: tuple[str, ...] = ()
    identified_by: tuple[Identifier, ...] = ("journey_id", "checkout_id", "order_id", "cart_id", "session")
    deadline: Duration = Duration(30 * 60_000)
    recoverable_for: Duration = Duration(24 * 3_600_000)
    steps: tuple[str, ...] = ()
    stall_after: Duration | None = None

    def __post_init__(self) -> None:
        if len(set(self.steps)) < len(self.steps):
            raise ValueError("names a step twice in `steps`")


class Contacts(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a contact is, what a channel switch compares, and when a contact is a repetition.

    scope: what an effort signal belongs to: the `issue` (issue_id, case_id, else reason), the `journey` instance, or the `customer`.
    started: types that begin a customer-initiated contact. resolved: types that resolve an issue when `resolved` is true or absent.
    transferred: types that move a contact, unless from one of the `routing` channels (its channel or team): an IVR passes on to the first
    person, and that is no transfer. switch_on: types whose channel group is compared. window: an issue ends this long
    after its last contact. repeat_within: R of E5. switch_within, switch_burst: `recent_switches` counts the switches no older than
    `switch_within`, and begins again after it has reached `switch_burst`; 0 counts none.
    """

    scope: Literal["issue", "journey", "customer"] = "issue"
    started: tuple[str, ...] = ("contact.started",)
    resolved: tuple[str, ...] = ("contact.ended", "case.resolved", "case.closed")
    reopened: tuple[str, ...] = ("case.reopened",)
    transferred: tuple[str, ...] = ("contact.transferred",)
    routing: tuple[str, ...] = ("ivr",)
    switch_on: tuple[str, ...] = ("contact.started", "knowledge.searched")
    window: Duration = Duration(72 * 3_600_000)
    repeat_within: Duration = Duration(7 * 86_400_000)
    switch_within: Duration = Duration(10 * 60_000)
    switch_burst: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    channel_groups: dict[str, str] = msgspec.field(default_factory=dict)


class Effort(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Weights of the effort index (E7), in points, the last three of what chapters find; the bands' bounds (high: above it). [H]"""

    repeat_contact: Weight = 3
    cold_transfer: Weight = 2
    warm_transfer: Weight = 1
    channel_switch: Weight = 1.5
    ping_pong: Weight = 1
    repeated_field: Weight = 2
    generic: Weight = 1
    error_loop: Weight = 1
    medium: float = 2
    high: float = 5

    def __post_init__(self) -> None:
        # An issue without effort is in no band, and is not counted when it begins.
        if not 0 < self.medium <= self.high:
            raise ValueError(f"effort: medium must be above 0 and at most high, got medium = {self.medium} and high = {self.high}")


class Cases(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose history of owners is kept, and how long after the last owner seen. owner: event fields, first non-empty wins."""

    events: tuple[str, ...] = ("case.*", "handoff.accepted")
    owner: tuple[Literal["owner", "team", "to_team"], ...] = ("owner", "to_team", "team")
    journey: str = "service_case"
    retention: Duration = Duration(90 * 86_400_000)


class Limits(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept per customer, and how many label values a dimension may have; beyond, the oldest goes and is counted.

    accounts: how many accounts rules on accounts look at; those that come later are counted as one, of which none fires. [H]
    """

    events_per_customer: AtLeastOne = 100
    journeys_per_customer: AtLeastOne = 50
    issues_per_customer: AtLeastOne = 50
    cases_per_customer: AtLeastOne = 50
    episodes_per_customer: AtLeastOne = 200
    evidence_per_alert: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20
    label_values: AtLeastOne = 100
    accounts: AtLeastOne = 10_000

    @property
    def exemplars_per_tick(self) -> int:
        """Events carried of one counter, combination of labels and second: a fifth of those of an alert, whose window has many. [H]"""
        return max(1, self.evidence_per_alert // 5)


class Slice(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bounded break-down: counters are added up for each combination of these dimensions.

    by: the dimensions; an empty list is the sum over everything.
    """

    by: tuple[str, ...]

    def __post_init__(self) -> None:
        refuse(Remark(_no_dimension(name), "by") for name in self.by if name not in DIMENSIONS)


class Pattern(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sequence or an absence: events of a customer that rules on customers name as `pattern_<id>`, which is how often it was seen.

    events: types, or `prefix.*`, in this order, others in between, from the first to the last within `within`. without: types of which
    none may follow, before it is over, within `absent_for`, which is `within` if it is not said; then it is seen at that moment. same:
    an id that all of these events share. counts_for: rules see it for so long.
    """

    id: Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]*$")]
    events: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=20)]
    within: Duration
    without: tuple[str, ...] = ()
    absent_for: Duration | None = None
    same: EventId | None = None
    counts_for: Duration = Duration(24 * 3_600_000)

    def __post_init__(self) -> None:
        if not self.within or not self.counts_for or self.absent_for == 0:
            raise ValueError(f"pattern {self.id!r}: durations must be above 0")
        if self.absent_for is not None and not self.without:
            raise ValueError(f"pattern {self.id!r} says `absent_for`, and not of what: add `without`")

    @property
    def absence_ms(self) -> int:
        """How long after the last event none of `without` may come; 0 if there is none."""
        return int(self.within if self.absent_for is None else self.absent_for) if self.without else 0


def _no_dimension(name: str) -> str:
    if name == ACCOUNT:
        return 'accounts are customer data and never become labels of gauges: a rule that looks at them has `on = "account"` and a `metric`'
    return f"unknown dimension {quoted(name)}: {hint(name, DIMENSIONS)}"


# Fields of one kind of rule only, and what they are if they are not given.
_OF_ENTITY_RULES: dict[str, object] = {"show": (), "cooldown": 0, "max_per_day": 0, "quiet": ()}
_NOT_OF_ACCOUNT_RULES: dict[str, object] = {"show": ()}
_OF_AGGREGATE_RULES: dict[str, object] = {"by": (), "windows": (), "for_": 0, "baseline": None, "clear": "", "group_by": None}


class Rule(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When it matters. `metric` makes an aggregate rule (evaluated by rollup), `on` an entity rule (evaluated by journeys); with both,
    `on = "account"`, it is an aggregate rule on every account by itself.

    id: its name, for ever: alerts are put together by it. when: an expression over the documented names. severity: how bad it is. action:
    what is to be done, one sentence. owner_team: who is told. runbook: where it says more. dashboard: a link, else the file's. version: of
    the rule; its alerts carry it. mode: a `draft` is evaluated and counted, but nobody is told; `off` is not evaluated.

    Of entity rules: on: whom the rule is about; accounts need a `metric`, and have no `show`. cooldown: so long after it fired
    it does not fire again for the same one. max_per_day: the most firings for one in any 24 hours, 0 for no limit. quiet: spans such as
    `22:00-07:00`, in the file's `timezone`, in which nothing begins to fire. What these hold back fires when they allow it, if the
    condition still holds then. show: names whose values an alert carries besides those in `when`; a change of theirs alone is no amendment.

    Of aggregate rules: metric: of the catalogue. by: dimensions, of a slice of the file. windows: of those of the file; the condition must
    hold in all of them. min_n: below this sample nothing is known. for: so long the condition must hold first. baseline: a fixed target, or
    `hour-of-week` for the median of the same hour of the last weeks. baseline_weeks: how many, 3 to 8. clear: while it fires, what must
    hold for an evaluation to be clean, in place of `when` not holding. group_by: dimensions by which firing series are told as one alert,
    `[]` for one of the whole rule.
    """

    id: str
    when: str
    severity: Literal["info", "warning", "critical"] = "warning"
    metric: str | None = None
    on: Literal["customer", "journey", "issue", "account"] | None = None
    by: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()
    min_n: int = 30
    for_: Duration = msgspec.field(name="for", default=Duration(0))
    cooldown: Duration = Duration(0)
    max_per_day: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    quiet: tuple[str, ...] = ()
    mode: Literal["enabled", "draft", "off"] = "enabled"
    baseline: float | Literal["hour-of-week"] | None = None
    baseline_weeks: Annotated[int, msgspec.Meta(ge=3, le=8)] = 4
    clear: str = ""
    group_by: tuple[str, ...] | None = None
    version: int = 1
    action: str = ""
    owner_team: str = ""
    runbook: str = ""
    dashboard: str = ""
    show: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        refuse(self._wrong())

    def _wrong(self) -> Iterator[Remark]:
        """Everything that is wrong with the rule itself, whatever the rest of the file says."""
        if self.on == ACCOUNT and self.metric is None:
            yield Remark("is on accounts and needs a `metric`: what several customers do is only known as numbers", "on")
            return
        if (self.metric is None) == (self.entity is None):
            yield Remark("needs either `metric` (aggregate rule) or `on` (entity rule)", "on" if self.on else "")
            return
        if self.metric is not None:
            yield from self._wrong_aggregate(self.metric)
        names = self._known_names
        faults = list(language.faults(self.when, names))
        for fault in faults:
            yield Remark(fault, "when")
        if self.metric is not None and not faults:
            yield from self._wrong_comparison(names)
        kind, other, fields = (
            ("an aggregate", "entity", _OF_ENTITY_RULES) if self.metric else ("an entity", "aggregate", _OF_AGGREGATE_RULES)
        )
        if self.on == ACCOUNT:
            fields = _NOT_OF_ACCOUNT_RULES
        for field, absent in fields.items():
            if getattr(self, field) != absent:
                key = field.rstrip("_")
                yield Remark(f"is {kind} rule: `{key}` is for {other} rules", key)
        try:
            QuietHours(self.quiet, zone_of("UTC"))
        except DefinitionsError as exc:
            yield Remark(str(exc), "quiet")
        for name in self.show if self.entity else ():
            if not language.knows(names, name):
                yield Remark(f"`show` has the unknown name {quoted(name)}: {hint(name, names)}", "show")

    def _wrong_aggregate(self, metric: str) -> Iterator[Remark]:
        if metric not in METRIC_BY_ID:
            yield Remark(f"unknown metric {quoted(metric)}: {hint(metric, METRIC_BY_ID, 'docs/reference/catalogue.md')}", "metric")
        if self.on == ACCOUNT:
            for key in ("by", "group_by"):
                if getattr(self, key) != _OF_AGGREGATE_RULES[key]:
                    yield Remark(f"is on accounts, each by itself: leave out `{key}`", key)
        unknown = [name for name in self.by if name not in DIMENSIONS]
        for name in unknown:
            yield Remark(_no_dimension(name), "by")
        if metric in METRIC_BY_ID and not unknown:
            has = shared_dimensions(METRIC_BY_ID[metric])
            for name in self.by:
                if name not in has:
                    yield Remark(f"{metric} is not broken down by {name}; it is by {', '.join(sorted(has))}", "by")
        if not self.windows:
            yield Remark("needs at least one of the file's `windows`", "windows")

    def _wrong_comparison(self, names: frozenset[str]) -> Iterator[Remark]:
        """What it is compared with, and what its alerts are put together by."""
        faults = list(language.faults(self.clear, names)) if self.clear else []
        for fault in faults:
            yield Remark(fault, "clear")
        for key, text in (("when", self.when), ("clear", "" if faults else self.clear)):
            named = language.names_in(text) & language.BASELINE_NAMES if text else frozenset()
            if named and self.baseline is None:
                yield Remark(f"names {quoted(min(named))} and has no `baseline`", key)
        if self.group_by is not None and ACCOUNT in self.group_by:
            yield Remark(_no_dimension(ACCOUNT), "group_by")
        elif self.group_by is not None and self.on != ACCOUNT and not set(self.group_by) < set(self.by):
            yield Remark("`group_by` must leave out at least one dimension of `by`, and name no other", "group_by")

    @property
    def entity(self) -> Entity | None:
        """Whom an entity rule is about; None of an aggregate rule, also of one on accounts."""
        return None if self.on == ACCOUNT else self.on

    @property
    def series_by(self) -> tuple[str, ...]:
        """The dimensions of the series that an aggregate rule looks at."""
        return (ACCOUNT,) if self.on == ACCOUNT else self.by

    @property
    def _known_names(self) -> frozenset[str]:
        """The names that its condition may have. Accounts are not among them: a rule's text is told with each of its alerts."""
        if self.entity is not None:
            return language.ENTITY_NAMES[self.entity]
        return language.AGGREGATE_NAMES.difference(DIMENSIONS) if self.on == ACCOUNT else language.AGGREGATE_NAMES

    @property
    def names(self) -> frozenset[str]:
        """The names that the rule uses."""
        return language.names_in(self.when) | set(self.show)


class Definitions(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file: journeys, what is counted of them, how it is broken down, and rules.

    revision: raise it with every change. allowed_lateness: events this much older than the newest are late and change nothing any more.
    windows: rolling windows of the gauges and of rules. timezone: of what goes by the clock on the wall (quiet hours, baselines by hour of
    the week), an IANA name. dashboard: the link that alerts carry, completed by their time and slice. journey: the kinds of journeys.
    pattern: sequences and absences that rules on customers name. slice: the break-downs. rule: when somebody is told. `digest` identifies
    the content.
    """

    revision: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    allowed_lateness: Duration = Duration(15 * 60_000)
    windows: tuple[str, ...] = ("5m", "1h", "24h")
    timezone: str = "UTC"
    dashboard: str = ""
    journey: tuple[Journey, ...] = ()
    contacts: Contacts = Contacts()
    effort: Effort = Effort()
    cases: Cases = Cases()
    surveys: Surveys | None = None
    service: Service | None = None
    digital: Digital | None = None
    steps: Steps | None = None
    handoffs: Handoffs | None = None
    communication: Communication | None = None
    causes: Causes | None = None
    commerce: Commerce | None = None
    browsing: Browsing | None = None
    wallet: Wallet | None = None
    operations: Operations | None = None
    value: Value | None = None
    contracts: Contracts | None = None
    pattern: tuple[Pattern, ...] = ()
    limits: Limits = Limits()
    slice: tuple[Slice, ...] = (Slice(by=()),)
    rule: tuple[Rule, ...] = ()
    digest: str = ""
    text: str = ""

    def __post_init__(self) -> None:
        refuse(self._contradictions())

    def _contradictions(self) -> Iterator[Remark]:
        """Where parts that are right by themselves do not go together."""
        patterns = [PATTERN_PREFIX + pattern.id for pattern in self.pattern]
        for kind, parts in (("journey", self.journey), ("pattern", self.pattern), ("rule", self.rule)):
            seen = set()
            for part in parts:
                if part.id in seen:
                    yield Remark(f"{kind} {quoted(part.id)} is defined twice", "id", part)
                seen.add(part.id)
        for index, text in enumerate(self.windows):
            try:
                parse_duration(text)
            except ValueError as exc:
                yield Remark(f"`windows`: {exc}", "windows", element=index)
        try:
            zone_of(self.timezone)
        except DefinitionsError as exc:
            yield Remark(str(exc), "timezone")
        for rule in self.rule:
            if rule.metric:
                yield from self._missing_for(rule)
            for name in sorted(rule.names) if rule.entity else ():
                if name.startswith(PATTERN_PREFIX) and name not in patterns:
                    yield Remark(f"names {quoted(name)}, and the file has no such pattern: {hint(name, patterns)}", "when", rule, "pattern")
            needed = {CHAPTER_OF[rule.metric]} if rule.metric else {chapter_of_signal(name) or CORE[0] for name in rule.names}
            for chapter in sorted(needed - self.chapters - {PATTERNS}):
                yield Remark(f"needs the chapter `{chapter}`, which is off: add the table [{chapter}]", "", rule, chapter)

    def _missing_for(self, rule: Rule) -> Iterator[Remark]:
        """What an aggregate rule needs of the file and does not find."""
        if rule.on != ACCOUNT and rule.by not in [part.by for part in self.slice]:
            listed = ", ".join(quoted(name) for name in rule.by)
            yield Remark(f"is by [{listed}], which is not a slice of this file: add [[slice]] by = [{listed}]", "by", rule, "slice")
        for text in rule.windows:
            if text not in self.windows:
                yield Remark(
                    f"uses the window {quoted(text)}, which is not among `windows`: {hint(text, self.windows)}", "windows", rule, "windows"
                )

    @property
    def chapters(self) -> frozenset[str]:
        """The chapters of the catalogue that are on."""
        return frozenset(chapter for chapter in CHAPTERS if chapter in CORE or getattr(self, chapter) is not None)

    def has(self, metric: Metric) -> bool:
        """Whether the metric's chapter is on."""
        return CHAPTER_OF[metric.id] in self.chapters

    @property
    def account_counters(self) -> frozenset[int]:
        """What is counted by account: what rules on accounts look at, and nothing without such a rule."""
        metrics = [rule.metric for rule in self.rule if rule.on == ACCOUNT and rule.metric and rule.mode != "off"]
        return frozenset(int(counter) for metric in metrics for counter in counters_of(METRIC_BY_ID[metric]))

    @property
    def breakdowns(self) -> tuple[tuple[str, ...], ...]:
        """The dimensions of the file's slices in their order, each once."""
        return tuple(dict.fromkeys(part.by for part in self.slice))

    @property
    def slices(self) -> tuple[tuple[str, ...], ...]:
        """The dimensions of everything that is counted apart: the file's slices in their order, and then accounts, if a rule is on them."""
        return (*self.breakdowns, *(((ACCOUNT,),) if self.account_counters else ()))

    @property
    def longest_deadline_ms(self) -> int:
        """After this long without events every open end is closed; `ingest` ends a finished history with it.

        The longest span of the file, or of those that follow one another; then twice the longest window, until what aggregate rules have
        told of what was counted last has ended. No date that an event names is awaited for longer.
        """
        chains: list[int] = [j.deadline + j.recoverable_for for j in self.journey]
        chains += [pattern.absence_ms + pattern.counts_for for pattern in self.pattern]
        if (handoffs := self.handoffs) is not None:
            chains.append(max(handoffs.accept_within, handoffs.partner_accept_within) + handoffs.forget_after)
        if self.contracts is not None:
            chains.append(self.contracts.ahead + self.contracts.grace)
        if self.commerce is not None:
            chains.append(2 * self.commerce.retention_period)
        if self.causes is not None:
            chains.append(CAUSE_SPANS_MS[-1])
        return max([*chains, *durations_in(self)]) + 2 * max([0, *map(parse_duration, self.windows)])

    def stall_after_ms(self, journey: Journey) -> int:
        """How long an instance of the journey may be in one step, where the chapter `steps` is on."""
        stall_after = journey.stall_after
        if stall_after is None:
            stall_after = Steps().stall_after if self.steps is None else self.steps.stall_after
        return int(stall_after)


# Problems that a refusal names; `streamer rules check` names all.
_NAMED_MAX: Final = 3
# Set by `examine`, not by the file.
NO_KEYS: Final = ("digest", "text")


def parse(text: str, where: str = "definitions") -> Definitions:
    """Definitions of a TOML text. Raises DefinitionsError with what is wrong and where."""
    found = examine(text)
    if isinstance(found, Definitions):
        return found
    named = "; ".join(f"{where}:{problem.line}: {problem.message}" for problem in found[:_NAMED_MAX])
    more = len(found) - _NAMED_MAX
    raise DefinitionsError(named + (f"; and {more} more: `streamer rules check FILE` lists all" if more > 0 else ""))


def examine(text: str) -> Definitions | list[Problem]:
    """Definitions of a TOML text, or everything that is wrong with it, from top to bottom."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return read(Definitions, text, given={"digest": digest, "text": text}, meanwhile={"revision": 0})


def default() -> Definitions:
    """The documented default (`streamer/default.toml`)."""
    return parse(default_text(), "default.toml")


def default_text() -> str:
    """The default file's text, comments included."""
    return (resources.files("streamer") / "default.toml").read_text(encoding="utf-8")
