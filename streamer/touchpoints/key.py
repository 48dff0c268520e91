"""Under which key an event is kept, where nobody has given it one."""

from __future__ import annotations

from typing import Final

from streamer.touchpoints.catalogue import canonical_type

LINK_TYPE: Final = "identity.linked"
_OF_VISITORS: Final = frozenset({LINK_TYPE, "identity.unlinked"})


def key_of(event_type: str | None, customer_id: str | None, anonymous_id: str | None) -> str | None:
    """The customer, None if the event names nobody.

    A link is its visitor's: it ends the journeys of the key that it comes under, and those of the customer who has been recognised go on.
    """
    ids = (anonymous_id, customer_id) if canonical_type(event_type or "") in _OF_VISITORS else (customer_id, anonymous_id)
    return ids[0] or ids[1] or None
