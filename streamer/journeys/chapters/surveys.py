"""Surveys (S0-S4): answers per instrument and scope; of NPS only the latest of each customer and scope counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from streamer.journeys.cells import EVENT
from streamer.journeys.chapter import Chapter
from streamer.journeys.state import NEVER
from streamer.metrics.chapters import surveys
from streamer.touchpoints.details import SCORE_DIGITS

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.journeys.cells import Cells
    from streamer.journeys.sinks import Sink
    from streamer.journeys.state import Kept, State
    from streamer.rules.language import Value
    from streamer.touchpoints.touchpoint import Touchpoint

_ONE: Final = 10**SCORE_DIGITS
_BEST: Final = 10
# scope -> (promoters, detractors, answers); plain integers, because an enumeration's members cost twice.
_NPS: Final = {scope: tuple(int(counter) for counter in counters) for scope, counters in surveys.NPS.items()}


class Surveys(Chapter):
    """data: `nps`: scope -> [time, score, packed cell] of the answer that counts."""

    id = "surveys"

    def __init__(self, definitions: Definitions, cells: Cells) -> None:
        super().__init__(definitions, cells)
        assert definitions.surveys is not None  # noqa: S101  otherwise the chapter is off
        self.types = ("survey.responded",)
        self._latest_within = int(definitions.surveys.latest_within)

    def apply(self, kept: Kept, event: Touchpoint, state: State, sink: Sink) -> int:
        """Count an answer."""
        details = event.details
        if details is None or details.score is None:
            return 0
        if details.instrument == "nps":
            self._nps(kept, event, details.scope or "experience", details.score, sink)
        return 0

    def _nps(self, kept: Kept, event: Touchpoint, scope: str, score: int, sink: Sink) -> None:
        if scope not in _NPS or score % _ONE or not 0 <= score <= _BEST * _ONE:
            sink.note("survey_out_of_scale")
            return
        answers = kept.data.setdefault("nps", {})
        before = answers.get(scope)
        # Windows end now: one that has the earlier answer has this one too, so taking the earlier one back where it was counted is exact.
        if before is not None and event.time - before[0] < self._latest_within:
            self._count(scope, before, -1, sink)
        cell = self.cells.of(EVENT, event.journey, event)
        answers[scope] = [event.time, score // _ONE, cell.packed]
        self._count(scope, answers[scope], 1, sink)
        self._set_due(kept)

    def _count(self, scope: str, answer: list[object], n: int, sink: Sink) -> None:
        time, score, packed = answer
        assert isinstance(time, int)  # noqa: S101  as it was kept
        assert isinstance(score, int)  # noqa: S101
        assert isinstance(packed, dict)  # noqa: S101
        promoters, detractors, all_ = _NPS[scope]
        cell = self.cells.unpack(packed)
        sink.count(all_, cell, time, n)
        if score >= 9:
            sink.count(promoters, cell, time, n)
        elif score <= 6:
            sink.count(detractors, cell, time, n)

    def _set_due(self, kept: Kept) -> None:
        kept.due = min((answer[0] + self._latest_within for answer in kept.data["nps"].values()), default=NEVER)

    def fire(self, kept: Kept, due: int, state: State, sink: Sink) -> None:
        """Forget answers that no later one can replace any more."""
        answers = kept.data["nps"]
        for scope in [scope for scope, answer in answers.items() if answer[0] + self._latest_within <= due]:
            del answers[scope]
        if not answers:
            del kept.data["nps"]
            kept.due = NEVER
        else:
            self._set_due(kept)

    def signal(self, kept: Kept, name: str) -> Value:
        """`nps_lowest`."""
        return min((answer[1] for answer in kept.data.get("nps", {}).values()), default=_BEST)
