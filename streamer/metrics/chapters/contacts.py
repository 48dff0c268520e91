"""Contacts and issues: the effort of customers who need help (E1, E4, E5, E7). Always on."""

from __future__ import annotations

from typing import Final

from streamer.metrics.counters import Counter
from streamer.metrics.metric import Metric

C = Counter

METRICS: Final = (
    Metric("contacts", "cx_contacts", "count", (C.CONTACTS,), (), "customer-initiated contacts in the window", True, "E5"),
    Metric(
        "repeat_rate", "cx_repeat_contact_ratio", "ratio", (C.REPEAT_CONTACTS,), (C.CONTACTS,), "repeated contacts / contacts", True, "E5"
    ),
    Metric(
        "transfer_rate",
        "cx_transfer_ratio",
        "ratio",
        (C.CONTACTS_TRANSFERRED,),
        (C.CONTACTS,),
        "contacts with a transfer / contacts",
        True,
        "E4; of all contacts, connected or not [H]",
        version=2,
    ),
    Metric(
        "transfers_per_contact",
        "cx_transfers_per_contact",
        "mean",
        (C.TRANSFERS,),
        (C.CONTACTS,),
        "transfers in the window / contacts begun in it",
        True,
        "E4",
    ),
    Metric(
        "cold_transfer_share",
        "cx_cold_transfer_ratio",
        "ratio",
        (C.COLD_TRANSFERS,),
        (C.TRANSFERS,),
        "transfers without context / transfers",
        True,
        "E4",
        version=2,
    ),
    Metric(
        "switch_rate",
        "cx_channel_switch_ratio",
        "ratio",
        (C.ISSUES_SWITCHED,),
        (C.ISSUES,),
        "issues begun in the window with at least one channel switch / issues begun",
        True,
        "E1",
    ),
    Metric("channel_switches", "cx_channel_switches", "count", (C.CHANNEL_SWITCHES,), (), "channel switches in the window", True, "E1"),
    Metric(
        "web_to_phone",
        "cx_web_to_phone_switches",
        "count",
        (C.WEB_TO_PHONE,),
        (),
        "switches from self-service to phone in the window",
        True,
        "E1",
    ),
    Metric(
        "high_effort_rate",
        "cx_high_effort_ratio",
        "ratio",
        (C.ISSUES_EFFORT_HIGH,),
        (C.ISSUES,),
        "issues begun in the window with effort above the high band's bound / issues begun",
        True,
        "E7; weights [H]",
        version=2,
    ),
    Metric(
        "effort_mean",
        "cx_effort_points",
        "mean",
        (C.EFFORT_TENTHS,),
        (C.ISSUES,),
        "mean effort index of the issues begun in the window",
        True,
        "E7; weights [H]",
        C.EFFORT_TENTHS_SQUARED,
        10,
        version=2,
    ),
)
