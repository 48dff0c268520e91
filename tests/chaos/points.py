"""Named points in a worker at which it is told to die, to freeze or to dawdle. Only the launcher installs them.

A process is armed from outside by a file `arm` in its directory: `{"point": ..., "act": "kill" | "stop" | "wait", "seconds": ...,
"alerts": bool}`. The first time that the point is reached the file becomes `hit`, with the time in it, and the process does
as it says. `alerts`: wait for a transaction that has an alert in it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from streamer import topics
from streamer.alerts.publisher import AlertStore
from streamer.engine.checkpoint import Transactions
from streamer.engine.delivery import Publisher
from streamer.engine.owner import Owner
from streamer.engine.partitions import Partitions
from streamer.engine.restore import ChangelogReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ARM, HIT = "arm", "hit"
# Of the two machines.
MACHINE_POINTS: Final = ("before-apply", "after-apply", "before-transaction", "in-transaction", "after-commit")
PUBLISHER_POINTS: Final = ("before-redis", "between-redis-and-commit", "after-redis-commit")
# Others: before-fence and in-restore (opening), before-seek (before a partition is positioned), in-close,
# and between-transactions of planted bugs that write two where there should be one.

_has_alerts: ContextVar[bool] = ContextVar("has_alerts", default=False)


def wrap(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Replace a method of a class, or a function of a module, by what `make` makes of it."""
    setattr(owner, name, make(getattr(owner, name)))


class Points:
    """The points of this process."""

    def __init__(self, directory: Path) -> None:
        self._arm = directory / ARM
        self._hit = directory / HIT

    def _told(self, point: str, *, alerts: bool = False) -> dict[str, Any] | None:
        if not self._arm.exists():
            return None
        try:
            told: dict[str, Any] = json.loads(self._arm.read_text())
        except FileNotFoundError:  # disarmed just now
            return None
        if told["point"] != point or (told.get("alerts") and not alerts):
            return None
        self._arm.unlink(missing_ok=True)
        hit = self._hit.with_suffix(".new")
        hit.write_text(json.dumps({**told, "at": time.time()}))
        hit.rename(self._hit)
        return told

    @staticmethod
    def _act(told: dict[str, Any]) -> None:
        os.kill(os.getpid(), signal.SIGKILL if told["act"] == "kill" else signal.SIGSTOP)

    def reach(self, point: str) -> None:
        """In code that cannot wait."""
        told = self._told(point)
        if told is not None:
            self._act(told)

    async def pass_by(self, point: str, *, alerts: bool = False) -> None:
        """In code that can."""
        told = self._told(point, alerts=alerts)
        if told is None:
            return
        if told["act"] == "wait":
            await asyncio.sleep(told["seconds"])
        else:
            self._act(told)

    def before(self, point: str) -> Callable[[Any], Any]:
        """The point lies before a coroutine method."""

        def make(method: Any) -> Any:
            async def passing(*arguments: Any, **named: Any) -> Any:
                await self.pass_by(point)
                return await method(*arguments, **named)

            return passing

        return make

    def install(self) -> None:
        """Put the points into the product's classes."""
        wrap(Owner, "fold", self._folding)
        wrap(Owner, "close", self.before("in-close"))
        wrap(Partitions, "_position", self.before("before-seek"))
        wrap(ChangelogReader, "read", self.before("in-restore"))
        wrap(Transactions, "start", self._starting)
        wrap(Transactions, "encode", self._encoding)
        wrap(Transactions, "commit", self._committing)
        wrap(AlertStore, "publish", self._publishing)
        wrap(Publisher, "_commit", self._committing_offsets)

    def _folding(self, fold: Any) -> Any:
        def folding(owner: Owner, batch: Any, *rest: Any) -> None:
            folds = bool(batch.epoch == owner.epoch and batch.end > owner.next_offset and batch.records)
            if folds:
                self.reach("before-apply")
            fold(owner, batch, *rest)
            if folds:
                self.reach("after-apply")

        return folding

    def _starting(self, start: Any) -> Any:
        async def starting(transactions: Transactions) -> None:
            # The request itself: who wakes up there sends it at once, before anything else in the process finds out.
            wrap(transactions._producer._sender, "_do_init_pid", self.before("before-fence"))
            await start(transactions)
            wrap(transactions._producer, "send_offsets_to_transaction", self._sending)

        return starting

    def _sending(self, send_offsets: Any) -> Any:
        async def sending(*arguments: Any) -> None:
            await send_offsets(*arguments)
            await self.pass_by("in-transaction", alerts=_has_alerts.get())

        return sending

    @staticmethod
    def _encoding(encode: Any) -> Any:
        def encoding(transactions: Transactions, drained: Any, *rest: Any) -> Any:
            _has_alerts.set(any(output.topic == topics.ALERTS for output in drained.outputs))
            return encode(transactions, drained, *rest)

        return encoding

    def _committing(self, commit: Any) -> Any:
        async def committing(transactions: Transactions, encoded: Any) -> Any:
            await self.pass_by("before-transaction")
            committed = await commit(transactions, encoded)
            await self.pass_by("after-commit")
            return committed

        return committing

    def _publishing(self, publish: Any) -> Any:
        async def publishing(store: AlertStore, *arguments: Any, **named: Any) -> Any:
            await self.pass_by("before-redis")
            published = await publish(store, *arguments, **named)
            if published.delivered:
                await self.pass_by("between-redis-and-commit")
            return published

        return publishing

    def _committing_offsets(self, commit: Any) -> Any:
        async def committing(publisher: Publisher) -> None:
            waits = bool(publisher._uncommitted)
            await commit(publisher)
            if waits:
                await self.pass_by("after-redis-commit")

        return committing
