"""Closing the loop: who took an alert up, and how it ended.

    async with Outcomes("redis://127.0.0.1:6379/0") as outcomes:
        await outcomes.acknowledge(delivery.alert, by="ann")                      # somebody looks after it
        await outcomes.acknowledge(delivery.alert, by="ann", outcome="saved")     # and this became of it

The first word on an episode counts for the time to acknowledge; another outcome replaces the one before. Outcomes are in Redis only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import redis.asyncio

from streamer.alerts import alert as alerts
from streamer.alerts.connection import connect
from streamer.alerts.publisher import AlertStore
from streamer.alerts.times import milliseconds
from streamer.alerts.verdicts import VERDICTS, Outcome
from streamer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from types import TracebackType

    from streamer.alerts.verdicts import Verdict

AGE_SECONDS: Final = 90 * 86_400
# A few hundred bytes each; who reads them all, as the publisher does after changes, takes some 20 ms.
COUNT: Final = 20_000
TEXT_LENGTH_MAX: Final = 500
SCAN: Final = 500


class UnknownAlertError(InputError):
    """Redis has no alert, episode or fingerprint of this name."""

    def __init__(self, identity: str) -> None:
        super().__init__(f"no alert, episode or fingerprint {identity!r} is in Redis: `streamer alerts tail --json` shows what is")


class Outcomes:
    """Acknowledges and judges alerts, and lists what was said. Its Redis user: `cx-agent` in docs/reference/alerts.md.

    Args:
        redis_or_url: `redis://host:6379/0`, `rediss://` for TLS; or a client, which stays open.
        password: if it is not in the URL.
        ca_file: CA certificates that Redis' certificate is checked against, without it the system's.
        prefix: of the keys, the publisher's `redis_prefix`.

    All methods raise RedisUnavailableError (try again later) or DeliveryError (configuration).
    """

    def __init__(
        self, redis_or_url: str | redis.asyncio.Redis, *, password: str | None = None, ca_file: Path | None = None, prefix: str = "cx:"
    ) -> None:
        self._owned = isinstance(redis_or_url, str)
        client = connect(redis_or_url, password, ca_file=ca_file) if isinstance(redis_or_url, str) else redis_or_url
        self._store = AlertStore(client, prefix=prefix)
        self.keys = self._store.keys

    async def __aenter__(self) -> Outcomes:
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        if self._owned:
            await self._store.close()

    async def acknowledge(self, alert: alerts.Alert | str, *, by: str, outcome: Verdict | None = None, note: str = "") -> Outcome:
        """Say that somebody has taken up an alert, and, once it is known, how it ended. Saying the same again changes nothing.

        Args:
            alert: any transition of the episode; or its `alert_id`, `episode_id`, or `fingerprint`, which means the latest episode.
            by: who says so.
            outcome: `saved` (in trouble, and helped), `lost` (in trouble, and not helped), `false-alarm` (not in trouble).
            note: up to 500 characters. It stays in Redis for 90 days: no customer data.

        Returns what is now known of the episode.
        Raises UnknownAlertError if Redis has no such alert, and InputError for an argument that cannot be.
        """
        _check(by, outcome, note)
        known = alert if isinstance(alert, alerts.Alert) else await self._find(alert)
        fired_ms = milliseconds(known.detected_at) if known.state == "firing" else await self._fired(known.episode_id)
        details: dict[str, Any] = {
            "episode_id": known.episode_id, "fingerprint": known.fingerprint, "rule": known.rule.id, "severity": known.severity,
        }  # fmt: skip
        if fired_ms is not None:
            details["fired_ms"] = fired_ms
        reply: bytes = await self._store.function(
            "cx_alerts_acknowledge_1",
            (self.keys.outcomes, self.keys.outcomes_age),
            (known.episode_id, by, outcome or "", note, msgspec.json.encode(details), AGE_SECONDS * 1000, COUNT),
        )
        return msgspec.json.decode(reply, type=Outcome)

    async def all(self) -> list[Outcome]:
        """Everything that is kept, oldest acknowledgement first."""
        found: dict[bytes, bytes] = {}  # a scan may show an entry twice
        cursor = 0
        while True:
            cursor, entries = await self._store.command("HSCAN", self.keys.outcomes, cursor, "COUNT", 1000)
            found.update(entries)
            if cursor == 0:
                break
        decoded = [outcome for outcome in map(_decode, found.values()) if outcome is not None]
        return sorted(decoded, key=lambda outcome: (outcome.acknowledged_ms, outcome.episode_id))

    async def mark(self) -> object:
        """Something that differs after each change: tells whether `all` is worth asking again."""
        count = await self._store.command("ZCARD", self.keys.outcomes_age)
        newest = await self._store.command("ZREVRANGE", self.keys.outcomes_age, 0, 0, "WITHSCORES")
        return count, str(newest)

    async def _find(self, identity: str) -> alerts.Alert:
        """The latest transition that the identity may mean: in the stream, or firing for so long that it has left the stream.

        Of a fingerprint first what fires: a storm keeps it out of the stream, where an earlier episode may still be.
        """
        firing = _alert(await self._store.command("HGET", self.keys.active, identity) or b"")
        if firing is not None:
            return firing
        async for alert in self._backwards(identity):
            if identity in (alert.alert_id, alert.episode_id, alert.fingerprint):
                return alert
        for record in (await self._store.active()).values():
            firing = _alert(record)
            if firing is not None and identity in (firing.alert_id, firing.episode_id, firing.fingerprint):
                return firing
        raise UnknownAlertError(identity)

    async def _fired(self, episode_id: str) -> int | None:
        """When the episode fired, in ms since the epoch, if the stream still has it."""
        async for alert in self._backwards(episode_id):
            if alert.episode_id == episode_id and alert.state == "firing":
                return milliseconds(alert.detected_at)
        return None

    async def _backwards(self, identity: str) -> AsyncIterator[alerts.Alert]:
        """Records of the stream that contain the identity, newest first."""
        wanted, end = identity.encode(), "+"
        while True:
            rows = await self._store.command("XREVRANGE", self.keys.stream, end, "-", "COUNT", SCAN)
            for _, fields in rows:
                data = fields.get(b"alert", b"")
                if wanted in data and (alert := _alert(data)) is not None:
                    yield alert
            if len(rows) < SCAN:
                return
            end = f"({rows[-1][0].decode()}"


def _check(by: str, outcome: str | None, note: str) -> None:
    if not by.strip() or len(by) > TEXT_LENGTH_MAX:
        raise InputError("an acknowledgement says by whom, in 1 to 500 characters")
    if len(note) > TEXT_LENGTH_MAX:
        raise InputError(f"the note has {len(note)} characters: {TEXT_LENGTH_MAX} are kept")
    if outcome is not None and outcome not in VERDICTS:
        raise InputError(f"{outcome!r} is no outcome: it is one of {', '.join(VERDICTS)}")


def _decode(data: bytes) -> Outcome | None:
    try:
        return msgspec.json.decode(data, type=Outcome)
    except msgspec.DecodeError:
        return None  # of a newer version


def _alert(data: bytes) -> alerts.Alert | None:
    try:
        return alerts.decode(data)
    except msgspec.DecodeError:
        return None
