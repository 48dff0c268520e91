"""Seeded customers and a producer that treats the source badly: out of order, twice, too late, poisoned, in aborted transactions.

The seed decides who does what in which order; when, and what lies between two faults, the machine decides. What the suite
compares with is therefore the log itself.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from random import Random
from typing import TYPE_CHECKING, Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from tests.chaos import wire

if TYPE_CHECKING:
    from streamer.settings import Settings

CUSTOMERS: Final = 40  # at a time
EVENTS_PER_CUSTOMER_MAX: Final = 14
SWITCH: Final = ("web", "web", "app", "phone", "chat")

FAMILIES: Final[dict[str, dict[str, tuple[Any, ...]]]] = {
    "checkout": {
        "type": (
            "checkout.started", "checkout.started", "checkout.step_viewed", "checkout.step_viewed", "payment.failed", "form.error",
            "order.completed", "order.cancelled", "identity.linked", "page.viewed", "page.viewed",
        ),
        "checkout_id": ("k1", "k1", "k2", ""),
        "order_id": ("", "", "", "o1"),
        "session_id": ("s1", "s1", "s2", ""),
    },
    "contact": {
        "type": ("contact.started", "contact.started", "contact.ended", "contact.transferred", "knowledge.searched", "case.resolved"),
        "issue_id": ("i1", "i1", "i2", ""),
        "reason": ("bill", "bill", "parcel", ""),
        "team": ("", "red", "blue"),
        "initiator": ("", "", "customer", "company"),
        "handoff_kind": ("", "cold", "warm"),
        "context_passed": (None, None, [], ["history"]),
    },
    "case": {
        "type": (
            "case.opened", "case.opened", "case.updated", "case.updated", "handoff.accepted", "handoff.accepted", "case.closed",
            "case.reopened", "contact.transferred", "contact.started",
        ),
        "case_id": ("q1", "q1", "q1", "q2"),
        "owner": ("", "red", "red", "blue", "green"),
        "team": ("", "red", "blue"),
        "to_team": ("", "", "blue"),
        "resolved": (None, None, None, True, False),
    },
    "onboarding": {
        "type": ("journey.started", "journey.started", "journey.step_entered", "journey.completed", "journey.failed"),
        "journey": ("onboarding",),
        "journey_id": ("j1", "j1", "j2"),
    },
}  # fmt: skip


class Customer:
    """Somebody who does a few things within some seconds and is then seen no more."""

    def __init__(self, number: int, random: Random) -> None:
        self.key = f"c{number}"
        self.left = random.randint(3, EVENTS_PER_CUSTOMER_MAX)
        self._family = FAMILIES[random.choice(list(FAMILIES))]

    def act(self, random: Random, now_ms: int, number: int) -> dict[str, Any]:
        """The next event."""
        self.left -= 1
        chosen = {name: random.choice(values) for name, values in self._family.items()}
        event = {name: value for name, value in chosen.items() if value not in ("", None)}
        event |= {"id": f"e{number}", "source": "/chaos", "channel": random.choice(SWITCH), "customer": self.key}
        draw = random.random()
        event["time"] = now_ms - (0 if draw < 0.7 else random.randint(0, 3_000) if draw < 0.9 else random.randint(3_000, 10_000))
        if draw > 0.98:  # beyond the lateness, and nothing that could end an alert
            event |= {"type": "page.viewed", "time": now_ms - random.randint(50_000, 80_000)}
        elif random.random() < 0.01:
            event["analytics_consent"] = random.random() < 0.5
        return event


def poison(event: dict[str, Any], random: Random) -> tuple[bytes | None, bytes | None]:
    """(key, value) of something that can only become a dead letter."""
    key, good = event["customer"].encode(), wire.encode(event)
    return random.choice(
        [
            (key, b"{nonsense"),
            (key, b""),
            (key, None),
            (None, good),
            (b"somebody-else", good),
            (key, good.replace(b'"channel"', b'"canal"')),
            (key, good.replace(b'"type": "', b'"type": 5, "was": "')),
            (key, wire.encode({**event, "time": event["time"] + 3_600_000})),
            (key, b"\xff\xfe" + good),
            (key, b"[" * 5_000),
            (key, b'{"time": 1}'),
        ]
    )


class Traffic:
    """The producers. acknowledged: ids that the broker said it has. sent: events handed over so far."""

    def __init__(self, settings: Settings, seed: str, *, events_per_second: float = 50.0) -> None:
        self._settings = settings
        self._random = Random(seed)
        self._topic = settings.topic("touchpoints")
        self._pause_seconds = 1 / events_per_second
        self._customers = [Customer(number, self._random) for number in range(CUSTOMERS)]
        self._known = CUSTOMERS
        self._again: list[tuple[float, int, bytes, bytes]] = []
        self._waiting: set[asyncio.Future[Any]] = set()
        self._silence = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._producer: AIOKafkaProducer
        self.acknowledged: set[str] = set()
        self.sent = 0

    async def start(self) -> None:
        self._producer = AIOKafkaProducer(bootstrap_servers=self._settings.kafka_bootstrap, enable_idempotence=True, linger_ms=5)
        await self._producer.start()
        self._task = asyncio.create_task(self._run(), name="traffic")

    async def end(self) -> None:
        """No more events; those sent are appended, or given up by the producer."""
        self._silence.set()
        if self._task is not None:
            await self._task
        if self._waiting:
            await asyncio.wait(self._waiting)
        self._task = None
        await self._producer.stop()

    async def abandon(self) -> None:
        """Whatever happened: no more events, and no connection left open."""
        self._silence.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            await self._producer.stop()

    async def _run(self) -> None:
        began, steps = time.monotonic(), 0
        while not self._silence.is_set():
            steps += 1
            await self._step(steps)
            ahead = began + steps * self._pause_seconds - time.monotonic()
            if ahead < -1:  # the broker was away: go on, do not catch up all at once
                began = time.monotonic() - steps * self._pause_seconds
            await asyncio.sleep(max(0.0, ahead))

    async def _step(self, number: int) -> None:
        random, now = self._random, time.time()
        at = random.randrange(CUSTOMERS)
        customer = self._customers[at]
        event = customer.act(random, int(now * 1000), number)
        if customer.left == 0:
            self._customers[at] = Customer(self._known, random)
            self._known += 1
        if random.random() < 0.03:
            key, value = poison(event, random)
            await self._send(key, value, poisoned=True)
        else:
            key, value = event["customer"].encode(), wire.encode(event)
            await self._send(key, value, event_id=event["id"])
            if random.random() < 0.05:
                heapq.heappush(self._again, (now + random.random() * 3, number, key, value))
        while self._again and self._again[0][0] <= now:
            _, _, key, value = heapq.heappop(self._again)
            await self._send(key, value)
        if number % 100 == 50:
            await self._aborted(event)

    async def _send(self, key: bytes | None, value: bytes | None, *, event_id: str = "", poisoned: bool = False) -> None:
        self.sent += 1
        future = await self._producer.send(self._topic, value, key=key, headers=[wire.POISON] if poisoned else [])
        self._waiting.add(future)

        def done(sent: asyncio.Future[Any]) -> None:
            self._waiting.discard(sent)
            if not sent.cancelled() and sent.exception() is None and event_id:
                self.acknowledged.add(event_id)

        future.add_done_callback(done)

    async def _aborted(self, event: dict[str, Any]) -> None:
        """What another producer thought better of: offsets that nobody may count."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka_bootstrap,
            transactional_id=f"{self._settings.app}-upstream",
            transaction_timeout_ms=5_000,
        )
        try:
            async with asyncio.timeout(3):
                await producer.start()
                await producer.begin_transaction()
                for n in range(3):
                    value = wire.encode({**event, "id": f"{event['id']}-aborted-{n}"})
                    await producer.send_and_wait(self._topic, value, key=event["customer"].encode())
                await producer.abort_transaction()
        except (KafkaError, TimeoutError, AssertionError):
            pass  # the broker is away, or just back and knows of no broker (aiokafka asserts one); what it has is aborted by its timeout
        finally:
            try:
                async with asyncio.timeout(3):
                    await producer.stop()
            except (KafkaError, TimeoutError):
                pass
