"""Operations (O1-O4): shipments, contacts the customer did not have to ask for, messages that inform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from streamer.journeys.chapter import Chapter
from streamer.journeys.chapters.shipments import ShipmentFold
from streamer.journeys.plan import is_by_customer, matches
from streamer.journeys.state import NEVER
from streamer.metrics.counters import Counter

if TYPE_CHECKING:
    from streamer.definitions import Definitions
    from streamer.journeys.cells import Cells
    from streamer.journeys.sinks import Sink
    from streamer.journeys.state import Kept, State
    from streamer.rules.language import Value
    from streamer.touchpoints.touchpoint import Touchpoint

_CONTACTS: Final = int(Counter.PROACTIVE_CONTACTS)
_CUSTOMERS_CONTACTED: Final = int(Counter.CUSTOMERS_CONTACTED)
_INFORMATION: Final = int(Counter.INFORMATION)
_OPENED: Final = int(Counter.INFORMATION_OPENED)
_CUSTOMERS_INFORMED: Final = int(Counter.CUSTOMERS_INFORMED)
# Nobody speaks to the customer there.
_MACHINES: Final = frozenset({"bot", "ivr"})
# Beyond these the one longest ago goes.
ASKED_MAX: Final = 50

_ORDERED: Final = ("order.completed", "order.updated")
_SHIPPING: Final = ("shipment.created", "shipment.shipped", "shipment.delivered", "shipment.delayed")


class Operations(Chapter):
    """data: `shipments`: key -> shipment; `orders`: order id -> what was promised with it; `contact`: [time, packed cell, overdue, time of
    the latest that need not be proactive] of the latest proactive one; `informed`: [time, packed cell] of the latest one; `asked`: what the
    customer has contacted us about -> when last; `messages`: id -> [time, packed cell] of those not opened yet.
    """

    id = "operations"

    def __init__(self, definitions: Definitions, cells: Cells, evidenced: bytes) -> None:
        super().__init__(definitions, cells, evidenced)
        settings = definitions.operations
        assert settings is not None  # noqa: S101  otherwise the chapter is off
        contacts = definitions.contacts
        self._asking = (*contacts.started, *contacts.reopened, "case.opened")
        self._asked_within = int(contacts.window)
        self.types = (*_SHIPPING, *_ORDERED, "order.cancelled", "contact.started", "message.sent", "message.opened", *self._asking)
        self._shipments = ShipmentFold(settings, cells, self.evidenced)
        self._keep_for, self._per_customer = int(settings.keep_for), int(settings.per_customer)
        self._overdue_after = int(settings.cadence) * 3 // 2
        self._opened_within, self._messages_limit = int(settings.opened_within), int(settings.messages_per_customer)
        self._tells = False

    def is_evidence(self, event: Touchpoint) -> bool:
        """What tells of shipments, promises, our contacts or messages; not what the customer only asks about."""
        return self._tells

    def apply(self, kept: Kept, event: Touchpoint, state: State, sink: Sink) -> int:
        """Fold one event."""
        self._tells = True
        if is_by_customer(event):
            self._ask(kept, event, sink)
        if event.type == "order.cancelled":
            self._shipments.cancel(kept.data, event.order_id)
        elif event.type in _ORDERED:
            self._tells = self._shipments.promise(kept.data, event, sink)
        elif event.type == "contact.started":
            self._contact(kept, event, sink)
        elif event.type == "message.sent":
            self._send(kept, event, sink)
        elif event.type == "message.opened":
            self._open(kept, event, sink)
        elif event.type in _SHIPPING:
            self._shipments.apply(kept.data, event, sink)
        else:
            self._tells = False
        self.set_due(kept)
        return 0

    def _ask(self, kept: Kept, event: Touchpoint, sink: Sink) -> None:
        """Remember what the customer contacts us about, by every name it has."""
        names = _names(event)
        if not names or not matches(event.type, self._asking):
            return
        asked: dict[str, int] = kept.data.setdefault("asked", {})
        for name in names:
            asked.pop(name, None)
            if len(asked) >= ASKED_MAX:
                del asked[next(iter(asked))]
                sink.note("cut_asked")
            asked[name] = event.time

    def _contact(self, kept: Kept, event: Touchpoint, sink: Sink) -> None:
        by_machine = event.channel in _MACHINES or (event.details is not None and event.details.human is False)
        if event.initiator != "company" or by_machine:
            self._tells = False
            return
        before: list[Any] = kept.data.get("contact", [-NEVER, b""])
        asked = kept.data.get("asked", ())
        if any(name in asked for name in _names(event)):  # we call back, which is a contact, though not of our own accord
            kept.data["contact"] = [*before[:2], False, event.time]
            return
        sink.count(_CONTACTS, self.cells.own(event), event.time)
        kept.data["contact"] = [*self._latest(_CUSTOMERS_CONTACTED, before, event, sink), False, event.time]

    def _latest(self, counter: int, before: list[Any] | None, event: Touchpoint, sink: Sink) -> list[Any]:
        """Count the customer here instead of where he was counted before, unless that is so long ago that no window has both."""
        if before is not None and event.time - before[0] < self._per_customer:
            sink.count(counter, self.cells.unpack(before[1]), before[0], -1)
        cell = self.cells.own(event)
        sink.count(counter, cell, event.time)
        return [event.time, cell.packed]

    def _send(self, kept: Kept, event: Touchpoint, sink: Sink) -> None:
        details = event.details
        if details is None or details.message_kind != "information":
            return
        cell = self.cells.own(event)
        sink.count(_INFORMATION, cell, event.time)
        kept.data["informed"] = self._latest(_CUSTOMERS_INFORMED, kept.data.get("informed"), event, sink)
        messages = kept.data.setdefault("messages", {})
        messages.pop(details.message_id, None)  # an opening is of the latest message of this id
        if details.opened:
            sink.count(_OPENED, cell, event.time)
        elif details.message_id:
            if len(messages) >= self._messages_limit:
                del messages[min(messages, key=lambda key: (messages[key][0], key))]
                sink.note("cut_messages")
            messages[details.message_id] = [event.time, cell.packed]

    def _open(self, kept: Kept, event: Touchpoint, sink: Sink) -> None:
        if event.details is None:
            return
        message = kept.data.get("messages", {}).pop(event.details.message_id, None)
        if message is not None:
            sink.count(_OPENED, self.cells.unpack(message[1]), message[0])

    def set_due(self, kept: Kept) -> None:
        """Drop what is empty, and set the next deadline."""
        data = kept.data
        for name in ("shipments", "orders", "messages", "asked"):
            if name in data and not data[name]:
                del data[name]
        due = self._shipments.next_due(data)
        for message in data.get("messages", {}).values():
            due = min(due, message[0] + self._opened_within)
        if "contact" in data:
            contact = data["contact"]
            due = min(due, _time_of(contact) + (self._keep_for if contact[2] else self._overdue_after))
        if "asked" in data:
            due = min(due, next(iter(data["asked"].values())) + self._asked_within)
        if "informed" in data:
            due = min(due, data["informed"][0] + self._per_customer)
        kept.due = due if data else NEVER

    def fire(self, kept: Kept, due: int, state: State, sink: Sink) -> None:
        """Targets pass, the customer has heard nothing for too long, and what nothing can change any more is forgotten."""
        data = kept.data
        self._shipments.fire(data, due, sink)
        messages = data.get("messages", {})
        for key in [key for key, message in messages.items() if message[0] + self._opened_within <= due]:
            del messages[key]
        contact = data.get("contact")
        if contact is not None:
            contact[2] = _time_of(contact) + self._overdue_after <= due
            if _time_of(contact) + self._keep_for <= due:
                del data["contact"]
        asked = data.get("asked", {})
        for name in [name for name, time in asked.items() if time + self._asked_within <= due]:
            del asked[name]
        if "informed" in data and data["informed"][0] + self._per_customer <= due:
            del data["informed"]
        self.set_due(kept)

    def signal(self, kept: Kept, name: str) -> Value:
        """`overdue_shipments`, `contact_overdue`."""
        if name == "overdue_shipments":
            return self._shipments.overdue(kept.data)
        return "contact" in kept.data and bool(kept.data["contact"][2])


def _names(event: Touchpoint) -> list[str]:
    """What a contact may be about, by the ids that tell it from all others; a reason is shared by many."""
    ids = ("i:" + event.issue_id, "c:" + event.case_id, "t:" + event.contact_id)
    return [name for name in ids if len(name) > 2]


def _time_of(contact: list[Any]) -> int:
    """When we last contacted the customer; rows from before call backs were told apart have one time."""
    time: int = contact[3] if len(contact) > 3 else contact[0]
    return time
