"""Hand to a sink once more what it gave up, when what was wrong has been put right."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from streamer.alerts import dead
from streamer.alerts.alert import ENDS, decode
from streamer.alerts.times import milliseconds
from streamer.sinks.forwarding import group_of, has_expired
from streamer.sinks.sink import RefusedError, SinkError, TryAgainError, attempt

if TYPE_CHECKING:
    from collections.abc import Container

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
    delivered, kept, reason = 0, 0, None
    past = Counter[str]()
    away = False
    entries = [entry async for entry in dead.read(store, group_of(config.name))]
    to_end = {entry.alert.episode_id for entry in entries if entry.alert is not None and entry.alert.state in ENDS}
    for entry in entries:
        if entry.alert is not None and (why := await _past(store, config, entry.alert, to_end)):
            await dead.remove(store, entry)
            past[why] += 1
            continue
        problem = TryAgainError("not tried") if away else await _attempt(sink, entry, config)
        if problem is None:
            await dead.remove(store, entry)
            delivered += 1
            continue
        kept += 1
        reason = reason or problem.reason
        away = away or isinstance(problem, TryAgainError)
    return Redriven(delivered, kept, reason, past["expired"], past["ended"])


async def _past(store: AlertStore, config: SinkConfig, alert: Alert, to_end: Container[str]) -> str | None:
    """Why nobody is to be told of an alert any more: too late, or it has ended. to_end: episodes of which the end is to be told, too."""
    now_ms = int(time.time() * 1000)
    if has_expired(alert, config, now_ms):
        return "expired"
    if alert.state in ENDS or alert.episode_id in to_end or milliseconds(alert.expires_at) <= now_ms:
        return None
    # Nothing but its end takes it out of the set of what is firing before it expires.
    record = await store.command("HGET", store.keys.active, alert.fingerprint)
    try:
        return None if record is not None and decode(record).episode_id == alert.episode_id else "ended"
    except msgspec.DecodeError:  # of a later version; told once too often is better than not at all
        return None


async def _attempt(sink: Sink, entry: dead.DeadDelivery, config: SinkConfig) -> SinkError | None:
    if entry.alert is None:
        return RefusedError("it is no alert")
    return await attempt(sink.deliver(entry.alert, entry.data), config.name, config.timeout / 1000)
