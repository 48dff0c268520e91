"""The event types and enumerations of the canonical event (domain catalogue 4.2 and 4.3)."""

from __future__ import annotations

from typing import Final

# An unknown type is kept and counted, not an error: producers may be ahead of this list.
TYPES: Final = frozenset({
    "page.viewed", "screen.viewed", "product.viewed", "product.searched",
    "cart.item_added", "cart.item_removed", "cart.viewed",
    "checkout.started", "checkout.step_viewed", "checkout.step_completed",
    "payment.info_entered", "payment.failed",
    "order.completed", "order.updated", "order.cancelled", "order.refunded",
    "offer.presented", "offer.accepted", "opportunity.created", "opportunity.lost",
    "contract.due", "contract.renewed", "contract.cancelled",
    "referral.sent", "referral.converted", "wallet.declared",
    "shipment.created", "shipment.shipped", "shipment.delivered", "shipment.delayed",
    "contact.started", "contact.ended", "contact.transferred", "contact.handled",
    "case.opened", "case.updated", "case.resolved", "case.reopened", "case.closed",
    "handoff.initiated", "handoff.accepted", "handoff.rejected",
    "message.sent", "message.received", "message.opened", "info.captured", "auth.verified", "knowledge.searched",
    "survey.sent", "survey.responded",
    "ui.clicked", "ui.error", "form.error", "friction.signal",
    "journey.started", "journey.step_entered", "journey.completed", "journey.failed",
    "identity.linked", "identity.unlinked", "customer.updated", "consent.changed", "privacy.erase",
    "event.voided", "initiative.started", "preference.stated",
    "goal.set", "goal.progressed", "goal.reached",
})  # fmt: skip

# The types whose details are read; what other types carry of them is skipped.
DETAILED: Final = frozenset({
    "survey.sent", "survey.responded", "order.completed", "order.updated", "order.cancelled", "order.refunded",
    "shipment.created", "shipment.shipped", "shipment.delivered", "shipment.delayed",
    "contact.started", "contact.handled", "contact.ended", "contact.transferred",
    "handoff.initiated", "handoff.accepted", "handoff.rejected",
    "message.sent", "message.received", "message.opened", "info.captured", "auth.verified",
    "offer.presented", "offer.accepted", "contract.due", "contract.renewed", "contract.cancelled",
    "referral.sent", "referral.converted", "wallet.declared", "preference.stated",
    "goal.set", "goal.progressed", "goal.reached", "initiative.started",
    "page.viewed", "screen.viewed", "product.searched", "knowledge.searched", "ui.clicked", "ui.error", "form.error", "friction.signal",
})  # fmt: skip

# The channels an event may name (domain catalogue 4.2); "other" is the answer to every new one.
CHANNELS: Final = (
    "web", "app", "email", "chat", "bot", "phone", "ivr", "sms", "social", "store", "field", "partner", "mail", "other",
)  # fmt: skip

VALUE_LEVELS: Final = ("functional", "personal", "catalytic")
STAGES: Final = ("need", "consider", "demonstrate", "affirm", "prove", "anticipate")


def canonical_type(name: str) -> str:
    """The known type that `name` ends in (`com.acme.checkout.started` -> `checkout.started`), else `name` as it is."""
    if name in TYPES:
        return name
    last_two = ".".join(name.split(".")[-2:])
    return last_two if last_two in TYPES else name
