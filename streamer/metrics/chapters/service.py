"""Service: what customers have to say twice, what is not made for them, how long they wait (E2, E3, E6)."""

from __future__ import annotations

from typing import Final

from streamer.metrics.counters import Counter
from streamer.metrics.metric import Metric

C = Counter

# The upper bounds of the times that are counted together, in seconds; the last has none.
FIRST_RESPONSES: Final = (
    C.FIRST_RESPONSE_30S, C.FIRST_RESPONSE_1M, C.FIRST_RESPONSE_2M, C.FIRST_RESPONSE_5M, C.FIRST_RESPONSE_10M, C.FIRST_RESPONSE_15M,
    C.FIRST_RESPONSE_30M, C.FIRST_RESPONSE_1H, C.FIRST_RESPONSE_4H, C.FIRST_RESPONSE_1D, C.FIRST_RESPONSE_3D, C.FIRST_RESPONSE_LONGER,
)  # fmt: skip
FIRST_RESPONSE_EDGES: Final = (30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 14_400.0, 86_400.0, 259_200.0)
RESOLUTIONS: Final = (
    C.RESOLUTION_5M, C.RESOLUTION_15M, C.RESOLUTION_30M, C.RESOLUTION_1H, C.RESOLUTION_2H, C.RESOLUTION_4H, C.RESOLUTION_8H,
    C.RESOLUTION_1D, C.RESOLUTION_2D, C.RESOLUTION_3D, C.RESOLUTION_7D, C.RESOLUTION_14D, C.RESOLUTION_LONGER,
)  # fmt: skip
RESOLUTION_EDGES: Final = (
    300.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0, 86_400.0, 172_800.0, 259_200.0, 604_800.0, 1_209_600.0,
)  # fmt: skip
QUEUE_WAITS: Final = (
    C.QUEUE_WAIT_10S, C.QUEUE_WAIT_20S, C.QUEUE_WAIT_30S, C.QUEUE_WAIT_1M, C.QUEUE_WAIT_2M, C.QUEUE_WAIT_5M, C.QUEUE_WAIT_10M,
    C.QUEUE_WAIT_20M, C.QUEUE_WAIT_30M, C.QUEUE_WAIT_1H, C.QUEUE_WAIT_LONGER,
)  # fmt: skip
QUEUE_WAIT_EDGES: Final = (10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 1_800.0, 3_600.0)


def _times(of: str, counters: tuple[Counter, ...], edges: tuple[float, ...], words: str) -> tuple[Metric, Metric]:
    """Median and 90th percentile of times in seconds, by the same buckets."""

    def metric(name: str, which: str, quantile: float) -> Metric:
        return Metric(
            f"{of}_{name}",
            f"cx_{of}_{name}_seconds",
            "quantile",
            counters,
            (),
            f"{which} of the times {words}",
            True,
            "E6; buckets [H]",
            unit="seconds",
            edges=edges,
            quantile=quantile,
        )

    return metric("median", "median", 0.5), metric("p90", "90th percentile", 0.9)


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
        "contacts answered in the window, within `response_within` / these and those whose time for that was over in it;"
        " below 0.9 the P90 is above it",
        True,
        "E6 as a service level [H]",
        at_once=True,
        version=2,
    ),
    Metric(
        "resolution_in_time_rate",
        "cx_resolution_in_time_ratio",
        "ratio",
        (C.CONTACTS_RESOLVED_IN_TIME,),
        (C.CONTACTS_RESOLUTION_DUE,),
        "contacts resolved in the window, within `resolution_within` / these and those whose time for that was over in it",
        True,
        "E6 as a service level [H]",
        at_once=True,
        version=2,
    ),
    Metric(
        "fcr",
        "cx_first_contact_resolution_ratio",
        "ratio",
        (C.FIRST_CONTACTS_RESOLVED,),
        (C.FIRST_CONTACTS_DUE,),
        "what was resolved and the customer did not come back about within `repeat_within` / what contacts and cases ended about, resolved"
        " or not, of that for which this time ends in the window",
        False,
        "E5 FCR",
        at_once=True,
        version=2,
    ),
    Metric(
        "fcr_provisional",
        "cx_first_contact_resolution_provisional_ratio",
        "ratio",
        (C.RESOLUTIONS_STANDING,),
        (C.RESOLUTIONS,),
        "what was resolved and the customer has not come back about so far / what contacts and cases ended about in the window, resolved"
        " or not",
        True,
        "E5 FCR before `repeat_within` is over",
        version=2,
    ),
    *_times(
        "first_response",
        FIRST_RESPONSES,
        FIRST_RESPONSE_EDGES,
        "from a contact's start to the first response, of the contacts answered in the window, also too late",
    ),
    *_times(
        "resolution",
        RESOLUTIONS,
        RESOLUTION_EDGES,
        "from a contact's start to the resolution, of the contacts resolved in the window, also too late",
    ),
    *_times(
        "queue_wait",
        QUEUE_WAITS,
        QUEUE_WAIT_EDGES,
        "that contacts waited in a queue, as `wait_seconds` tells them, also of customers who gave up",
    ),
)

SIGNALS: Final = {
    "captures_of_field": "how often the customer gave one and the same piece of information, at most, in an open issue",
    "info_repeats": "how often something was asked for again in the customer's open issues",
    "bot_fallbacks": "the most fallbacks of a bot in one contact of the customer's open issues",
}

# Types of events that may be friction by this chapter's doing.
FRICTION_TYPES: Final = ("info.captured", "auth.verified", "contact.handled")
