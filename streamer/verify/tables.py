"""The definitions and the catalogue's declarations as the rows of the tables of `sql/00_schema.sql`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from streamer.durations import parse_duration
from streamer.metrics.catalogue import CORE, FRICTION_TYPES, LIFETIME, METRICS
from streamer.metrics.counters import ACCOUNT, CELL_DIMENSIONS, DIMENSIONS_OF, FIRST_CASES, FIRST_CHAPTERS, FIRST_CONTACTS, Counter
from streamer.touchpoints.catalogue import CHANNELS, DETAILED, TYPES
from streamer.verify.looks import looks
from streamer.verify.ranges import WHOLE, Range

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamer.definitions import Definitions
    from streamer.metrics.metric import Metric
    from streamer.verify.raw_log import Clocks

_SECOND_MS = 1_000


def used_dimensions(definitions: Definitions) -> tuple[str, ...]:
    """What any slice breaks down by, always the journey, and the account if a rule is on accounts; in the catalogue's order."""
    used = {"journey", *(name for by in definitions.slices for name in by)}
    return tuple(name for name in CELL_DIMENSIONS if name in used)


def cell_of(counter: int, values: Mapping[str, str], dimensions: Sequence[str], by_account: frozenset[int]) -> tuple[str, ...]:
    """What a counter's cell is told by. by_account: counters that rules on accounts look at; only of these it says the account."""
    return tuple("" if name == ACCOUNT and counter not in by_account else values.get(name, "") for name in dimensions)


def tables(definitions: Definitions, clocks: Clocks, within: Range = WHOLE) -> dict[str, list[list[Any]]]:
    """By table. within: what metrics are of; an end of its own if it leaves anything out."""
    return {
        "settings": [_settings(definitions, max(clocks.ends.values(), default=0), within)],
        "ends": [list(end) for end in clocks.ends.items()],
        "idle_clocks": [list(idle) for idle in clocks.idle],
        "event_types": [[name] for name in sorted(TYPES)],
        "channels": [[name] for name in CHANNELS],
        "channel_groups": [[channel, group] for channel, group in definitions.contacts.channel_groups.items()],
        "families": [
            [counter.name, _family(counter), [*DIMENSIONS_OF[counter], *([ACCOUNT] if counter in definitions.account_counters else ())]]
            for counter in Counter
        ],
        "slices": [[number, list(by)] for number, by in enumerate(definitions.breakdowns)],
        "windows": [[LIFETIME, None], *([name, int(parse_duration(name))] for name in definitions.windows)],
        "metric_parts": [
            [
                metric.id,
                metric.kind,
                metric.scale,
                part,
                counter.name,
                metric.quantile or None,
                *_bucket(metric, number),
                metric.squares_unit if part == "squares" else 1,
            ]
            for metric in METRICS
            if definitions.has(metric)
            for part, counters in (
                ("numerator", metric.numerator),
                ("denominator", metric.denominator),
                ("minus", metric.minus),
                ("squares", metric.squares_counters),
                ("sample", (metric.sample,) if metric.sample else ()),
            )
            for number, counter in enumerate(counters)
        ],
        "chapter_friction_types": [[name] for chapter in sorted(definitions.chapters) for name in FRICTION_TYPES.get(chapter, ())],
        "looks": [[part, pattern] for part, patterns in looks(definitions).items() for pattern in patterns],
        "detailed_types": [[name] for name in sorted(DETAILED)],
        "chapter_settings": [
            [chapter, name, _text(value)]
            for chapter in sorted(definitions.chapters - set(CORE))
            for name, value in msgspec.structs.asdict(getattr(definitions, chapter)).items()
        ],
        **_journeys(definitions),
        **_contacts(definitions),
        **_patterns(definitions),
    }


def _text(value: Any) -> str:
    """A setting as text; a list as JSON."""
    return msgspec.json.encode(value).decode() if isinstance(value, tuple | dict) else str(value)


def _bucket(metric: Metric, number: int) -> list[Any]:
    if metric.kind != "quantile":
        return [None, None, None]
    edges = [0.0, *metric.edges, None]
    return [number, *edges[number : number + 2]]


def _settings(definitions: Definitions, clock_ms: int, within: Range) -> list[Any]:
    contacts, effort, cases = definitions.contacts, definitions.effort, definitions.cases
    decided_ms = (clock_ms // _SECOND_MS - 1) * _SECOND_MS
    return [
        clock_ms, decided_ms, *within, within.windows_at if within.limited else decided_ms,
        int(definitions.allowed_lateness), contacts.scope, int(contacts.window), int(contacts.repeat_within),
        int(contacts.switch_within), contacts.switch_burst, list(contacts.routing),
        round(effort.medium * 10), round(effort.high * 10),
        cases.journey, list(cases.owner), int(cases.retention), list(used_dimensions(definitions)),
    ]  # fmt: skip


def _journeys(definitions: Definitions) -> dict[str, list[list[Any]]]:
    numbered = list(enumerate(definitions.journey))
    return {
        "journeys": [
            [n, j.id, int(j.deadline), int(j.recoverable_for), list(j.identified_by), list(j.steps), definitions.stall_after_ms(j)]
            for n, j in numbered
        ],
        "role_patterns": [
            [number, precedence, role, pattern]
            for number, journey in numbered
            for precedence, (role, patterns) in enumerate(
                {"start": journey.start, "complete": journey.complete, "fail": journey.fail, "activity": journey.activity}.items()
            )
            for pattern in patterns
        ],
    }


def _contacts(definitions: Definitions) -> dict[str, list[list[Any]]]:
    contacts, effort = definitions.contacts, definitions.effort
    kinds = {
        "started": contacts.started, "resolved": contacts.resolved, "reopened": contacts.reopened,
        "transferred": contacts.transferred, "switch_on": contacts.switch_on, "case": definitions.cases.events,
    }  # fmt: skip
    weights = {
        "repeat": effort.repeat_contact, "cold": effort.cold_transfer, "warm": effort.warm_transfer,
        "switch": effort.channel_switch, "ping_pong": effort.ping_pong, "repeated_field": effort.repeated_field,
        "generic": effort.generic, "error_loop": effort.error_loop,
    }  # fmt: skip
    return {
        "kind_patterns": [[kind, pattern] for kind, patterns in kinds.items() for pattern in patterns],
        "weights": [[kind, round(points * 10)] for kind, points in weights.items()],
    }


def _patterns(definitions: Definitions) -> dict[str, list[list[Any]]]:
    return {
        "patterns": [[p.id, p.same or "", len(p.events), int(p.within), p.absence_ms, int(p.counts_for)] for p in definitions.pattern],
        "pattern_types": [
            [p.id, nth, name] for p in definitions.pattern for nth, name in [*enumerate(p.events, 1), *((0, name) for name in p.without)]
        ],
    }


def _family(counter: Counter) -> str:
    if counter >= FIRST_CHAPTERS:
        return "event"
    return "journey" if counter < FIRST_CONTACTS else "contact" if counter < FIRST_CASES else "case"
