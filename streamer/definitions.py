"""The definitions file: journeys, contacts and issues, effort, cases, slices and rules, validated as a whole.

Durations are written `"90s"`, `"30m"`, `"24h"`, `"7d"` and held as milliseconds. `default.toml` beside this file is the
documented default; a user's file replaces it entirely.
"""

from __future__ import annotations

import hashlib
import tomllib
from importlib import resources
from typing import Annotated, Any, Literal

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
from streamer.durations import Duration, Part, parse_duration
from streamer.errors import DefinitionsError
from streamer.metrics.catalogue import CHAPTER_OF, CHAPTERS, CORE, METRIC_BY_ID, PATTERN_PREFIX, PATTERNS, chapter_of_signal
from streamer.metrics.chapters.causes import SPANS_MS as CAUSE_SPANS_MS
from streamer.metrics.counters import DIMENSIONS
from streamer.metrics.metric import Metric
from streamer.rules import language
from streamer.rules.quiet import QuietHours, zone_of

Identifier = Literal["journey_id", "checkout_id", "order_id", "cart_id", "case_id", "session"]
EventId = Literal["journey_id", "session_id", "checkout_id", "order_id", "cart_id", "issue_id", "case_id", "contact_id"]
AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]


class Journey(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of journey: which events start, advance, complete or fail an instance, and when it counts as abandoned.

    Event types may end in `.*`. Types named `journey.*` count only when the event's `journey` field is this id.
    `identified_by` names the ids that tell instances apart, strongest first; `session` is the last resort.
    Of the chapter `steps`: steps: the names of the journey's steps in their order, if it is to be said how far instances have come;
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
            raise ValueError(f"journey {self.id!r} names a step twice")


class Contacts(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a contact is, what a channel switch compares, and when a contact is a repetition.

    scope: what an effort signal belongs to: the `issue` (issue_id, case_id, else reason), the `journey` instance, or the `customer`.
    started: types that begin a customer-initiated contact. resolved: types that end an issue when `resolved` is true or absent.
    transferred: types that move a contact. switch_on: types whose channel group is compared. window: an issue ends this long
    after its last contact. repeat_within: R of E5. switch_within, switch_burst: `recent_switches` counts the switches no older than
    `switch_within`, and begins again after it has reached `switch_burst`; 0 counts none.
    """

    scope: Literal["issue", "journey", "customer"] = "issue"
    started: tuple[str, ...] = ("contact.started",)
    resolved: tuple[str, ...] = ("contact.ended", "case.resolved", "case.closed")
    reopened: tuple[str, ...] = ("case.reopened",)
    transferred: tuple[str, ...] = ("contact.transferred",)
    switch_on: tuple[str, ...] = ("contact.started", "knowledge.searched")
    window: Duration = Duration(72 * 3_600_000)
    repeat_within: Duration = Duration(7 * 86_400_000)
    switch_within: Duration = Duration(10 * 60_000)
    switch_burst: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    channel_groups: dict[str, str] = msgspec.field(default_factory=dict)


class Effort(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Weights of the effort index (E7), in points; `medium` and `high` are the bands' bounds (high: above it). [H]"""

    repeat_contact: float = 3
    cold_transfer: float = 2
    warm_transfer: float = 1
    channel_switch: float = 1.5
    ping_pong: float = 1
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
    """What is kept per customer, and how many label values a dimension may have; beyond, the oldest goes and is counted."""

    events_per_customer: AtLeastOne = 100
    journeys_per_customer: AtLeastOne = 50
    issues_per_customer: AtLeastOne = 50
    cases_per_customer: AtLeastOne = 50
    episodes_per_customer: AtLeastOne = 200
    evidence_per_alert: AtLeastOne = 20
    label_values: AtLeastOne = 100


class Slice(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bounded break-down: counters are added up for each combination of these dimensions."""

    by: tuple[str, ...]

    def __post_init__(self) -> None:
        for dimension in self.by:
            if dimension not in DIMENSIONS:
                raise ValueError(f"unknown dimension {dimension!r}; known are {', '.join(DIMENSIONS)}")


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


# Fields of one kind of rule only, and what they are if they are not given.
_OF_ENTITY_RULES: dict[str, object] = {"show": (), "cooldown": 0, "max_per_day": 0, "quiet": ()}
_OF_AGGREGATE_RULES: dict[str, object] = {"by": (), "windows": (), "for_": 0, "baseline": None, "clear": "", "group_by": None}


class Rule(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When it matters. `metric` makes an aggregate rule (evaluated by rollup), `on` an entity rule (evaluated by journeys).

    when: an expression over the names of `rules.language`; all `windows` must hold for an aggregate rule. show: names whose values an
    entity alert carries besides those in `when`; a change of theirs alone is no amendment. mode: a `draft` is evaluated and counted,
    but nobody is told; `off` is not evaluated. Of entity rules: cooldown: the time from one firing to the next of the same entity;
    max_per_day: the most firings of one entity in any 24 hours, 0 for no limit; quiet: spans such as `22:00-07:00`, in the file's
    `timezone`, in which nothing begins to fire. What these hold back fires when they allow it, if the condition still holds then.
    Of aggregate rules: baseline: a fixed target, or `hour-of-week` for the median of the same hour of the last `baseline_weeks` weeks;
    clear: while it fires, what must hold for an evaluation to be clean, in place of `when` not holding; group_by: dimensions by which
    firing series are told as one alert, `[]` for one of the whole rule. dashboard: a link, else the file's.
    """

    id: str
    when: str
    severity: Literal["info", "warning", "critical"] = "warning"
    metric: str | None = None
    on: Literal["customer", "journey", "issue"] | None = None
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
        if (self.metric is None) == (self.on is None):
            raise ValueError(f"rule {self.id!r} needs either `metric` (aggregate) or `on` (entity)")
        if self.metric is not None and self.metric not in METRIC_BY_ID:
            raise ValueError(f"rule {self.id!r} names the unknown metric {self.metric!r}")
        names = language.AGGREGATE_NAMES if self.metric else language.ENTITY_NAMES[self.on or "customer"]
        language.compile_expression(self.when, names)
        kind, others = ("an aggregate", _OF_ENTITY_RULES) if self.metric else ("an entity", _OF_AGGREGATE_RULES)
        for field, absent in others.items():
            if getattr(self, field) != absent:
                other = "entity" if self.metric else "aggregate"
                raise ValueError(f"rule {self.id!r} is {kind} rule: `{field.rstrip('_')}` is for {other} rules")
        QuietHours(self.quiet, zone_of("UTC"))
        if self.metric:
            self._check_aggregate(names)
        for name in self.show:
            if not language.knows(names, name):
                raise ValueError(f"rule {self.id!r} shows the unknown name {name!r}; known are {', '.join(sorted(names))}")

    def _check_aggregate(self, names: frozenset[str]) -> None:
        if self.clear:
            language.compile_expression(self.clear, names)
        used = language.names_in(self.when) | (language.names_in(self.clear) if self.clear else frozenset())
        if used & language.BASELINE_NAMES and self.baseline is None:
            raise ValueError(f"rule {self.id!r} names {min(used & language.BASELINE_NAMES)!r} and has no `baseline`")
        if self.group_by is not None and not set(self.group_by) < set(self.by):
            raise ValueError(f"rule {self.id!r}: `group_by` must leave out at least one dimension of `by`, and name no other")

    @property
    def names(self) -> frozenset[str]:
        """The names that the rule uses."""
        return language.names_in(self.when) | set(self.show)


class Definitions(Part, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. `digest` identifies its content; changed content needs a higher `revision`.

    timezone: of what goes by the clock on the wall (quiet hours, baselines by hour of the week), an IANA name. dashboard: the link that
    alerts carry, completed by their time and slice.
    """

    revision: int
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
        ids_of = {
            "journey": [one.id for one in self.journey],
            "rule": [one.id for one in self.rule],
            "pattern": [one.id for one in self.pattern],
        }
        for kind, ids in ids_of.items():
            for name in ids:
                if ids.count(name) > 1:
                    raise ValueError(f"{kind} {name!r} is defined twice")
        for text in self.windows:
            parse_duration(text)
        zone_of(self.timezone)
        for rule in self.rule:
            if rule.metric and rule.by not in [s.by for s in self.slice]:
                raise ValueError(f"rule {rule.id!r} is by {rule.by}, which is not a slice of this file")
            for text in rule.windows:
                if text not in self.windows:
                    raise ValueError(f"rule {rule.id!r} uses the window {text!r}, which is not among `windows`")
            needed = {CHAPTER_OF[rule.metric]} if rule.metric else {chapter_of_signal(name) or CORE[0] for name in rule.names}
            for name in sorted(rule.names):
                if name.startswith(PATTERN_PREFIX) and name.removeprefix(PATTERN_PREFIX) not in [p.id for p in self.pattern]:
                    raise ValueError(f"rule {rule.id!r} names {name!r}, and the file has no such pattern")
            for chapter in sorted(needed - self.chapters - {PATTERNS}):
                raise ValueError(f"rule {rule.id!r} needs the chapter `{chapter}`, which is off: add the table [{chapter}]")

    @property
    def chapters(self) -> frozenset[str]:
        """The chapters of the catalogue that are on."""
        return frozenset(chapter for chapter in CHAPTERS if chapter in CORE or getattr(self, chapter) is not None)

    def has(self, metric: Metric) -> bool:
        """Whether the metric's chapter is on."""
        return CHAPTER_OF[metric.id] in self.chapters

    @property
    def longest_deadline_ms(self) -> int:
        """After this long without events every open end is closed; `ingest` ends a finished history with it."""
        spans: list[int] = [j.deadline + j.recoverable_for for j in self.journey]
        if self.service is not None:
            spans += [self.service.response_within, self.service.resolution_within]
        if self.steps is not None:
            spans += [self.stall_after_ms(journey) for journey in self.journey]
        if (handoffs := self.handoffs) is not None:
            spans += [handoffs.accept_within, handoffs.partner_accept_within]
        if (care := self.communication) is not None:
            spans += [care.silent_after, care.silent_after_high, care.owner_within, care.notice_within]
        if self.causes is not None:
            spans.append(CAUSE_SPANS_MS[-1])
        if self.commerce is not None:
            spans.append(self.commerce.horizon)
        if self.browsing is not None:
            spans.append(self.browsing.gap)
        if self.operations is not None:
            spans.append(self.operations.keep_for)
        if self.contracts is not None:
            spans.append(self.contracts.grace)
        spans += [pattern.absence_ms for pattern in self.pattern]
        return max([*spans, self.contacts.window, self.contacts.repeat_within])

    def stall_after_ms(self, journey: Journey) -> int:
        """How long an instance of the journey may be in one step, where the chapter `steps` is on."""
        stall_after = journey.stall_after
        if stall_after is None:
            stall_after = Steps().stall_after if self.steps is None else self.steps.stall_after
        return int(stall_after)


def _hook(kind: type, value: object) -> Any:
    if kind is Duration and isinstance(value, str):
        return parse_duration(value)
    raise ValueError(f"expected a duration such as 30m, got {value!r}")


def parse(text: str, where: str = "definitions") -> Definitions:
    """Definitions of a TOML text. Raises DefinitionsError with what is wrong and where."""
    try:
        raw = tomllib.loads(text)
        raw["digest"] = hashlib.sha256(text.encode()).hexdigest()[:16]
        raw["text"] = text
        return msgspec.convert(raw, Definitions, dec_hook=_hook)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, DefinitionsError) as exc:
        raise DefinitionsError(f"{where}: {exc}") from exc


def default() -> Definitions:
    """The documented default (`streamer/default.toml`)."""
    return parse(default_text(), "default.toml")


def default_text() -> str:
    """The default file's text, comments included."""
    return (resources.files("streamer") / "default.toml").read_text(encoding="utf-8")
