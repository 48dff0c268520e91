"""What is allowed in a definitions file and probably not meant: warnings of `streamer rules check`."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

from streamer.definitions import Contacts, Definitions, Journey, Pattern, Rule
from streamer.deltas import PANE_MS
from streamer.durations import parse_duration, written
from streamer.metrics.catalogue import METRIC_BY_ID
from streamer.metrics.counters import DIMENSIONS
from streamer.metrics.metric import BOUNDED, SAMPLED
from streamer.rules import language
from streamer.suggestions import hint, nearest, quoted
from streamer.toml_places import Path, locate, nearest_place
from streamer.touchpoints.catalogue import TYPES
from streamer.validation import Problem

# Below it an interval says little, and what it says is wrong too often: `bench.looks` counts how often. [H]
MIN_N: Final = 20
_BOUNDS: Final = frozenset({"value", "lower", "upper"})
_OF_CONTACTS: Final = ("started", "resolved", "reopened", "transferred", "switch_on")
_TEXTS: Final = frozenset({*DIMENSIONS, "severity", "reason"})


def warnings(definitions: Definitions) -> list[Problem]:
    """What to look at again, from top to bottom. `definitions` must hold together."""
    places = locate(definitions.text)
    found = [*_of_windows(definitions), *_of_latest(definitions)]
    found += _of_slices(definitions)
    found += [(("contacts", *path), f"contacts: {text}") for path, text in _of_types(definitions.contacts, _OF_CONTACTS)]
    for index, pattern in enumerate(definitions.pattern):
        of_pattern = _of_types(pattern, ("events", "without"))
        found += [(("pattern", index, *path), f"pattern {quoted(pattern.id)}: {text}") for path, text in of_pattern]
    for index, journey in enumerate(definitions.journey):
        found += [((*("journey", index), *path), f"journey {quoted(journey.id)}: {text}") for path, text in _of_journey(journey)]
    for index, rule in enumerate(definitions.rule):
        found += [(("rule", index, key), f"rule {quoted(rule.id)}: {text}") for key, text in _of_rule(rule, definitions)]
    return sorted(Problem(*nearest_place(places, path), text) for path, text in found)


def _of_windows(definitions: Definitions) -> Iterator[tuple[Path, str]]:
    for index, window in enumerate(definitions.windows):
        if parse_duration(window) < PANE_MS:
            yield ("windows", index), f"the window {quoted(window)} is shorter than a pane of {PANE_MS // 1000} s: nothing is ever in it"


def _of_latest(definitions: Definitions) -> Iterator[tuple[Path, str]]:
    """Of whom only the latest answer counts, it does so for a while; two in a window that is longer both do."""
    named = [(name, chapter.latest_within) for name in ("surveys", "wallet") if (chapter := getattr(definitions, name)) is not None]
    for index, window in enumerate(definitions.windows):
        for name, within in named:
            if parse_duration(window) > within:
                text = f"the window {quoted(window)} is longer than `{name}.latest_within` ({written(within)})"
                yield ("windows", index), f"{text}: of a customer whose answers are further apart it counts more than the latest"


def _of_slices(definitions: Definitions) -> Iterator[tuple[Path, str]]:
    seen = set()
    for index, part in enumerate(definitions.slice):
        for name in sorted({name for name in part.by if part.by.count(name) > 1}):
            yield ("slice", index, "by"), f"the slice names {quoted(name)} more than once"
        if part.by in seen:
            yield ("slice", index, "by"), f"the slice {quoted(', '.join(part.by) or 'all')} is there already: this one does nothing"
        seen.add(part.by)


def _of_journey(journey: Journey) -> Iterator[tuple[Path, str]]:
    yield from _of_types(journey, ("start", "complete", "fail", "activity"))
    if not journey.start:
        yield ("start",), "`start` is empty: it never begins"
    if not journey.complete:
        yield ("complete",), "`complete` is empty: whoever begins it abandons it or fails"
    for name in sorted(set(journey.start) & set(journey.complete)):
        yield ("complete",), f"{quoted(name)} both starts and completes it: none is ever completed by it"


def _of_types(part: Journey | Pattern | Contacts, keys: Iterable[str]) -> Iterator[tuple[Path, str]]:
    for key in keys:
        for index, name in enumerate(getattr(part, key)):
            if name.endswith(".*"):
                areas = {known.partition(".")[0] for known in TYPES}
                if name[:-2] not in areas and (near := nearest(name[:-2], areas)):
                    yield (key, index), f"no known type begins with {quoted(name[:-1])}: did you mean {quoted(near + '.*')}?"
            elif name not in TYPES and (near := nearest(name, TYPES)):
                yield (key, index), f"{quoted(name)} is no known type: did you mean {quoted(near)}?"


def _of_rule(rule: Rule, definitions: Definitions) -> Iterator[tuple[str, str]]:
    if not rule.runbook:
        yield "id", "has no `runbook`: whoever gets its alert will not know what to look at"
    if not rule.action:
        yield "id", "has no `action`: whoever gets its alert will not know what to do"
    if rule.mode != "enabled":
        yield "mode", "is a draft: nobody is told" if rule.mode == "draft" else "is off: it is not evaluated"
    yield from (("when", text) for text in _of_condition(rule.when, rule, definitions))
    if rule.clear:
        yield from (("clear", f"`clear` {text}") for text in _of_condition(rule.clear, rule, definitions))
    if rule.metric is not None and METRIC_BY_ID[rule.metric].kind in SAMPLED and rule.min_n < MIN_N:
        yield "min_n", f"`min_n` is {rule.min_n}: below {MIN_N} a number is more chance than measure"


def _of_condition(condition: str, rule: Rule, definitions: Definitions) -> Iterator[str]:
    tree = language.parse(condition)
    if rule.metric is not None:
        metric = METRIC_BY_ID[rule.metric]
        used = language.names_in(condition)
        for name in sorted((used & set(DIMENSIONS)) - set(rule.by)):
            yield f"{quoted(name)} is not in `by`, so it is always empty"
        bounded = metric.kind in BOUNDED and (metric.kind != "mean" or metric.squares is not None)
        if bounded and "value" in used and used.isdisjoint({"lower", "upper"}):
            yield "looks at `value`, which chance moves; `lower` and `upper` are the bounds of its 95 % interval"
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            terms = [node.left, *node.comparators]
            for (left, right), operator in zip(pairwise(terms), node.ops, strict=True):
                holds = "always" if isinstance(operator, ast.NotEq) else "never"
                yield from _of_comparison(left, right, holds, rule, definitions)
                yield from _of_comparison(right, left, holds, rule, definitions)


def _of_comparison(name: ast.expr, other: ast.expr, holds: str, rule: Rule, definitions: Definitions) -> Iterator[str]:
    """holds: what a comparison with this operator does if one side is a text and the other a number."""
    if not isinstance(name, ast.Name) or not isinstance(other, ast.Constant):
        return
    value = other.value
    if isinstance(value, str) != (name.id in _TEXTS):
        yield f"compares {quoted(name.id)}, a {'text' if name.id in _TEXTS else 'number'}, with {value!r}: that {holds} holds"
    elif isinstance(value, str):
        known = {journey.id for journey in definitions.journey}
        if name.id == "journey" and value not in known:
            yield f"no journey is called {quoted(value)}: {hint(value, known)}"
    elif isinstance(value, int | float) and abs(value) > 1 and name.id in _BOUNDS and _is_ratio(rule):
        yield f"{rule.metric} is from 0 to 1, and {value} is outside: 50 % is 0.5"


def _is_ratio(rule: Rule) -> bool:
    return rule.metric is not None and METRIC_BY_ID[rule.metric].kind == "ratio"
