"""What the recount does not know, the limits of docs/reference/journeys.md and of the chapters, and the counters that each can touch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from streamer.metrics.catalogue import CHAPTERS
from streamer.metrics.counters import FIRST_CHAPTERS, Counter
from streamer.metrics.metric import counters_of

if TYPE_CHECKING:
    from streamer.verify.counted import Counted
    from streamer.verify.recount import Recount

_JOURNEYS: Final = frozenset(c for c in Counter if Counter.STARTED <= c < Counter.CONTACTS)
_ISSUES: Final = frozenset(c for c in Counter if Counter.CONTACTS <= c < Counter.CASES)
_CASES: Final = frozenset(c for c in Counter if Counter.CASES <= c < FIRST_CHAPTERS)
_COMMERCE: Final = frozenset(c for c in Counter if Counter.ORDERS_PLAIN <= c < Counter.SESSIONS_BROWSED)
_LEVELS: Final = frozenset(
    {Counter.LEVEL_ORDERS, Counter.LEVEL_REFERRAL_ORDERS, Counter.LEVEL_PRICE_PREMIUM, Counter.LEVEL_PRICE_REFERENCE}
)
_EFFORT: Final = frozenset(c for c in Counter if Counter.ISSUES_EFFORT_MEDIUM <= c < Counter.CASES or c == Counter.FRICTION_INSTANCES)

_RETURNING: Final = frozenset(
    {
        Counter.CUSTOMERS_SLIPPED, Counter.CUSTOMERS_ORDERED, Counter.CUSTOMERS_REPEATED, Counter.CUSTOMERS_PERIODS,
        Counter.CUSTOMERS_RETAINED,
    }
)  # fmt: skip


def _of_chapter(chapter: str) -> frozenset[Counter]:
    return frozenset(counter for metric in CHAPTERS[chapter] for counter in counters_of(metric))


_SERVICE: Final = _of_chapter("service")
_DIGITAL: Final = frozenset(c for c in Counter if Counter.DIGITAL_SESSIONS <= c <= Counter.DIGITAL_SIGNALS)
_SURVEYS: Final = frozenset(c for c in Counter if Counter.NPS_EXPERIENCE_ANSWERS <= c <= Counter.INVITATIONS_ANSWERED)
# What service and digital find is effort and friction, too.
_LIMITS: Final[Mapping[str, frozenset[Counter]]] = {
    "cut_journeys": _JOURNEYS | _of_chapter("steps") | _of_chapter("value"),
    "cut_issues": _ISSUES | {Counter.FRICTION_INSTANCES},
    "cut_contact_ids": _ISSUES | {Counter.FRICTION_INSTANCES},
    "cut_cases": _CASES | _EFFORT,
    "cut_orders": _COMMERCE | _LEVELS | _RETURNING,
    "cut_contracts": _of_chapter("contracts"),
    "cut_refunds": _COMMERCE,
    "cut_offers": frozenset({Counter.UPGRADES_SHOWN, Counter.UPGRADES_ACCEPTED}),
    "cut_sessions": frozenset({Counter.SESSIONS_BROWSED, Counter.SESSIONS_HESITATED}),
    "cut_resolutions": _EFFORT | {Counter.REPEAT_CONTACTS},
    **{f"cut_{chapter}": _of_chapter(chapter) for chapter in ("steps", "handoffs", "communication", "causes")},
    "cut_shipments": frozenset(c for c in Counter if Counter.SHIPMENTS <= c < Counter.PROACTIVE_CONTACTS),
    "cut_asked": frozenset({Counter.PROACTIVE_CONTACTS, Counter.CUSTOMERS_CONTACTED}),
    "cut_messages": frozenset({Counter.INFORMATION_OPENED}),
    "cut_goals": frozenset({Counter.GOALS, Counter.GOALS_PROGRESSED, Counter.GOALS_REACHED}),
    "cut_survey_touchpoints": _SURVEYS,
    "cut_invitations": frozenset({Counter.INVITATIONS, Counter.INVITATIONS_ANSWERED}),
    "cut_service_issues": _SERVICE | _EFFORT,
    "cut_waiting_contacts": _SERVICE,
    "cut_late_contacts": _SERVICE,
    "cut_info_fields": _SERVICE | _EFFORT,
    "cut_templates": _SERVICE | _EFFORT,
    "cut_digital_sessions": _DIGITAL | _EFFORT,
    "cut_bursts": _DIGITAL | _EFFORT,
    "cut_help": _DIGITAL,
}
# Those that only entity rules can tell, besides all these.
_OF_RULES: Final = ("cut_episodes", "cut_repeats", "cut_preferences", "cut_patterns")

TOO_LATE: Final = "{} events left the retained ones early (cut_events), and some came too late for that"


def why_cut(name: str, counted: Counted, recounted: Recount) -> str:
    """Why a difference of this counter need not be one: a limit that the recount does not know has cut."""
    if reason := _first_of((limit for limit, touched in _LIMITS.items() if Counter[name] in touched), counted):
        return reason
    if counted.cut.get("cut_events") and counted.records.get("late") != recounted.records.get("late", 0):
        return TOO_LATE.format(counted.cut["cut_events"])
    return ""


def why_cut_of_rules(counted: Counted) -> str:
    """The same of an entity rule."""
    return _first_of((*_OF_RULES, *_LIMITS), counted)


def _first_of(limits: Iterable[str], counted: Counted) -> str:
    """The first of the limits that has cut, in a sentence."""
    limit = next((name for name in limits if counted.cut.get(name)), "")
    return f"a limit per customer cut {counted.cut[limit]} times ({limit}), which the recount does not know" if limit else ""
