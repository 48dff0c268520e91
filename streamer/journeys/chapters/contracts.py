"""Contracts (B7): each due date is decided once, by renewal, cancellation or the end of the grace, and counted in the pane of the date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from streamer.journeys.chapter import Chapter
from streamer.journeys.exemplars import cause_in, evidence
from streamer.journeys.state import NEVER
from streamer.metrics.counters import Counter

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.journeys.cells import Cells
    from streamer.journeys.sinks import Sink
    from streamer.journeys.state import Kept, State
    from streamer.rules.language import Value
    from streamer.touchpoints.touchpoint import Touchpoint

_DUE: Final = int(Counter.CONTRACTS_DUE)
_RENEWED: Final = int(Counter.CONTRACTS_RENEWED)


class Contracts(Chapter):
    """data: `contracts`: contract id -> [due time, packed cell], of those that are not decided; with the notice, if a rule wants it.
    `renewed`: contract id -> when, of those whose due date nobody has told yet.
    """

    id = "contracts"

    def __init__(self, definitions: Definitions, cells: Cells, evidenced: bytes) -> None:
        super().__init__(definitions, cells, evidenced)
        assert definitions.contracts is not None  # noqa: S101  otherwise the chapter is off
        self.types = ("contract.due", "contract.renewed", "contract.cancelled")
        self._grace = int(definitions.contracts.grace)
        self._ahead = int(definitions.contracts.ahead)
        self._early = int(definitions.contracts.early)
        self._limit = definitions.contracts.contracts_per_customer

    def apply(self, kept: Kept, event: Touchpoint, state: State, sink: Sink) -> int:
        """Note a due date, or decide it."""
        details = event.details
        contract = "" if details is None else details.contract_id
        open_: dict[str, Any] = kept.data.get("contracts", {})
        renewed: dict[str, int] = kept.data.get("renewed", {})
        if event.type == "contract.due":
            due = event.time if details is None or details.due_ms is None else details.due_ms
            if not event.time - self._grace < due <= event.time + self._ahead:
                sink.note("contract_due_out_of_range")
                return 0
            if contract not in open_ and len(open_) >= self._limit:
                del open_[min(open_, key=lambda name: (open_[name][0], name))]
                sink.note("cut_contracts")
            cell = self.cells.own(event)
            noted = [due, cell.packed, *evidence(event, wanted=bool(self.evidenced[_DUE]))]
            early = renewed.pop(contract, None)
            if early is not None and due <= early + self._early:
                self._decide(noted, sink, renewed=True)
            else:
                open_[contract] = noted
        elif contract in open_:
            self._decide(open_.pop(contract), sink, renewed=event.type == "contract.renewed")
        elif event.type == "contract.renewed":
            self._renew_early(renewed, contract, event.time, sink)
        else:
            renewed.pop(contract, None)
        self._keep(kept, open_, renewed)
        return 0

    def _renew_early(self, renewed: dict[str, int], contract: str, time_ms: int, sink: Sink) -> None:
        """The latest at the end."""
        renewed.pop(contract, None)
        if len(renewed) >= self._limit:
            del renewed[next(iter(renewed))]
            sink.note("cut_contracts")
        renewed[contract] = time_ms

    def _decide(self, contract: list[Any], sink: Sink, *, renewed: bool) -> None:
        due, packed = contract[:2]
        # In the pane in which the grace ends: only then is it known of all that fell due together.
        cell, known = self.cells.unpack(packed), due + self._grace
        sink.count(_DUE, cell, known)
        if renewed:
            sink.count(_RENEWED, cell, known)

    def _keep(self, kept: Kept, open_: dict[str, Any], renewed: dict[str, int]) -> None:
        for name, those in (("contracts", open_), ("renewed", renewed)):
            if those:
                kept.data[name] = those
            else:
                kept.data.pop(name, None)
        due = min([contract[0] + self._grace for contract in open_.values()], default=NEVER)
        kept.due = min(due, next(iter(renewed.values()), NEVER) + self._early)

    def fire(self, kept: Kept, due: int, state: State, sink: Sink) -> None:
        """The grace is over: not renewed. Or a renewal is too old for a due date to come."""
        open_: dict[str, Any] = kept.data.get("contracts", {})
        for name in [name for name, contract in open_.items() if contract[0] + self._grace <= due]:
            contract = open_.pop(name)
            sink.at_deadline(cause_in(contract[2:]))
            self._decide(contract, sink, renewed=False)
        renewed: dict[str, int] = kept.data.get("renewed", {})
        self._keep(kept, open_, {name: time for name, time in renewed.items() if time + self._early > due})

    def signal(self, kept: Kept, name: str) -> Value:
        """`contracts_undecided`."""
        return len(kept.data.get("contracts", {}))
