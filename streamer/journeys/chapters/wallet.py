"""Share of wallet (B5): of a customer's declarations and rankings only the latest of each kind counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from streamer.journeys.chapter import Chapter
from streamer.journeys.state import NEVER
from streamer.metrics.chapters import wallet

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.journeys.cells import Cells
    from streamer.journeys.sinks import Sink
    from streamer.journeys.state import Kept, State
    from streamer.rules.language import Value
    from streamer.touchpoints.details import Details
    from streamer.touchpoints.touchpoint import Touchpoint

_PARTS: Final = wallet.PARTS
_SHARES: Final = {kind: tuple(int(counter) for counter in counters) for kind, counters in wallet.SHARES.items()}
# More brands than anybody uses are taken for an error.
BRANDS_MAX: Final = 100


class Wallet(Chapter):
    """data: `declared`, `ranked` -> [time, share in ten-thousandths, packed cell] of the answer that counts."""

    id = "wallet"

    def __init__(self, definitions: Definitions, cells: Cells, evidenced: bytes) -> None:
        super().__init__(definitions, cells, evidenced)
        assert definitions.wallet is not None  # noqa: S101  otherwise the chapter is off
        self.types = ("wallet.declared", "survey.responded")
        self._latest_within = int(definitions.wallet.latest_within)

    def apply(self, kept: Kept, event: Touchpoint, state: State, sink: Sink) -> int:
        """Count an answer."""
        details = event.details
        if details is None:
            return 0
        if event.type == "wallet.declared":
            self._answer(kept, event, "declared", declared_share(details), sink)
        elif details.brands is not None and details.rank is not None:
            self._answer(kept, event, "ranked", ranked_share(details.rank, details.brands), sink)
        return 0

    def _answer(self, kept: Kept, event: Touchpoint, kind: str, share: int, sink: Sink) -> None:
        if share < 0:
            sink.note("wallet_out_of_scale")
            return
        before = kept.data.get(kind)
        # As with surveys: a window that has the earlier answer has this one too.
        if before is not None and event.time - before[0] < self._latest_within:
            self._count(kind, before, -1, sink)
        kept.data[kind] = [event.time, share, self.cells.own(event).packed]
        self._count(kind, kept.data[kind], 1, sink)
        self.set_due(kept)

    def _count(self, kind: str, answer: list[Any], n: int, sink: Sink) -> None:
        time, share, packed = answer
        answers, total, squares = _SHARES[kind]
        cell = self.cells.unpack(packed)
        sink.count(answers, cell, time, n)
        sink.count(total, cell, time, n * share)
        sink.count(squares, cell, time, n * share * share)

    def set_due(self, kept: Kept) -> None:
        """When the first of what is kept is over."""
        kept.due = min((answer[0] + self._latest_within for answer in kept.data.values()), default=NEVER)

    def fire(self, kept: Kept, due: int, state: State, sink: Sink) -> None:
        """Forget answers that no later one can replace any more."""
        for kind in [kind for kind, answer in kept.data.items() if answer[0] + self._latest_within <= due]:
            del kept.data[kind]
        self.set_due(kept)

    def signal(self, kept: Kept, name: str) -> Value:
        """`share_of_wallet`."""
        answer = kept.data.get("declared") or kept.data.get("ranked")
        return 1.0 if answer is None else answer[1] / _PARTS


def declared_share(details: Details) -> int:
    """Our share of what is spent, in ten-thousandths, halves up; -1 if there is none to speak of."""
    own, others = details.own_minor, details.competitors_minor
    if own is None or others is None or own < 0 or others < 0 or own + others == 0:
        return -1
    return (2 * _PARTS * own + own + others) // (2 * (own + others))


def ranked_share(rank: int, brands: int) -> int:
    """The Wallet Allocation Rule, (1 - rank / (brands + 1)) * 2 / brands, in ten-thousandths, halves up; -1 of what is no rank."""
    if not 1 <= rank <= brands <= BRANDS_MAX:
        return -1
    whole = brands * (brands + 1)
    return (4 * _PARTS * (brands + 1 - rank) + whole) // (2 * whole)
