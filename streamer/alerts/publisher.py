"""The Redis side of delivery: what `redis.lua` promises, callable from Python, with bounded retries that never lose an alert."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgspec
from redis.exceptions import RedisError, ResponseError

from streamer.alerts import alert as alerts
from streamer.alerts.connection import MOVED_ON, Keys, RedisUnavailableError, address_of, code_of, diagnose, reason_of
from streamer.alerts.times import milliseconds
from streamer.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import redis.asyncio

LIBRARY: Final = files("streamer.alerts").joinpath("redis.lua").read_text(encoding="utf-8")
# Attempts within one call, 0.05 to 0.8 s apart: rides over a reconnect or a failover's first moments, then the caller decides.
ATTEMPTS: Final = 6
BACKOFF_SECONDS: Final = 0.05
# No new attempt after this: a server that accepts connections and never answers costs a timeout each time.
CALL_SECONDS: Final = 4.0
# Fingerprints per restoring call, about 0.5 MB and a few milliseconds of the server's time.
CHUNK: Final = 500


class Published(NamedTuple):
    """What became of one batch: alerts delivered now, delivered before (ignored), and the offsets of undecodable records.

    detected_ms: `detected_at` of those delivered now, in ms since the epoch. held: of those, how many a storm kept out of the stream.
    """

    delivered: int
    present: int
    undecodable: list[int]
    detected_ms: list[int]
    held: int = 0


class ActiveRecord(NamedTuple):
    """The last state of one fingerprint: the record's bytes if it is firing, None if it ended. Time in ms since the epoch."""

    record: bytes | None
    expires_ms: int


class OutOfStepError(DeliveryError):
    """Redis does not hold what was delivered to it. `applied`: the last offset it does hold, None if it knows of none."""

    def __init__(self, applied: int | None) -> None:
        super().__init__(
            "Redis lost all alerts of a partition" if applied is None else f"Redis lost the alerts of a partition after offset {applied}"
        )
        self.applied = applied


class AlertStore:
    """The alert keys of one Redis. All methods raise RedisUnavailableError (try again later) or DeliveryError (configuration).

    Args:
        client: see `connection.connect`.
        prefix: of the keys.
        stream_length: entries kept in the stream, about.
        stream_age_seconds: age up to which entries are kept, about.
        storm_limit: firings of one rule that are told one by one within `storm_seconds`; the rest is held back. 0: no limit.
        storm_seconds: the span's length.
        installs: put the library of this version in the place of whatever is loaded, once: functions outlive restarts and updates.
        on_command: told the outcome ("ok", "error") of each command, for metrics.
        on_refused: told why a command failed, one of `connection.REFUSALS`, for metrics.
    """

    def __init__(
        self,
        client: redis.asyncio.Redis,
        *,
        prefix: str = "cx:",
        stream_length: int = 100_000,
        stream_age_seconds: int = 7 * 86_400,
        storm_limit: int = 0,
        storm_seconds: int = 600,
        installs: bool = False,
        on_command: Callable[[Literal["ok", "error"]], None] = lambda _outcome: None,
        on_refused: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        self.keys = Keys(prefix)
        self.client = client
        self._bounds = (stream_length, stream_age_seconds * 1000)
        self._storm = (storm_limit, storm_seconds * 1000)
        self._on_command = on_command
        self._on_refused = on_refused
        self._where = address_of(client)
        self._installs = installs

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()

    async def ping(self) -> None:
        """Raise unless Redis answers."""
        await self.command("PING")

    async def applied_offsets(self) -> dict[tuple[str, int], int]:
        """(topic id, partition) -> offset of the last record applied; -1 if none was yet. Partitions never opened are absent."""
        reply = await self.command("HGETALL", self.keys.applied)
        found = {}
        for field, offset in reply.items():
            topic_id, _, partition = field.decode().rpartition("/")
            found[topic_id, int(partition)] = int(offset)
        return found

    async def publish(
        self, topic_id: str, partition: int, records: Sequence[tuple[int, bytes | None]], *, after: int, upto: int | None = None
    ) -> Published:
        """Deliver one partition's records, in offset order, and stamp `published_at`. Sending the same again changes nothing.

        Args:
            topic_id: Kafka's id of the topic.
            partition: its partition.
            records: (offset, bytes in Kafka), ascending.
            after: the offset up to which everything is believed to be applied, -1 for nothing.
            upto: the offset up to which this batch goes; the last record's if not given.

        Raises OutOfStepError if Redis has less than `after`.
        """
        now = _now()
        arguments: list[Any] = []
        undecodable: list[int] = []
        detected: list[tuple[int, int]] = []
        for offset, data in records:
            try:
                decoded = alerts.decode(data or b"")
                expires_ms = milliseconds(decoded.expires_at)
                detected_ms = milliseconds(decoded.detected_at)
            except (msgspec.DecodeError, ValueError):
                undecodable.append(offset)
                continue
            detected.append((offset, detected_ms))
            record = stamp(data or b"", decoded, now)
            arguments += (offset, decoded.fingerprint, decoded.state, expires_ms, record, decoded.rule.id, detected_ms)
        last = records[-1][0] if upto is None else upto
        keys = self.keys
        status, *rest = await self.function(
            "cx_alerts_apply_2",
            (keys.stream, keys.active, keys.expiry, keys.applied, keys.storms),
            (keys.wake, f"{topic_id}/{partition}", after, last, *self._bounds, *self._storm, now, *arguments),
        )
        if status != b"OK":
            raise OutOfStepError(int(rest[0]) if rest else None)
        before, delivered, held = (int(number) for number in rest)
        moments = [moment for offset, moment in detected if offset > before]
        return Published(delivered, len(detected) - delivered, undecodable, moments, held)

    async def restore(
        self, topic_id: str, partition: int, states: Iterable[tuple[str, ActiveRecord]], *, expected: int | None, applied: int | None
    ) -> int | None:
        """Put (part of) a rebuilt active set in place; the stream stays as it is.

        Args:
            topic_id: Kafka's id of the topic.
            partition: its partition.
            states: fingerprint and its last state.
            expected: the applied offset that must be stored, None for none: otherwise nothing is written.
            applied: the applied offset to store with the last part, None to leave it.

        Returns None if all was written, else the applied offset found instead at the first part refused.
        Raises OutOfStepError if one was expected and there is none.
        """
        field = f"{topic_id}/{partition}"
        chunk: list[Any] = []
        for fingerprint, state in states:
            chunk += (fingerprint, b"0" if state.record is None else b"1", state.expires_ms, state.record or b"")
            if len(chunk) >= 4 * CHUNK:
                moved = await self._restore(field, expected, None, chunk)
                if moved is not None:
                    return moved
                chunk = []
        return await self._restore(field, expected, applied, chunk)

    async def _restore(self, field: str, expected: int | None, applied: int | None, chunk: list[Any]) -> int | None:
        status, *rest = await self.function(
            "cx_alerts_restore_1",
            (self.keys.active, self.keys.expiry, self.keys.applied),
            (field, "" if expected is None else expected, "" if applied is None else applied, *chunk),
        )
        if status == b"OK":
            return None
        if not rest[0]:
            raise OutOfStepError(None)
        return int(rest[0])

    async def active(self) -> dict[str, bytes]:
        """fingerprint -> record of what is firing, as stored: includes what expired since the last write."""
        found: dict[str, bytes] = {}
        cursor = 0
        while True:
            cursor, entries = await self.command("HSCAN", self.keys.active, cursor, "COUNT", 1000)
            found.update((fingerprint.decode(), record) for fingerprint, record in entries.items())
            if cursor == 0:
                return found

    async def storm_summaries(self) -> set[str]:
        """Fingerprints of the alerts that tell of a storm, which are in no topic."""
        storms = await self.command("HGETALL", self.keys.storms)
        return {storm["summary"]["fingerprint"] for storm in map(msgspec.json.decode, storms.values()) if "summary" in storm}

    async def forget(self, entries: Iterable[tuple[str, bytes]]) -> int:
        """Remove entries of the active set that are still exactly these; returns how many were."""
        removed = 0
        flat = [part for entry in entries for part in entry]
        for start in range(0, len(flat), 2 * CHUNK):
            removed += int(await self.function("cx_alerts_forget_1", (self.keys.active, self.keys.expiry), flat[start : start + 2 * CHUNK]))
        return removed

    async def sweep(self) -> int:
        """Remove expired entries of the active set, at most 1,000, and end storms that are over; returns how many were removed."""
        keys, (limit, span_ms) = self.keys, self._storm
        arguments = (self._bounds[0], span_ms if limit else 0, _now())
        return int(await self.function("cx_alerts_sweep_2", (keys.active, keys.expiry, keys.stream, keys.storms), arguments))

    async def function(self, name: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """The reply of one function of the library, which is loaded if the server does not have it."""
        return await self.command("FCALL", name, len(keys), *keys, *arguments)

    async def command(self, *command: Any) -> Any:
        """One command, repeated while Redis is away or refuses for the moment. Every command here may be repeated."""
        give_up_at = time.monotonic() + CALL_SECONDS
        for attempt in range(ATTEMPTS):
            try:
                if self._installs:
                    await self._install()
                reply = await self.client.execute_command(*command)  # type: ignore[no-untyped-call]
            except (RedisError, OSError) as exc:
                self._on_command("error")
                if is_function_missing(exc):
                    await self.load()
                    continue
                self._on_refused(reason_of(exc))
                problem = await diagnose(exc, self.client)
                if not isinstance(problem, RedisUnavailableError) or attempt == ATTEMPTS - 1 or time.monotonic() > give_up_at:
                    raise problem from exc
                if isinstance(exc, ResponseError) and code_of(exc) in MOVED_ON:
                    await self.client.connection_pool.disconnect()  # after a failover the name leads elsewhere
                await asyncio.sleep(BACKOFF_SECONDS * 2**attempt)
            else:
                self._on_command("ok")
                return reply
        raise RedisUnavailableError(f"Redis at {self._where} loses the function library as often as it is loaded")

    async def _install(self) -> None:
        """Load the library before the first command, unless that is left to an operator, whose user may."""
        try:
            await self.client.function_load(LIBRARY, replace=True)
        except ResponseError as exc:
            if code_of(exc) != "NOPERM":
                raise
        self._installs = False

    async def load(self) -> None:
        """Load the library; a server that was wiped has lost it. Raises DeliveryError for a server before 7.0."""
        try:
            await self.client.function_load(LIBRARY, replace=True)
        except (RedisError, OSError) as exc:
            self._on_command("error")
            if "unknown command" in str(exc).lower():
                raise DeliveryError(f"Redis at {self._where} has no functions: version 7.0 or newer is needed") from exc
            raise await diagnose(exc, self.client) from exc
        self._on_command("ok")


def is_function_missing(exc: Exception) -> bool:
    """Whether the server lacks our library, or functions altogether."""
    text = str(exc).lower()
    return isinstance(exc, ResponseError) and any(
        said in text for said in ("function not found", "unknown command 'fcall'", "unknown command 'function'")
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stamp(data: bytes, decoded: alerts.Alert, published_at: str) -> bytes:
    """The record with `published_at`. Every other byte stays: a newer writer's fields reach the newer readers."""
    body = data.rstrip()
    if decoded.published_at is None and body.endswith(b"}"):
        return body[:-1] + b',"published_at":"' + published_at.encode() + b'"}'
    return alerts.encode(msgspec.structs.replace(decoded, published_at=published_at))
