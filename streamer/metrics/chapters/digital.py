"""Digital: frustration at a screen, sent by clients or seen in raw events (section 2), and instructions that do not help (H4)."""

from __future__ import annotations

from typing import Final

from streamer.metrics.counters import Counter
from streamer.metrics.metric import Metric

C = Counter

# Signals by name, which is the kind of a client's `friction.signal` too -> the counter of the sessions that have it.
SESSIONS_WITH: Final = {
    "rage_click": C.SESSIONS_RAGE_CLICK,
    "error_loop": C.SESSIONS_ERROR_LOOP,
    "page_loop": C.SESSIONS_PAGE_LOOP,
    "step_ping_pong": C.SESSIONS_STEP_PING_PONG,
    "field_trouble": C.SESSIONS_FIELD_TROUBLE,
}
# The signs of confusing or missing instructions.
CONFUSING: Final = ("page_loop", "step_ping_pong", "field_trouble", "no_results", "help_then_contact")


def _rate(name: str, counter: Counter, what: str, source: str) -> Metric:
    return Metric(
        f"{name}_rate", f"cx_{name}_ratio", "ratio", (counter,), (C.DIGITAL_SESSIONS,), f"sessions with {what} / sessions", True, source,
        version=2,
    )  # fmt: skip


METRICS: Final = (
    _rate("rage_click", C.SESSIONS_RAGE_CLICK, "a rage click: 3 clicks on one element in 1 s", "J4 rage click, as PostHog and Datadog"),
    _rate("error_loop", C.SESSIONS_ERROR_LOOP, "an error loop: one error code 3 times in 60 s", "J4 error loop [H]"),
    _rate("page_loop", C.SESSIONS_PAGE_LOOP, "a page loop: one page 3 times in 15 s", "J4 page loop, as Conviva"),
    _rate("step_ping_pong", C.SESSIONS_STEP_PING_PONG, "two returns in a row to the step before the last", "H4 [H]"),
    _rate("field_trouble", C.SESSIONS_FIELD_TROUBLE, "3 errors in one field in 10 min", "H4 [H]"),
    _rate(
        "confusion",
        C.SESSIONS_CONFUSED,
        "a page loop, steps to and fro, trouble with a field, a search of theirs without results, or help and then a contact on its topic",
        "H4, the customer's side [H]",
    ),
    Metric(
        "digital_signals",
        "cx_digital_signals",
        "count",
        (C.DIGITAL_SIGNALS,),
        (),
        "signals in the window, those sent by clients and those seen in raw events; by kind in a slice by `cause`",
        True,
        "J4 [H]",
        version=2,
    ),
    Metric(
        "digital_sessions",
        "cx_digital_sessions",
        "count",
        (C.DIGITAL_SESSIONS,),
        (),
        "sessions of customers begun in the window; a search by staff is no part of one",
        True,
        "J4; 30 min without an event end a session",
        version=2,
    ),
)

SIGNALS: Final = {
    "digital_signals": "signals of whatever kind in the customer's open sessions",
    "rage_clicks": "rage clicks in the customer's open sessions",
    "error_loops": "error loops in the customer's open sessions",
    "page_loops": "page loops in the customer's open sessions",
    "step_ping_pongs": "times steps went to and fro in the customer's open sessions",
    "confusions": "signs of confusing or missing instructions in the customer's open sessions",
}

# Types of events that may be friction by this chapter's doing.
FRICTION_TYPES: Final = ("ui.clicked", "ui.error", "page.viewed", "screen.viewed", "checkout.step_viewed", "journey.step_entered")
