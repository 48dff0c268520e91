"""Two versions of the rules over the same history: which firings only one of them has, and which come at another time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from streamer.backtest.firings import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streamer.backtest.firings import Firing


EVER: Final = Span()


class Difference(NamedTuple):
    """Of one rule. moved: pairs of the same subject that overlap and begin at different times."""

    rule: str
    only_here: Sequence[Firing]
    only_there: Sequence[Firing]
    moved: Sequence[tuple[Firing, Firing]]
    same: int


def differences(here: Iterable[Firing], there: Iterable[Firing], span: Span = EVER) -> list[Difference]:
    """By rule, in alphabetical order. Firings of one fingerprint that overlap in time belong together, the earliest first.

    span: of those that belong together one begins in it at least; a partner may have begun before.
    """
    mine, theirs = list(here), list(there)
    rules = sorted({firing.rule for firing in (*mine, *theirs) if span.has(firing.start_ms)})
    return [_of_rule(rule, [f for f in mine if f.rule == rule], [f for f in theirs if f.rule == rule], span) for rule in rules]


def _of_rule(rule: str, mine: Sequence[Firing], theirs: Sequence[Firing], span: Span) -> Difference:
    waiting: dict[str, list[Firing]] = {}
    for firing in theirs:
        waiting.setdefault(firing.fingerprint, []).append(firing)
    only_here: list[Firing] = []
    moved: list[tuple[Firing, Firing]] = []
    same = 0
    for firing in mine:
        others = waiting.get(firing.fingerprint, [])
        match = next((other for other in others if other.start_ms == firing.start_ms), None)
        match = match or next((other for other in others if _overlap(firing, other)), None)
        if match is None:
            if span.has(firing.start_ms):
                only_here.append(firing)
            continue
        others.remove(match)
        if not span.has(firing.start_ms) and not span.has(match.start_ms):
            continue
        if match.start_ms == firing.start_ms:
            same += 1
        else:
            moved.append((firing, match))
    left = {id(firing) for rest in waiting.values() for firing in rest}
    return Difference(rule, only_here, [f for f in theirs if id(f) in left and span.has(f.start_ms)], moved, same)


def _overlap(one: Firing, other: Firing) -> bool:
    return (other.end_ms is None or one.start_ms < other.end_ms) and (one.end_ms is None or other.start_ms < one.end_ms)
