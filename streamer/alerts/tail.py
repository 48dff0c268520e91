"""Look at the alert stream without being a consumer: nothing is acknowledged, no group is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from redis.exceptions import RedisError

from streamer.alerts import alert as alerts
from streamer.alerts.connection import Keys, diagnose

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis.asyncio

BLOCK_MS = 1000
BATCH = 500


class Entry(NamedTuple):
    """One entry of the stream: its Redis id, the record, and the record's bytes as stored."""

    id: str
    alert: alerts.Alert
    data: bytes


async def last(client: redis.asyncio.Redis, keys: Keys, count: int) -> list[Entry]:
    """The last `count` alerts, oldest first. Raises DeliveryError."""
    try:
        found: Any = await client.xrevrange(keys.stream, count=count) if count > 0 else []
    except (RedisError, OSError) as exc:
        raise await diagnose(exc, client) from exc
    return _entries(reversed(found))


async def follow(client: redis.asyncio.Redis, keys: Keys, after: str | None) -> AsyncIterator[Entry]:
    """Alerts as they come, after the entry of this id (None: from now on), until the caller stops. Raises DeliveryError."""
    try:
        if after is None:
            newest: Any = await client.xrevrange(keys.stream, count=1)
            after = newest[0][0].decode() if newest else "0-0"
        while True:
            reply: Any = await client.xread({keys.stream: after}, count=BATCH, block=BLOCK_MS)
            if not reply:
                continue
            rows = reply[0][1]
            after = rows[-1][0].decode()
            for entry in _entries(rows):
                yield entry
    except (RedisError, OSError) as exc:
        raise await diagnose(exc, client) from exc


def _entries(rows: Any) -> list[Entry]:
    found = []
    for entry_id, fields in rows:
        data = fields.get(b"alert", b"")
        try:
            found.append(Entry(entry_id.decode(), alerts.decode(data), data))
        except msgspec.DecodeError:
            continue  # consumers put it into the dead stream; here there is nothing to show
    return found
