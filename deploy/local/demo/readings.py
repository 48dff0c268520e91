"""What the demonstration shows, read as an ops person would: numbers from Prometheus, alerts from Redis."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from deploy.local.demo import story
from streamer.alerts import tail

if TYPE_CHECKING:
    from deploy.local.prometheus import Prometheus
    from streamer.alerts.publisher import AlertStore

LAST_ALERTS: Final = 8
# (what, gauge of the ratio, labels): rates shown with interval and sample.
RATES: Final = (
    ("checkout abandoned, 5 min", "cx_abandon_ratio", 'window="5m",slice="journey",journey="checkout"'),
    ("checkout abandoned, 1 h", "cx_abandon_ratio", 'window="1h",slice="journey",journey="checkout"'),
    ("checkout with friction, 5 min", "cx_friction_ratio", 'window="5m",slice="journey",journey="checkout"'),
    ("issues that switch channel, 1 h", "cx_channel_switch_ratio", 'window="1h",slice="all"'),
    ("contacts that repeat, 1 h", "cx_repeat_contact_ratio", 'window="1h",slice="all"'),
    ("contacts transferred, 1 h", "cx_transfer_ratio", 'window="1h",slice="all"'),
    ("cases with ping-pong, 1 h", "cx_ping_pong_ratio", 'window="1h",slice="all"'),
)
PLATFORMS: Final = ("desktop", "mobile-web", "ios", "android")


@dataclass(frozen=True)
class Rate:
    """A rate with its 95 % interval; nan where there is no number."""

    value: float = math.nan
    lower: float = math.nan
    upper: float = math.nan
    n: int = 0


@dataclass(frozen=True)
class Reading:
    """One look at everything."""

    events_per_second: float = 0.0
    consumed: int = 0
    applied: int = 0
    duplicate: int = 0
    late: int = 0
    dead_lettered: int = 0
    ignored: int = 0
    lag: int = 0
    behind_seconds: float = math.nan
    open_checkouts: int = 0
    handoffs: int = 0
    rates: dict[str, Rate] = field(default_factory=dict)
    platforms: dict[str, Rate] = field(default_factory=dict)
    platform_friction: dict[str, Rate] = field(default_factory=dict)
    alerts: list[tail.Entry] = field(default_factory=list)
    alerts_in_redis: int = 0
    active: int = 0
    firing_aggregates: int = 0

    @property
    def adds_up(self) -> bool:
        """Every record consumed has an outcome (invariant I5)."""
        return self.consumed == self.applied + self.duplicate + self.late + self.dead_lettered + self.ignored

    @property
    def abandon(self) -> Rate:
        """The rate that the demonstration is about."""
        return self.rates.get(RATES[1][0], Rate())


class Reader:
    """Reads Prometheus and Redis."""

    def __init__(self, prometheus: Prometheus, store: AlertStore) -> None:
        self._prometheus = prometheus
        self._store = store

    async def read(self) -> Reading:
        """One look. Raises StackError or DeliveryError if a server does not answer."""
        numbers = await asyncio.to_thread(self._numbers)
        entries = await tail.last(self._store.client, self._store.keys, LAST_ALERTS)
        count = await self._store.client.xlen(self._store.keys.stream)
        active = await self._store.active()
        return Reading(**numbers, alerts=entries, alerts_in_redis=int(count), active=len(active))

    async def story(self) -> story.Story | None:
        """One alert from its cause to its end."""
        return await story.find(self._store)

    def _numbers(self) -> dict[str, Any]:
        outcomes = {
            sample["metric"]["outcome"]: int(float(sample["value"][1]))
            for sample in self._prometheus.query('sum by (outcome) (streamer_accounted_events{role="journeys"})')
        }
        rates = {name: self._rate(gauge, labels) for name, gauge, labels in RATES}
        where = 'slice="journey,platform",journey="checkout",platform="{}"'
        return {
            "events_per_second": self._one('sum(rate(streamer_events_total{role="journeys"}[10s]))'),
            **{name: outcomes.get(name, 0) for name in ("consumed", "applied", "duplicate", "late", "dead_lettered", "ignored")},
            "lag": int(self._one('sum(streamer_source_lag_records{role="journeys"})')),
            "behind_seconds": self._one("time() - min(cx_rollup_clock_timestamp_seconds)", math.nan),
            "open_checkouts": int(self._one('cx_journeys_open{slice="journey",journey="checkout"}')),
            "handoffs": int(self._one('cx_handoffs{slice="all",window="1h"}')),
            "rates": rates,
            "platforms": {p: self._rate("cx_abandon_ratio", f'window="5m",{where.format(p)}') for p in PLATFORMS},
            "platform_friction": {p: self._rate("cx_friction_ratio", f'window="5m",{where.format(p)}') for p in PLATFORMS},
            "firing_aggregates": int(self._one('sum(cx_rule_state{state="firing"})')),
        }

    def _rate(self, gauge: str, labels: str) -> Rate:
        value, lower, upper = (self._one(f"{gauge}{suffix}{{{labels}}}", math.nan) for suffix in ("", "_lower", "_upper"))
        return Rate(value, lower, upper, int(self._one(f"{gauge}_sample_size{{{labels}}}")))

    def _one(self, expression: str, missing: float = 0.0) -> float:
        found = self._prometheus.query(expression)
        return float(found[0]["value"][1]) if found else missing
