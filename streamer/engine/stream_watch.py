"""What the publisher tells about those who read its alerts: how far each consumer group is, and what became of each rule's alerts.

One publisher of several tells it: the one that has partition 0 of the customers' alerts.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from streamer.alerts import groups
from streamer.alerts.connection import RedisUnavailableError
from streamer.alerts.outcomes import Outcomes
from streamer.alerts.verdicts import by_rule
from streamer.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from streamer.alerts.publisher import AlertStore
    from streamer.metrics.pipeline import Pipeline

log = logging.getLogger(__name__)


class StreamWatch:
    """Looks now and then. A user without the permissions for it (an ACL of an earlier version) delivers all the same."""

    def __init__(self, store: AlertStore, metrics: Pipeline) -> None:
        self._store = store
        self._metrics = metrics
        self._outcomes = Outcomes(store.client, prefix=store.keys.prefix)
        self._groups = groups.GroupWatch()
        self._seen_groups: set[str] = set()
        self._seen_rules: set[str] = set()
        self._mark: object = None
        self._loaded = False
        self._denied: set[str] = set()

    async def look(self, *, mine: bool) -> None:
        """Bring the metrics up to date if they are ours to tell, else take them back. Raises RedisUnavailableError."""
        if not mine:
            self.leave()
            return
        if not self._loaded:
            # Deliveries load the library when it is missing; those who acknowledge may not, and need this version's.
            await self._unless_denied("load the function library", self._store.load)
            self._loaded = True
        await self._unless_denied("see consumer groups", self._look_at_groups)
        await self._unless_denied("see outcomes", self._look_at_outcomes)

    def leave(self) -> None:
        """Another process tells it from now on."""
        self._metrics.forget_groups(self._seen_groups)
        self._metrics.forget_rules(self._seen_rules)
        self._seen_groups, self._seen_rules, self._mark = set(), set(), None
        self._groups = groups.GroupWatch()

    async def _unless_denied(self, what: str, call: Callable[[], Awaitable[None]]) -> None:
        if what in self._denied:
            return
        try:
            await call()
        except RedisUnavailableError:
            raise
        except DeliveryError as exc:
            self._denied.add(what)
            log.warning("the publisher cannot %s: %s", what, exc, extra={"action": "watch.denied"})

    async def _look_at_groups(self) -> None:
        found = self._groups.look(*await groups.read(self._store))
        for name, look in found.items():
            self._metrics.group(name, unread=look.unread, pending=look.pending, lost=look.lost)
            if look.lost:
                log.error(
                    "consumer group %s lost %d alerts: the stream's bounds removed them before it read them", name, look.lost,
                    extra={"action": "trimmed_unread"},
                )  # fmt: skip
        self._metrics.forget_groups(self._seen_groups - found.keys())
        self._seen_groups = set(found)

    async def _look_at_outcomes(self) -> None:
        mark = await self._outcomes.mark()
        if mark == self._mark:
            return
        verdicts = by_rule(await self._outcomes.all())
        rules = {verdict.rule for verdict in verdicts}
        self._metrics.forget_rules(self._seen_rules - rules)
        for verdict in verdicts:
            self._metrics.rule_outcomes(
                verdict.rule,
                outcomes={**verdict.judged, "none": verdict.acknowledged - sum(verdict.judged.values())},
                precision=verdict.precision,
                saved=verdict.saved,
                noisy=verdict.noisy,
                seconds_to_acknowledge=verdict.seconds_to_acknowledge,
            )
        self._seen_rules, self._mark = rules, mark
