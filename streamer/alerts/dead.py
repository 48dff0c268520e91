"""The dead stream: deliveries that consumer groups and sinks gave up, with the reason, until somebody has handled them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from streamer.alerts import alert as alerts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from streamer.alerts.publisher import AlertStore

PAGE: Final = 500


class DeadDelivery(NamedTuple):
    """One entry. `alert` is None if the bytes `data` are no alert; `id` is its own, `entry_id` that in the alert stream."""

    id: str
    entry_id: str
    group: str
    consumer: str
    deliveries: int
    reason: str
    data: bytes
    alert: alerts.Alert | None


async def read(store: AlertStore, group: str | None = None) -> AsyncIterator[DeadDelivery]:
    """The entries there are now, oldest first; of one group, or of all. Raises what the store raises."""
    start = "-"
    while True:
        rows = await store.command("XRANGE", store.keys.dead, start, "+", "COUNT", PAGE)
        for entry_id, fields in rows:
            found = _decode(entry_id, fields)
            if group is None or found.group == group:
                yield found
        if len(rows) < PAGE:
            return
        start = f"({rows[-1][0].decode()}"


async def remove(store: AlertStore, delivery: DeadDelivery) -> None:
    """It has been handled. Raises what the store raises."""
    await store.command("XDEL", store.keys.dead, delivery.id)


def _decode(entry_id: bytes, fields: dict[bytes, bytes]) -> DeadDelivery:
    def text(name: bytes) -> str:
        return fields.get(name, b"").decode(errors="replace")

    data = fields.get(b"alert", b"")
    try:
        alert = alerts.decode(data)
    except msgspec.DecodeError:
        alert = None
    count = text(b"deliveries")
    return DeadDelivery(
        id=entry_id.decode(),
        entry_id=text(b"entry_id"),
        group=text(b"group"),
        consumer=text(b"consumer"),
        deliveries=int(count) if count.isdecimal() else 0,
        reason=text(b"reason"),
        data=data,
        alert=alert,
    )
