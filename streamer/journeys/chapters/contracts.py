"""Contracts (B7): each due date is decided once, by renewal, cancellation or the end of the grace, and counted where the grace ends."""

from __future__ import annotations

from bisect import insort
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
# In what is decided.
_KNOWN: Final = 0
_CONTRACT: Final = 1


class Contracts(Chapter):
    """data: `contracts`: contract id -> [due time, packed cell], of those that are not decided; with the notice, if a rule wants it.
    `decided`: [when it counts, contract id, whether renewed, packed cell], with the notice, the next at the beginning. `renewed`: contract
    id -> when, of those whose due date nobody has told yet. `seen`: the latest time the chapter knows of, as long as `contracts` has any.
    """

    id = "contracts"

    def __init__(self, definitions: Definitions, cells: Cells, evidenced: bytes) -> None:
        super().__init__(definitions, cells, evidenced)
        assert definitions.contracts is not None  # noqa: S101  otherwise the chapter is off
        self.types = ("contract.due", "contract.renewed", "contract.cancelled")
        self._grace = int(definitions.contracts.grace)
        self._ahead = int(definitions.contracts.ahead)
        self._early = int(definitions.contracts.early)
        self._due_soon = int(definitions.contracts.due_soon)
        self._limit = definitions.contracts.contracts_per_customer

    def apply(self, kept: Kept, event: Touchpoint, state: State, sink: Sink) -> int:
        """Note a due date, or decide it."""
        contract = "" if event.details is None else event.details.contract_id
        open_: dict[str, list[Any]] = kept.data.setdefault("contracts", {})
        renewed: dict[str, int] = kept.data.setdefault("renewed", {})
        if event.type == "contract.due":
            self._note(kept, contract, event, sink)
        elif contract in open_:
            self._decide(kept, contract, open_.pop(contract), sink, renewed=event.type == "contract.renewed")
        elif event.type == "contract.cancelled":
            renewed.pop(contract, None)
        elif all(one[_CONTRACT] != contract for one in kept.data.get("decided", ())):  # else it is told twice
            renewed.pop(contract, None)
            if len(renewed) >= self._limit:
                del renewed[next(iter(renewed))]
                sink.note("cut_contracts")
            renewed[contract] = event.time
        kept.data["seen"] = event.time
        self.set_due(kept)
        return 0

    def _note(self, kept: Kept, contract: str, event: Touchpoint, sink: Sink) -> None:
        details = event.details
        due = event.time if details is None or details.due_ms is None else details.due_ms
        if not event.time - self._grace < due <= event.time + self._ahead:
            sink.note("contract_due_out_of_range")
            return
        known = due + self._grace
        if any(one[_KNOWN] == known and one[_CONTRACT] == contract for one in kept.data.get("decided", ())):  # a reminder
            return
        noted = [due, self.cells.own(event).packed, *evidence(event, wanted=bool(self.evidenced[_DUE]))]
        early = kept.data["renewed"].pop(contract, None)
        if early is not None and due <= early + self._early:
            self._decide(kept, contract, noted, sink, renewed=True)
            return
        open_: dict[str, list[Any]] = kept.data["contracts"]
        if contract not in open_ and len(open_) >= self._limit:
            del open_[min(open_, key=lambda name: (open_[name][0], name))]
            sink.note("cut_contracts")
        open_[contract] = noted

    def _decide(self, kept: Kept, contract: str, noted: list[Any], sink: Sink, *, renewed: bool) -> None:
        """It counts when the grace is over: only then is it known of all that fell due together."""
        due, packed, *notice = noted
        decided: list[list[Any]] = kept.data.setdefault("decided", [])
        if len(decided) >= self._limit:
            del decided[0]
            sink.note("cut_contracts")
        insort(decided, [due + self._grace, contract, renewed, packed, *notice])

    def adopt(self, kept: Kept, before: Definitions) -> None:
        """What is decided counts when the grace of these definitions is over."""
        if before.contracts is not None:
            longer = self._grace - int(before.contracts.grace)
            for one in kept.data.get("decided", ()):
                one[_KNOWN] += longer
        super().adopt(kept, before)

    def fire(self, kept: Kept, due: int, state: State, sink: Sink) -> None:
        """The grace is over: what is not decided is not renewed, and all of it counts. Or a renewal is too old for a due date to come, or a
        contract is due soon, which is a matter of `seen`.
        """
        kept.data["seen"] = due
        open_: dict[str, list[Any]] = kept.data.get("contracts", {})
        over = [[noted[0] + self._grace, name, False, *noted[1:]] for name, noted in open_.items() if noted[0] + self._grace <= due]
        for _, name, *_ in over:
            del open_[name]
        decided: list[list[Any]] = kept.data.get("decided", [])
        while decided and decided[0][0] <= due:
            over.append(decided.pop(0))
        for known, _, is_renewed, packed, *notice in over:
            cell = self.cells.unpack(packed)
            sink.at_deadline(cause_in(notice))
            sink.count(_DUE, cell, known)
            if is_renewed:
                sink.count(_RENEWED, cell, known)
        renewed: dict[str, int] = kept.data.get("renewed", {})
        for name in [name for name, time in renewed.items() if time + self._early <= due]:
            del renewed[name]
        self.set_due(kept)

    def set_due(self, kept: Kept) -> None:
        """When the first of what is kept is over."""
        if not kept.data.get("contracts"):
            kept.data.pop("seen", None)
        for name in [name for name, those in kept.data.items() if not those]:
            del kept.data[name]
        due, seen = NEVER, kept.data.get("seen", 0)
        for noted in kept.data.get("contracts", {}).values():
            soon = noted[0] - self._due_soon
            due = min(due, soon if soon > seen else noted[0] + self._grace)
        if decided := kept.data.get("decided"):
            due = min(due, decided[0][0])
        if renewed := kept.data.get("renewed"):
            due = min(due, next(iter(renewed.values())) + self._early)
        kept.due = due

    def signal(self, kept: Kept, name: str) -> Value:
        """`contracts_undecided`, `contracts_due_soon`."""
        open_: dict[str, list[Any]] = kept.data.get("contracts", {})
        if name == "contracts_undecided":
            return len(open_)
        soon: int = kept.data.get("seen", 0) + self._due_soon
        return sum(1 for noted in open_.values() if noted[0] <= soon)
