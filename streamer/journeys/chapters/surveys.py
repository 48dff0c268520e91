"""Surveys (S0-S4): answers per instrument, version and scope; of NPS only the latest of each customer and scope counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from streamer.journeys.cells import EVENT
from streamer.journeys.chapter import Chapter
from streamer.journeys.exemplars import cause_in
from streamer.journeys.plan import Plans
from streamer.journeys.state import NEVER, pack_cause
from streamer.metrics.chapters import surveys
from streamer.metrics.counters import Counter
from streamer.touchpoints.details import SCORE_DIGITS, Details

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.journeys.cells import Cell, Cells
    from streamer.journeys.sinks import Sink
    from streamer.journeys.state import Kept, State
    from streamer.rules.language import Value
    from streamer.touchpoints.touchpoint import Touchpoint

# Beyond these the oldest goes.
TOUCHPOINTS_MAX: Final = 20
INVITATIONS_MAX: Final = 50
# The widest scale, so that sums of squares stay small.
SCALE_MAX: Final = 1_000

_ONE: Final = 10**SCORE_DIGITS
_BEST: Final = 10
# Plain integers, because an enumeration's members cost twice.
_NPS: Final = {scope: tuple(int(counter) for counter in counters) for scope, counters in surveys.NPS.items()}
_CSAT: Final = {scope: tuple(int(counter) for counter in counters) for scope, counters in surveys.CSAT.items()}
_CES: Final = {scope: tuple(int(counter) for counter in counters) for scope, counters in surveys.CES.items()}
_CES1: Final = {scope: tuple(int(counter) for counter in counters) for scope, counters in surveys.CES1.items()}
_LOYALTY: Final = int(Counter.LOYALTY_ANSWERS)
_LOYALTY_POINTS: Final = int(Counter.LOYALTY_POINTS)
_LOYALTY_SQUARED: Final = int(Counter.LOYALTY_POINTS_SQUARED)
_INVITATIONS: Final = int(Counter.INVITATIONS)
_ANSWERED: Final = int(Counter.INVITATIONS_ANSWERED)

_SENT: Final = "survey.sent"
_RESPONDED: Final = "survey.responded"
# What an answer says of the customer stays, whatever touchpoint it is about.
_WHO: Final = ("segment", "persona", "region")
# Of a signal: where the latest answers stand, and its value without any.
_SIGNALS: Final = {"csat_lowest": ("csat", 5.0), "ces_lowest": ("ces", 7.0), "ces1_highest": ("ces1", 1.0)}
_LATEST: Final = ("nps", "csat", "ces", "ces1")
_NOTHING: Final = Details()


class Surveys(Chapter):
    """data: `nps`: scope -> [time, score, packed cell] of the answer that counts; `csat`, `ces`, `ces1`: scope -> [time, score in
    hundredths] of the latest answer; `sent`: [time, instrument, packed cell] of each open invitation; `seen`: [time, packed cell, ids]
    of the last touchpoint of each combination of ids. Both lists have the oldest first.
    """

    id = "surveys"

    def __init__(self, definitions: Definitions, cells: Cells, evidenced: bytes) -> None:
        super().__init__(definitions, cells, evidenced)
        settings = definitions.surveys
        assert settings is not None  # noqa: S101  otherwise the chapter is off
        self.types = (_SENT, _RESPONDED, *settings.attribute_to)
        self._plans = Plans(definitions)
        self._latest_within = int(settings.latest_within)
        # What is that old still counts, and a deadline comes before an event at the same time.
        self._seen_for = int(settings.attribute_within) + 1
        self._sent_for = int(settings.invitation_within) + 1
        self._satisfied_thousandths = round(settings.satisfied_share * 1000)
        self._loyalty, self._loyalty_scope = frozenset(settings.loyalty_questions), settings.loyalty_scope

    def is_evidence(self, event: Touchpoint) -> bool:
        """Only answers are seen by rules."""
        return event.type == _RESPONDED

    def apply(self, kept: Kept, event: Touchpoint, state: State, sink: Sink) -> int:
        """Count an invitation or an answer, or remember what answers may be about."""
        self.moved = event.type == _RESPONDED or (self.first_look and not kept.data)
        if event.type == _RESPONDED:
            self._answer(kept, event, event.details or _NOTHING, sink)
        elif event.type == _SENT:
            self._invite(kept, event, event.details or _NOTHING, sink)
        else:
            self._see(kept, event, sink)
        self.set_due(kept)
        return 0

    def _see(self, kept: Kept, event: Touchpoint, sink: Sink) -> None:
        seen: list[list[Any]] = kept.data.setdefault("seen", [])
        ids = [event.journey_id, event.case_id or event.issue_id, event.order_id]
        for number, known in enumerate(seen):
            if known[2] == ids:
                del seen[number]
                break
        if len(seen) >= TOUCHPOINTS_MAX:
            del seen[0]
            sink.note("cut_survey_touchpoints")
        cell = self.cells.of(EVENT, self._plans.of(event).journey or event.journey, event)
        seen.append([event.time, cell.packed, ids])

    def _cell(self, kept: Kept, event: Touchpoint, details: Details) -> Cell:
        """The event's own cell if it names a journey, else that of the last touchpoint it is about."""
        own = self.cells.own(event)
        seen: list[list[Any]] = kept.data.get("seen", [])
        if event.journey or not seen:
            return own
        about = [
            details.about_journey_id or event.journey_id,
            details.about_case_id or event.case_id or event.issue_id,
            details.about_order_id or event.order_id,
        ]
        for touchpoint in seen[::-1]:
            ids: list[str] = touchpoint[2]
            if about == ["", "", ""] or any(name and name == other for name, other in zip(about, ids, strict=True)):
                who: dict[str, str] = {name: own.labels[name] for name in _WHO if name in own.labels}
                return self.cells.with_values(self.cells.unpack(touchpoint[1]), who)
        return own

    def _invite(self, kept: Kept, event: Touchpoint, details: Details, sink: Sink) -> None:
        sent: list[list[Any]] = kept.data.setdefault("sent", [])
        if len(sent) >= INVITATIONS_MAX:
            del sent[0]
            sink.note("cut_invitations")
        cell = self._cell(kept, event, details)
        sent.append([event.time, details.instrument, cell.packed])
        sink.count(_INVITATIONS, cell, event.time)

    def _answer(self, kept: Kept, event: Touchpoint, details: Details, sink: Sink) -> None:
        self._close_invitation(kept, details.instrument, sink)
        score = details.score
        if score is None:
            return
        cell = self._cell(kept, event, details)
        scope = details.scope or "experience"
        if details.instrument == "nps":
            self._nps(kept, event.time, scope, score, details, cell, sink)
        elif details.instrument == "csat":
            self._csat(kept, event.time, scope, score, details, cell, sink)
        elif details.instrument == "ces":
            self._ces(kept, event.time, scope, score, details, cell, sink)
        if details.question in self._loyalty and scope == self._loyalty_scope and details.instrument != "ces":
            self._count_loyalty(event.time, score, details, cell, sink)

    def _close_invitation(self, kept: Kept, instrument: str, sink: Sink) -> None:
        sent: list[list[Any]] = kept.data.get("sent", [])
        for number, invitation in enumerate(sent):
            if invitation[1] == instrument:
                sink.count(_ANSWERED, self.cells.unpack(invitation[2]), invitation[0])
                del sent[number]
                if not sent:
                    del kept.data["sent"]
                return

    def _nps(self, kept: Kept, time: int, scope: str, score: int, details: Details, cell: Cell, sink: Sink) -> None:
        if scope not in _NPS or score % _ONE or not _is_on(details, score, 0, _BEST * _ONE):
            sink.note("survey_out_of_scale")
            return
        answers = kept.data.setdefault("nps", {})
        before = answers.get(scope)
        # Windows end now: one that has the earlier answer has this one too, so taking the earlier one back where it was counted is exact.
        if before is not None and time - before[0] < self._latest_within:
            sink.cause = cause_in(before[3:])
            for counter in _nps_counters(scope, before[1]):
                sink.count_back(counter, self.cells.unpack(before[2]), before[0])
        counters = _nps_counters(scope, score // _ONE)
        origin = sink.origin(1) if any(self.evidenced[counter] for counter in counters) else None
        answers[scope] = [time, score // _ONE, cell.packed, *([] if origin is None else [pack_cause(origin)])]
        for counter in counters:
            sink.count(counter, cell, time)

    def _csat(self, kept: Kept, time: int, scope: str, score: int, details: Details, cell: Cell, sink: Sink) -> None:
        least, most = _scale(details, _ONE, 5 * _ONE)
        if scope not in _CSAT or not _holds(least, score, most):
            sink.note("survey_out_of_scale")
            return
        answers, satisfied, rated, points, squares = _CSAT[scope]
        sink.count(answers, cell, time)
        of_five = score
        if least == _ONE and most == 5 * _ONE:
            is_satisfied = score >= 4 * _ONE
            sink.count(rated, cell, time)
            sink.count(points, cell, time, score)
            sink.count(squares, cell, time, score * score)
        else:
            is_satisfied = (score - least) * 1000 >= self._satisfied_thousandths * (most - least)
            of_five = _ONE + (score - least) * 4 * _ONE // (most - least)
        if is_satisfied:
            sink.count(satisfied, cell, time)
        kept.data.setdefault("csat", {})[scope] = [time, of_five]

    def _ces(self, kept: Kept, time: int, scope: str, score: int, details: Details, cell: Cell, sink: Sink) -> None:
        version = details.ces_version
        if version not in ("1.0", "2.0"):
            sink.note("survey_without_ces_version")
            return
        if scope not in _CES or not _is_on(details, score, _ONE, (7 if version == "2.0" else 5) * _ONE):
            sink.note("survey_out_of_scale")
            return
        if version == "2.0":
            answers, agreed, points, squares = _CES[scope]
            if score >= 5 * _ONE:
                sink.count(agreed, cell, time)
            sink.count(squares, cell, time, score * score)
            kept.data.setdefault("ces", {})[scope] = [time, score]
        else:
            answers, easy, points = _CES1[scope]
            if score <= 2 * _ONE:
                sink.count(easy, cell, time)
            kept.data.setdefault("ces1", {})[scope] = [time, score]
        sink.count(answers, cell, time)
        sink.count(points, cell, time, score)

    def _count_loyalty(self, time: int, score: int, details: Details, cell: Cell, sink: Sink) -> None:
        least, most = _scale(details, 0, _BEST * _ONE) if details.instrument == "nps" else _scale(details, _ONE, 5 * _ONE)
        if not _holds(least, score, most):
            sink.note("survey_out_of_scale")
            return
        points = ((score - least) * 100 * _ONE + (most - least) // 2) // (most - least)
        sink.count(_LOYALTY, cell, time)
        sink.count(_LOYALTY_POINTS, cell, time, points)
        sink.count(_LOYALTY_SQUARED, cell, time, points * points)

    def set_due(self, kept: Kept) -> None:
        """When the first of what is kept is over."""
        due = NEVER
        for name in _LATEST:
            for answer in kept.data.get(name, {}).values():
                due = min(due, answer[0] + self._latest_within)
        if sent := kept.data.get("sent"):
            due = min(due, sent[0][0] + self._sent_for)
        if seen := kept.data.get("seen"):
            due = min(due, seen[0][0] + self._seen_for)
        kept.due = due

    def fire(self, kept: Kept, due: int, state: State, sink: Sink) -> None:
        """Forget answers that no later one can replace any more, invitations and touchpoints that are too old."""
        for name in _LATEST:
            answers = kept.data.get(name)
            if answers is not None:
                for scope in [scope for scope, answer in answers.items() if answer[0] + self._latest_within <= due]:
                    del answers[scope]
                if not answers:
                    del kept.data[name]
        for name, lasts in (("sent", self._sent_for), ("seen", self._seen_for)):
            entries = kept.data.get(name)
            if entries is not None:
                while entries and entries[0][0] + lasts <= due:
                    del entries[0]
                if not entries:
                    del kept.data[name]
        if not any(name in kept.data for name in _LATEST):
            kept.causes, kept.cause_count = [], 0
        self.set_due(kept)

    def signal(self, kept: Kept, name: str) -> Value:
        """Of the latest answers."""
        if name == "nps_lowest":
            answers: dict[str, list[Any]] = kept.data.get("nps", {})
            return min((int(answer[1]) for answer in answers.values()), default=_BEST)
        where, without = _SIGNALS[name]
        scores: list[float] = [answer[1] / _ONE for answer in kept.data.get(where, {}).values()]
        if not scores:
            return without
        return max(scores) if name == "ces1_highest" else min(scores)


def _nps_counters(scope: str, score: int) -> tuple[int, ...]:
    """What an answer counts in."""
    promoters, detractors, all_ = _NPS[scope]
    if score >= 9:
        return (all_, promoters)
    return (all_, detractors) if score <= 6 else (all_,)


def _scale(details: Details, least: int, most: int) -> tuple[int, int]:
    """The answer's scale, where it says none the usual one."""
    return (
        least if details.scale_min is None else details.scale_min,
        most if details.scale_max is None else details.scale_max,
    )


def _holds(least: int, score: int, most: int) -> bool:
    return -SCALE_MAX * _ONE <= least <= score <= most <= SCALE_MAX * _ONE and least < most


def _is_on(details: Details, score: int, least: int, most: int) -> bool:
    """Whether the answer is on the instrument's one scale."""
    return _scale(details, least, most) == (least, most) and least <= score <= most
