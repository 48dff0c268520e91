"""Service: what customers have to say twice, what is not made for them, how long they wait (E2, E3, E6)."""

from __future__ import annotations

from typing import Final

from streamer.metrics.counters import Counter
from streamer.metrics.metric import Metric

C = Counter

METRICS: Final = (
    Metric(
        "repeat_info_rate",
        "cx_repeat_info_ratio",
        "ratio",
        (C.CONTACTS_REPEATING,),
        (C.CONTACTS_INFORMED,),
        "contacts in which information was asked for again / contacts with an earlier contact of the issue or a transfer",
        True,
        "E2 [H]",
    ),
    Metric(
        "generic_rate",
        "cx_generic_service_ratio",
        "ratio",
        (C.CONTACTS_GENERIC,),
        (C.CONTACTS_HANDLED,),
        "handled contacts with a bot's fallback, an unopened profile, the tag `generic` or a template that did not help / handled contacts",
        True,
        "E3 [H]",
    ),
    Metric(
        "response_in_time_rate",
        "cx_response_in_time_ratio",
        "ratio",
        (C.CONTACTS_ANSWERED_IN_TIME,),
        (C.CONTACTS_RESPONSE_DUE,),
        "contacts answered within `response_within` / contacts answered by then or waiting longer; below 0.9 the P90 is above it",
        True,
        "E6 as a service level [H]",
        at_once=True,
    ),
    Metric(
        "resolution_in_time_rate",
        "cx_resolution_in_time_ratio",
        "ratio",
        (C.CONTACTS_RESOLVED_IN_TIME,),
        (C.CONTACTS_RESOLUTION_DUE,),
        "contacts resolved within `resolution_within` / contacts resolved by then or waiting longer",
        True,
        "E6 as a service level [H]",
        at_once=True,
    ),
)

SIGNALS: Final = {
    "captures_of_field": "how often the customer gave one and the same piece of information, at most, in an open issue",
    "info_repeats": "how often something was asked for again in the customer's open issues",
    "bot_fallbacks": "the most fallbacks of a bot in one contact of the customer's open issues",
}

# Types of events that may be friction by this chapter's doing.
FRICTION_TYPES: Final = ("info.captured", "auth.verified", "contact.handled")
