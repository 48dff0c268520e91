"""For programs that act on alerts: reads the Redis stream in a consumer group, so that each alert is handled at least once.

    async with AlertConsumer("redis://127.0.0.1:6379/0", group="agent-desktop", name="desktop-1") as consumer:
        for alert in await consumer.active():      # what is firing already
            show(alert)
        async for delivery in consumer:            # every transition from now on
            show(delivery.alert)                   # acknowledged when the loop comes back for the next one

All consumers of a group share its alerts; each group gets all of them. A body that raises leaves its alert unacknowledged: it is
delivered again, to the same name after a restart, else to another consumer after `stale_after_seconds`. After `max_deliveries` it
goes to the stream `cx:alerts:dead` and the group goes on. At least once means: use `alert.alert_id` to recognise a repetition.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

import msgspec
from redis.exceptions import RedisError, ResponseError

from streamer.alerts import alert as alerts
from streamer.alerts.connection import MOVED_ON, Keys, RedisUnavailableError, address_of, code_of, connect, diagnose
from streamer.alerts.times import milliseconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from types import TracebackType

log = logging.getLogger(__name__)
T = TypeVar("T")

# How long a read waits for something new; also how long `stop` takes at most.
BLOCK_SECONDS: Final = 1.0
# Acknowledgements are collected, since each alone would cost a round trip; not longer than this, since a crash repeats them.
ACKNOWLEDGE_SECONDS: Final = 0.2
BACKOFF_SECONDS: Final = (0.05, 2.0)
# Stale deliveries taken over in a row before new alerts get their turn.
CLAIMS_IN_A_ROW: Final = 10
DEAD_LENGTH: Final = 10_000


@dataclass(slots=True)
class Delivery:
    """One alert handed to this consumer.

    id: of the entry in the Redis stream. deliveries: how often it was handed out in this group. 1: certainly the first time; more: perhaps
    no body has seen it yet, for what was fetched with another one counts as handed out.
    data: the record's bytes as they stand there, with fields that only newer versions know.
    """

    id: str
    alert: alerts.Alert
    deliveries: int
    data: bytes = field(default=b"", repr=False)
    _kept: bool = field(default=False, repr=False)

    def retry_later(self) -> None:
        """Do not acknowledge it: some consumer of the group gets it again after `stale_after_seconds`."""
        self._kept = True


class AlertConsumer:
    """Reads alerts as one consumer of a group; use it in `async with`, in one task.

    Leaving the `async with` without an exception acknowledges the delivery in hand, with one it does not. While Redis is away
    it waits and goes on by itself; DeliveryError is raised for what only a change of configuration ends.

    Args:
        url: `redis://host:6379/0`, `rediss://` for TLS.
        group: the consumer group, created if missing.
        name: of this consumer, unique in its group and the same after a restart (a host or pod name).
        password: if it is not in the URL.
        ca_file: CA certificates that Redis' certificate is checked against, without it the system's.
        prefix: of the keys, the publisher's `redis_prefix`.
        start: where a group that does not exist yet begins: "new" alerts only, or "all" that the stream still has.
        batch: most alerts fetched at once.
        max_deliveries: after so many a delivery goes to the dead stream.
        stale_after_seconds: unacknowledged for so long, a delivery goes to another consumer: longer than the longest body.
        on_trimmed: told how many deliveries the stream's bounds removed between being handed out and being handled.
        on_dead: told how many went to the dead stream without a body's `give_up`.
    """

    def __init__(
        self,
        url: str,
        group: str,
        name: str,
        *,
        password: str | None = None,
        ca_file: Path | None = None,
        prefix: str = "cx:",
        start: Literal["new", "all"] = "new",
        batch: int = 100,
        max_deliveries: int = 5,
        stale_after_seconds: float = 60.0,
        on_trimmed: Callable[[int], None] = lambda _count: None,
        on_dead: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self.keys = Keys(prefix)
        self.group = group
        self.name = name
        self._client = connect(url, password, ca_file=ca_file)
        self._where = address_of(self._client)
        self._start = "$" if start == "new" else "0"
        self._batch = batch
        self._max_deliveries = max_deliveries
        self._stale_seconds = stale_after_seconds
        self._on_trimmed = on_trimmed
        self._on_dead = on_dead
        self._stopping = False
        self._group_exists = False
        self._buffer: deque[Delivery] = deque()
        self._current: Delivery | None = None
        self._done: list[str] = []
        self._acknowledged_at = time.monotonic()
        self._owned_since = 0.0  # the deliveries in the buffer are ours from then on for `stale_after_seconds`
        self._pending_from: str | None = "0"  # own unacknowledged deliveries are read from here; None once there are no more
        self._claim_cursor = "0-0"
        self._claim_due = 0.0
        self._claims = 0

    async def __aenter__(self) -> AlertConsumer:
        # The group first: what happens between `active()` and the first read is then in the stream.
        await self._insist(self._create_group)
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        if exc_type is None:
            self._settle_current()
        try:
            with contextlib.suppress(RedisError, OSError):  # unacknowledged is delivered again; an error here would hide the first
                await self._acknowledge()
        finally:
            await self._client.aclose()

    def stop(self) -> None:
        """End the iteration after the alert in hand; safe in a signal handler."""
        self._stopping = True

    async def active(self) -> list[alerts.Alert]:
        """What is firing now, oldest first: the last record of each fingerprint that has neither ended nor expired."""
        found = await self._insist(self._active_records) or ()
        now_ms = time.time() * 1000
        decoded = [alert for alert in map(_decode, found) if alert is not None and milliseconds(alert.expires_at) > now_ms]
        return sorted(decoded, key=lambda alert: (alert.detected_at, alert.fingerprint))

    def __aiter__(self) -> AlertConsumer:
        return self

    async def __anext__(self) -> Delivery:
        while True:
            delivery = self.take()
            if delivery is not None:
                return delivery
            if self._stopping:
                await self._insist(self._acknowledge)
                raise StopAsyncIteration
            await self._refill()

    async def renew(self) -> None:
        """Keep the delivery in hand, and what was fetched with it, from going to another consumer: for bodies that take long.

        Call it at least every half `stale_after_seconds`; it does not count as a delivery.
        """
        await self._insist(self._renew)

    async def give_up(self, reason: str) -> bool:
        """Move the delivery in hand to the dead stream: no repetition can help. Reason: a word or a few, without secrets.

        False if stopped while Redis was away: it is still pending.
        """
        delivery = self._current
        if delivery is None:
            raise RuntimeError("give up a delivery in the body of the loop")
        delivery.retry_later()  # acknowledged in the transaction that moves it; if we are stopped before, by nobody
        return await self._insist(lambda: self._bury(delivery.id.encode(), {b"alert": delivery.data}, delivery.deliveries, reason)) or False

    # -- in memory

    def _settle_current(self) -> None:
        if self._current is not None and not self._current._kept:
            self._done.append(self._current.id)
        self._current = None

    def take(self) -> Delivery | None:
        """The next delivery if that needs no word with Redis first, else None. `__anext__` is what programs use."""
        self._settle_current()
        now = time.monotonic()
        if self._stopping or not self._buffer:
            return None
        if self._done and now - self._acknowledged_at > ACKNOWLEDGE_SECONDS:
            return None
        if now - self._owned_since > self._stale_seconds / 2:
            return None
        self._current = self._buffer.popleft()
        return self._current

    # -- in Redis

    async def _refill(self) -> None:
        """Acknowledge what is done; if the buffer is empty, fetch something, or nothing after a wait."""
        if not self._buffer:
            self._buffer.extend(await self._insist(self._fetch) or ())
            return
        await self._insist(self._acknowledge)
        age_seconds = time.monotonic() - self._owned_since
        if age_seconds > self._stale_seconds:
            self._buffer.clear()  # others may have them by now; what they have not comes back by claiming
        elif age_seconds > self._stale_seconds / 2:
            await self._insist(self._renew)

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """The call's result, tried again while Redis is away or has lost the group; None if stopped meanwhile."""
        pause_seconds, pause_seconds_max = BACKOFF_SECONDS
        while True:
            try:
                if not self._group_exists:
                    await self._create_group()
                return await call()
            except (RedisError, OSError) as exc:
                if isinstance(exc, RedisError) and code_of(exc) == "NOGROUP":
                    log.warning("Redis at %s lost group %s: it begins anew", self._where, self.group, extra={"action": "group_lost"})
                    self._group_exists = False
                    self._start = "0"  # Redis lost its data: everything in the stream came after that
                    continue
                problem = await diagnose(exc, self._client)
                if not isinstance(problem, RedisUnavailableError):
                    raise problem from exc
                log.warning("%s; trying again", problem, extra={"action": "redis_away"})
                if isinstance(exc, RedisError) and code_of(exc) in MOVED_ON:
                    await self._client.connection_pool.disconnect()
                self._pending_from = "0"  # a reply may be lost, with the deliveries in it: they are pending under our name
            if self._stopping:
                return None
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, pause_seconds_max)

    async def _create_group(self) -> None:
        try:
            await self._client.xgroup_create(self.keys.stream, self.group, self._start, mkstream=True)
        except ResponseError as exc:
            if code_of(exc) != "BUSYGROUP":  # it exists
                raise
        self._group_exists = True

    async def _active_records(self) -> list[bytes]:
        # A scan may give a field twice while the hash is resized.
        return list({field: record async for field, record in self._client.hscan_iter(self.keys.active, count=1000)}.values())

    async def _acknowledge(self) -> None:
        if self._done:
            await self._client.xack(self.keys.stream, self.group, *self._done)
            self._done.clear()
        self._acknowledged_at = time.monotonic()

    async def _renew(self) -> None:
        """Tell Redis that the buffer is still being worked on; does not count as a delivery."""
        now = time.monotonic()
        in_hand = [] if self._current is None else [self._current]
        ids: list[Any] = [delivery.id for delivery in (*in_hand, *self._buffer)]
        await self._client.xclaim(self.keys.stream, self.group, self.name, 0, ids, justid=True)
        self._owned_since = now

    async def _fetch(self) -> list[Delivery]:
        """Own pending deliveries first; then stale ones of others and new ones by turns."""
        await self._acknowledge()
        self._owned_since = time.monotonic()
        if self._pending_from is not None:
            return await self._fetch_pending()
        if self._claims < CLAIMS_IN_A_ROW and self._owned_since >= self._claim_due:
            claimed = await self._claim()
            if claimed is not None:
                return claimed
        more_to_claim = self._claims >= CLAIMS_IN_A_ROW
        self._claims = 0
        return await self._read_new(block=not more_to_claim)

    async def _read_new(self, *, block: bool) -> list[Delivery]:
        block_ms = int(min(BLOCK_SECONDS, self._stale_seconds / 2) * 1000) if block else None
        reply: Any = await self._client.xreadgroup(self.group, self.name, {self.keys.stream: ">"}, count=self._batch, block=block_ms)
        return await self._deliveries(reply[0][1] if reply else [], {})

    async def _fetch_pending(self) -> list[Delivery]:
        """One by one: an alert that kills the process must not count as a failure of those fetched with it."""
        reply: Any = await self._client.xreadgroup(self.group, self.name, {self.keys.stream: self._pending_from or "0"}, count=1)
        entries = reply[0][1] if reply else []
        if not entries:
            self._pending_from = None
            return []
        self._pending_from = entries[-1][0].decode()
        return await self._deliveries(entries, await self._counts(entries))

    async def _claim(self) -> list[Delivery] | None:
        """Take over one stale delivery, one for the reason above; None if there is none left for now."""
        cursor, entries, deleted = await self._client.xautoclaim(
            self.keys.stream, self.group, self.name, int(self._stale_seconds * 1000), self._claim_cursor, count=1
        )
        self._claim_cursor = cursor.decode()
        for entry_id in deleted:
            self._trimmed(entry_id)
        if entries:
            self._claims += 1
            return await self._deliveries(entries, await self._counts(entries))
        if self._claim_cursor == "0-0":
            self._claim_due = time.monotonic() + self._stale_seconds / 4
            self._claims = 0
            return None
        return []

    async def _counts(self, entries: list[Any]) -> dict[bytes, int]:
        """How often each entry was delivered, these times included."""
        rows = await self._client.xpending_range(
            self.keys.stream, self.group, entries[0][0], entries[-1][0], len(entries), consumername=self.name
        )
        return {cast("bytes", row["message_id"]): cast("int", row["times_delivered"]) for row in rows}

    async def _deliveries(self, entries: list[Any], counts: dict[bytes, int]) -> list[Delivery]:
        """Decoded deliveries. What cannot be decoded or was delivered too often goes to the dead stream, what was trimmed is dropped."""
        found = []
        for entry_id, fields in entries:
            count = counts.get(entry_id, 1)
            if not fields:  # trimmed from the stream before it was handled
                self._done.append(entry_id.decode())
                self._trimmed(entry_id)
                continue
            alert = _decode(fields.get(b"alert", b""))
            if alert is None:
                await self._bury(entry_id, fields, count, "undecodable")
                self._on_dead(1)
            elif count > self._max_deliveries:
                await self._bury(entry_id, fields, count - 1, "max_deliveries")
                self._on_dead(1)
            else:
                found.append(Delivery(entry_id.decode(), alert, count, fields[b"alert"]))
        return found

    def _trimmed(self, entry_id: bytes) -> None:
        self._on_trimmed(1)
        log.warning("alert %s was trimmed before it was handled", entry_id.decode(), extra={"action": "trimmed"})

    async def _bury(self, entry_id: bytes, fields: dict[bytes, bytes], deliveries: int, reason: str) -> bool:
        """Move an entry to the dead stream and acknowledge it, in one transaction; True."""
        dead: dict[Any, Any] = {
            **fields, "entry_id": entry_id, "group": self.group, "consumer": self.name, "deliveries": deliveries, "reason": reason,
        }  # fmt: skip
        async with self._client.pipeline(transaction=True) as transaction:
            _ = transaction.xadd(self.keys.dead, dead, maxlen=DEAD_LENGTH, approximate=True)
            _ = transaction.xack(self.keys.stream, self.group, entry_id)
            await transaction.execute()
        log.error("gave up alert %s: %s", entry_id.decode(), reason, extra={"action": "dead", "deliveries": deliveries})
        return True


def _decode(data: bytes) -> alerts.Alert | None:
    try:
        alert = alerts.decode(data)
        milliseconds(alert.expires_at)
    except (msgspec.DecodeError, ValueError):
        return None
    return alert
