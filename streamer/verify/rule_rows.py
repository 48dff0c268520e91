"""The rows in which an entity rule's alerts and the recount's are compared: what a row is about, what was counted, what was recounted."""

from __future__ import annotations

import math
from collections import Counter as Tally
from typing import TYPE_CHECKING, Any

from streamer.alerts.times import rfc3339
from streamer.verify.rules import Holding, in_condition

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from streamer.definitions import Rule
    from streamer.verify.counted import Counted
    from streamer.verify.recount import Recount
    from streamer.verify.rules import Spell

Entity = tuple[str, str, str]
_Moment = tuple[str, Holding]  # what it is about, and of whom and when
_Answer = dict[str, Any] | None
Row = tuple[_Moment, _Answer, _Answer]


class OfRule:
    """The rows of one rule. Of who refuses only that he is not told of while he does: his firings wait."""

    def __init__(self, rule: Rule, counted: Counted, recounted: Recount) -> None:
        self._told = [one for one in counted.told if one.rule == rule.id]
        self._mine: Sequence[Spell] = counted.spells.get(rule.id, ())
        self._theirs = recounted.spells[rule.id]
        self._refusing = recounted.refusing
        self._named = in_condition(rule)
        self._known: dict[Entity, list[Holding]] = {}
        for one in recounted.holdings[rule.id]:
            self._known.setdefault(one[:3], []).append(one)

    def in_order(self) -> Iterator[Row]:
        """Of a log that arrived in the order of its times: everything that was said."""
        yield from self._moments()
        yield from self._spells()

    def at_last(self) -> Iterator[Row]:
        """Of any log: what is left of it at the end."""
        yield from self._in_force()
        yield from self._fired()

    def _moments(self) -> Iterator[Row]:
        """Each alert's signals, and those of the recount at the same moment of the same entity. Who refused and consents again is told of
        at any moment since, be it one at which nothing changes.
        """
        held_back = {one[:4] for one in self._theirs if one.held_back}
        for transition in self._told:
            mine = transition.holding
            known = self._known.get(mine[:3], [])
            theirs = [one for one in known if one.time_ms == mine.time_ms and one.looked_at]
            if transition.state == "firing" and mine[:4] in held_back:
                theirs = _held_until(known, mine.time_ms)
            elif self._refuses(mine.key, mine.time_ms):
                theirs = []
            elif mine.key in self._refusing:
                theirs = [one for one in known if one.since <= 2 * mine.time_ms + 1 and one.until >= 2 * mine.time_ms]
            yield (transition.state, mine), mine.signals, _nearest(mine.signals, [one.signals for one in theirs])

    def _refuses(self, key: str, time_ms: int) -> bool:
        return any(refusal.has(time_ms) for refusal in self._refusing.get(key, ()))

    def _spells(self) -> Iterator[Row]:
        """Each firing must be one of the recount, and end when that does, with the same signals; where its entity ended, with those last
        told; and these must be what the recount would have told last.
        """
        mine, theirs = _numbered(self._mine), _numbered(self._theirs)
        for at in sorted({*mine, *theirs}):
            key, journey, name, time_ms, _ = at
            if key not in self._refusing:
                ours, other = mine.get(at), theirs.get(at)
                yield ("spell", Holding(key, journey, name, time_ms, {})), _ending(ours, ours), _ending(other, ours)
                if ours is not None and other is not None:
                    yield self._told_last(ours, other)

    def _told_last(self, ours: Spell, other: Spell) -> Row:
        mine = dict(ours.told or {})
        return ("told last", Holding(*other[:4], {})), mine, _nearest(mine, list(self._last_words(other)))

    def _last_words(self, spell: Spell) -> Iterator[dict[str, Any]]:
        """The signals that may be told last of a firing: of its begin or, where numbers that the condition names have changed since, of the
        last change. At the moment of its begin and of its end more than one may be.
        """
        known = self._known.get(spell[:3], [])
        looks = [one for one in known if one.looked_at and one.time_ms >= spell.time_ms]
        if spell.held_back:
            begins = [(first, [one for one in looks if one.since > 2 * spell.time_ms]) for first in _held_until(known, spell.time_ms)]
        else:
            begins = [(first, looks[at + 1 :]) for at, first in enumerate(looks) if first.time_ms == spell.time_ms]
        until_ms = math.inf if spell.until_ms is None else spell.until_ms
        for said, later in begins:
            for one in later:
                if one.time_ms >= until_ms:
                    yield said.signals
                if one.time_ms > until_ms:
                    break
                if not all(_same(said.signals[name], one.signals[name]) for name in self._named):
                    said = one
            yield said.signals

    def _in_force(self) -> Iterator[Row]:
        """For whom the rule fires at the end of the log, each with the recount's begin if it has one, and what was told last."""
        mine, theirs = ({one[:3]: one for one in some if one.until_ms is None} for some in (self._mine, self._theirs))
        fires: _Answer = {"fires": True}
        for entity, spell in sorted({**mine, **theirs}.items()):
            about = Holding(*entity, spell.time_ms, {})
            if entity[0] in self._refusing:
                if entity in mine and self._refusing[entity[0]][-1].until_ms is None:
                    yield ("in force", about), fires, None
            else:
                yield ("in force", about), fires if entity in mine else None, fires if entity in theirs else None
                if entity in mine and entity in theirs:
                    yield self._told_last(mine[entity], theirs[entity])

    def _fired(self) -> Iterator[Row]:
        """Whose firing told last has ended: if it was not taken back, the rule has fired for him."""
        latest = {one[:3]: one for one in self._mine}
        known = {one[:3] for one in self._theirs}
        fired: _Answer = {"fired": True}
        for entity, spell in sorted(latest.items()):
            if entity[0] not in self._refusing and spell.until_ms is not None and not spell.taken_back:
                yield ("not taken back", Holding(*entity, spell.time_ms, {})), fired, fired if entity in known else None


def _held_until(known: Sequence[Holding], time_ms: int) -> list[Holding]:
    """What holds when a time comes until which something was held back: after its deadlines and before its events."""
    now = 2 * time_ms
    looks = [one for one in known if one.looked_at and one.since == now][:1]
    return looks or [one for one in known if one.since <= now < one.until]


def _nearest(mine: dict[str, Any], theirs: Sequence[dict[str, Any]]) -> _Answer:
    """The processors' own signals if the recount has them, too, so that the order of additions makes no difference."""
    return mine if any(_same_signals(mine, other) for other in theirs) else theirs[-1] if theirs else None


def _numbered(spells: Iterable[Spell]) -> dict[tuple[str, str, str, int, int], Spell]:
    """By entity, begin, and number, because several may begin and end at one moment."""
    seen: Tally[tuple[Any, ...]] = Tally()
    found = {}
    for one in spells:
        seen[one[:4]] += 1
        found[one.key, one.journey, one.name, one.time_ms, seen[one[:4]]] = one
    return found


def _ending(spell: Spell | None, counted: Spell | None) -> _Answer:
    """When it ends, and with which signals: of what equals the processors' theirs, so that the order of additions makes no difference."""
    if spell is None or spell.until_ms is None:
        return spell and {"until": None}
    signals = spell.signals
    if counted is not None and signals is None:
        signals = counted.told
    if counted is not None and counted.signals is not None and signals is not None and _same_signals(counted.signals, signals):
        signals = counted.signals
    return {"until": rfc3339(spell.until_ms), "signals": signals}


def _same_signals(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    return mine.keys() == theirs.keys() and all(_same(mine[name], theirs[name]) for name in mine)


def _same(mine: Any, theirs: Any) -> bool:
    return math.isclose(mine, theirs, rel_tol=1e-9) if isinstance(mine, float) and isinstance(theirs, (int, float)) else mine == theirs


def told(moment: _Moment, mine: _Answer, theirs: _Answer) -> dict[str, Any]:
    """A difference as JSON."""
    about, one = moment
    entity = {"customer": one.key, **({"journey": one.journey} if one.journey else {}), **({"id": one.name} if one.name else {})}
    return {"about": about, "time": rfc3339(one.time_ms), "entity": entity, "counted": mine, "recounted": theirs}
