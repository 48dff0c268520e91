"""Hand to a sink once more what it gave up, when what was wrong has been put right."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from streamer.alerts import dead
from streamer.alerts.alert import ENDS, decode
from streamer.alerts.times import milliseconds
from streamer.sinks.forwarding import group_of, has_expired
from streamer.sinks.sink import RefusedError, SinkError, TryAgainError

if TYPE_CHECKING:
    from streamer.alerts.alert import Alert
    from streamer.alerts.publisher import AlertStore
    from streamer.sinks.config import SinkConfig
    from streamer.sinks.sink import Sink


class Redriven(NamedTuple):
    """Alerts that the sink took and that are dead no more; that it refused again; and the first reason why not, if any.

    expired: dead no more either, because it is too late to tell people of them. ended: nor those that have ended meanwhile, unless their
    end is dead, too.
    """

    delivered: int
    kept: int
    reason: str | None
    expired: int = 0
    ended: int = 0


async def redrive(store: AlertStore, config: SinkConfig, sink: Sink) -> Redriven:
    """One attempt for each, oldest first. Refused ones are left where they are; a receiver that is away ends it.

    A crash between delivery and removal means a repetition: receivers recognise it by `alert_id`. Raises what the store raises.
    """
    delivered, kept, reason, expired, ended = 0, 0, None, 0, 0
    away = False
    entries = [entry async for entry in dead.read(store, group_of(config.name))]
    to_end = {entry.alert.episode_id for entry in entries if entry.alert is not None and entry.alert.state in ENDS}
    for entry in entries:
        now_ms = int(time.time() * 1000)
        if entry.alert is not None and has_expired(entry.alert, config, now_ms):
            await dead.remove(store, entry)
            expired += 1
            continue
        if entry.alert is not None and entry.alert.episode_id not in to_end and await _has_ended(store, entry.alert, now_ms):
            await dead.remove(store, entry)
            ended += 1
            continue
        problem = TryAgainError("not tried") if away else await _attempt(sink, entry, config.timeout / 1000)
        if problem is None:
            await dead.remove(store, entry)
            delivered += 1
            continue
        kept += 1
        reason = reason or problem.reason
        away = away or isinstance(problem, TryAgainError)
    return Redriven(delivered, kept, reason, expired, ended)


async def _has_ended(store: AlertStore, alert: Alert, now_ms: int) -> bool:
    """Whether something that fired is not in the set of what is firing any more, though nothing but its end takes it out so early."""
    if alert.state in ENDS or milliseconds(alert.expires_at) <= now_ms:
        return False
    record = await store.command("HGET", store.keys.active, alert.fingerprint)
    try:
        return record is None or decode(record).episode_id != alert.episode_id
    except msgspec.DecodeError:  # of a later version; told once too often is better than not at all
        return False


async def _attempt(sink: Sink, entry: dead.DeadDelivery, timeout_seconds: float) -> SinkError | None:
    if entry.alert is None:
        return RefusedError("it is no alert")
    try:
        async with asyncio.timeout(timeout_seconds):
            await sink.deliver(entry.alert, entry.data)
    except SinkError as exc:
        return exc
    except TimeoutError:
        return TryAgainError(f"no answer within {timeout_seconds:g} s")
    return None
