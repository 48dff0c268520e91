"""Operations: shipments and orders on time, expedited ones, contacts that customers did not have to ask for, information sent (O1-O4)."""

from __future__ import annotations

from typing import Final

from streamer.metrics.counters import Counter
from streamer.metrics.metric import Metric

C = Counter

# target -> (shipments due, of these on time)
TARGETS: Final = {
    "requested": (C.DUE_REQUESTED, C.ON_TIME_REQUESTED),
    "promised": (C.DUE_PROMISED, C.ON_TIME_PROMISED),
    "committed": (C.DUE_COMMITTED, C.ON_TIME_COMMITTED),
}
_TARGET_WORDS: Final = {
    "requested": "the time the customer asked for last",
    "promised": "the time promised first, with the order or later, which is how the customer sees it",
    "committed": "the time committed to last",
}


def _on_time(target: str) -> Metric:
    due, on_time = TARGETS[target]
    return Metric(
        f"on_time_{target}_rate",
        f"cx_on_time_{target}_ratio",
        "ratio",
        (on_time,),
        (due,),
        f"shipments there by {_TARGET_WORDS[target]} / shipments, and orders without any shipment, for which that passed in the window",
        True,
        "O1; late counts when the time passes; a target is settled once [H]",
        at_once=True,
        version=2,
    )


def _expedited(id_: str, gauge: str, counter: Counter, words: str) -> Metric:
    return Metric(
        id_, gauge, "ratio", (counter,), (C.SHIPMENTS,), f"shipments begun in the window that are expedited{words} / shipments begun", True,
        "O2",
    )  # fmt: skip


METRICS: Final = (
    *(_on_time(target) for target in TARGETS),
    Metric("shipments", "cx_shipments", "count", (C.SHIPMENTS,), (), "shipments seen for the first time in the window", True, "O1"),
    _expedited("expedited_rate", "cx_expedited_ratio", C.SHIPMENTS_EXPEDITED, ""),
    _expedited(
        "expedited_by_customer_rate", "cx_expedited_by_customer_ratio", C.SHIPMENTS_EXPEDITED_CUSTOMER, " because the customer wanted it"
    ),
    _expedited(
        "expedited_by_company_rate",
        "cx_expedited_by_company_ratio",
        C.SHIPMENTS_EXPEDITED_COMPANY,
        " at our own wish, mostly a rescue",
    ),
    Metric(
        "proactive_contacts",
        "cx_proactive_contacts",
        "count",
        (C.PROACTIVE_CONTACTS,),
        (),
        "contacts by a person of ours that the customer did not begin, and that answer nothing the customer has asked, in the window",
        True,
        "O3; what a call back is [H]",
        version=2,
    ),
    Metric(
        "contact_frequency",
        "cx_proactive_contacts_per_customer",
        "mean",
        (C.PROACTIVE_CONTACTS,),
        (C.CUSTOMERS_CONTACTED,),
        "proactive contacts in the window / customers who had one",
        True,
        "O3; per customer contacted [H]",
        version=2,
    ),
    Metric("information_sent", "cx_information_sent", "count", (C.INFORMATION,), (), "messages sent in the window that inform", True, "O4"),
    Metric(
        "information_frequency",
        "cx_information_sent_per_customer",
        "mean",
        (C.INFORMATION,),
        (C.CUSTOMERS_INFORMED,),
        "messages sent in the window that inform / customers who got one",
        True,
        "O4; per customer informed [H]",
    ),
    Metric(
        "information_opened_rate",
        "cx_information_opened_ratio",
        "ratio",
        (C.INFORMATION_OPENED,),
        (C.INFORMATION,),
        "messages sent in the window that inform and were opened, however late / messages sent that inform",
        True,
        "O4",
    ),
)

SIGNALS: Final = {
    "overdue_shipments": "shipments past their target (`operations.target`), not there nor cancelled, and such orders without a shipment",
    "contact_overdue": "whether one and a half times the cadence has passed since a person of ours last contacted the customer",
}
