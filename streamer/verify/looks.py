"""After which events a rule on customers is looked at: docs/reference/journeys.md (Entity alerts, Looked at)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from streamer.definitions import Definitions

_OWN: Final[Mapping[str, tuple[str, ...]]] = {
    "browsing": ("product.*", "cart.*"),
    "commerce": ("order.completed", "order.cancelled", "order.refunded", "offer.presented", "offer.accepted", "referral.*"),
    "contracts": ("contract.due", "contract.renewed", "contract.cancelled"),
    "digital": (
        "ui.clicked", "ui.error", "form.error", "friction.signal", "knowledge.searched", "page.viewed", "screen.viewed",
        "checkout.step_viewed", "journey.step_entered",
    ),
    "handoffs": ("handoff.initiated", "handoff.accepted", "handoff.rejected"),
    "operations": (
        "shipment.created", "shipment.shipped", "shipment.delivered", "shipment.delayed", "order.completed", "order.updated",
        "order.cancelled", "contact.started", "message.sent", "message.opened",
    ),
    "service": ("info.captured", "auth.verified", "contact.handled", "contact.ended"),
    "surveys": ("survey.sent", "survey.responded"),
    "value": ("preference.stated", "goal.set", "goal.progressed", "goal.reached"),
    "wallet": ("wallet.declared", "survey.responded"),
}  # fmt: skip


def looks(definitions: Definitions) -> Mapping[str, Sequence[str]]:
    """By chapter, and of patterns, types of events; without the core and the chapter of steps, which go by what an event does."""
    contacts, cases = definitions.contacts, definitions.cases
    found = {part: list(types) for part, types in _OWN.items()}
    found["patterns"] = [name for pattern in definitions.pattern for name in (*pattern.events, *pattern.without)]
    if care := definitions.communication:
        found["communication"] = [*care.opened, *care.closed, *care.messages, *contacts.started, *cases.events]
    if definitions.causes:
        found["causes"] = [*definitions.causes.types]
    if definitions.digital:
        found["digital"] += [*definitions.digital.activity, *contacts.started]
    if definitions.operations:
        found["operations"] += [*contacts.started, *contacts.reopened, "case.opened"]
    if service := definitions.service:
        found["service"] += [*contacts.started, *contacts.reopened, *contacts.resolved, *contacts.transferred]
        found["service"] += [*service.handed_over, *service.responded]
    if definitions.surveys:
        found["surveys"] += definitions.surveys.attribute_to
    return found
