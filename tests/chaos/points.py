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
from pathlib import Path
from typing import Any, Final

from streamer import topics
from streamer.alerts.publisher import AlertStore
from streamer.engine.checkpoint import Transactions
from streamer.engine.delivery import Publisher
from streamer.engine.opening import Opener
from streamer.engine.owner import Owner
from streamer.engine.restore import ChangelogReader

ARM, HIT = "arm", "hit"
# Of the two machines.
MACHINE_POINTS: Final = ("before-apply", "after-apply", "before-transaction", "in-transaction", "after-commit")
PUBLISHER_POINTS: Final = ("before-redis", "between-redis-and-commit", "after-redis-commit")
OPENING_POINTS: Final = ("before-fence", "in-restore")
CLOSING_POINTS: Final = ("in-close",)
BETWEEN_TRANSACTIONS: Final = "between-transactions"  # of a planted bug that writes two

_has_alerts: ContextVar[bool] = ContextVar("has_alerts", default=False)


class Points:
    """The points of this process."""

    def __init__(self, directory: Path) -> None:
        self._arm = directory / ARM
        self._hit = directory / HIT

    def _told(self, point: str, *, alerts: bool = False) -> dict[str, Any] | None:
        if not self._arm.exists():
            return None
        told: dict[str, Any] = json.loads(self._arm.read_text())
        if told["point"] != point or (told.get("alerts") and not alerts):
            return None
        self._arm.unlink()
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

    def install(self) -> None:
        """Put the points into the product's classes."""
        self._into_machines()
        self._into_opening()
        self._into_publisher()

    def _into_machines(self) -> None:
        fold, start, encode, commit, close = Owner.fold, Transactions.start, Transactions.encode, Transactions.commit, Owner.close

        def folding(owner: Owner, batch: Any, fetched: Any) -> None:
            folds = bool(batch.epoch == owner.epoch and batch.end > owner.next_offset and batch.records)
            if folds:
                self.reach("before-apply")
            fold(owner, batch, fetched)
            if folds:
                self.reach("after-apply")

        async def starting(transactions: Transactions) -> None:
            await self.pass_by("before-fence")
            await start(transactions)
            send_offsets = transactions._producer.send_offsets_to_transaction

            async def sending(*arguments: Any) -> None:
                await send_offsets(*arguments)
                await self.pass_by("in-transaction", alerts=_has_alerts.get())

            transactions._producer.send_offsets_to_transaction = sending

        def encoding(transactions: Transactions, drained: Any, journal: Any = ()) -> Any:
            _has_alerts.set(any(output.topic == topics.ALERTS for output in drained.outputs))
            return encode(transactions, drained, journal)

        async def committing(transactions: Transactions, encoded: Any) -> Any:
            await self.pass_by("before-transaction")
            committed = await commit(transactions, encoded)
            await self.pass_by("after-commit")
            return committed

        async def closing(owner: Owner) -> None:
            await self.pass_by("in-close")
            await close(owner)

        Owner.fold = folding  # type: ignore[method-assign]
        Owner.close = closing  # type: ignore[method-assign]
        Transactions.start = starting  # type: ignore[method-assign]
        Transactions.encode = encoding  # type: ignore[method-assign]
        Transactions.commit = committing  # type: ignore[method-assign]

    def _into_opening(self) -> None:
        read = ChangelogReader.read

        async def reading(reader: ChangelogReader, *arguments: Any) -> Any:
            await self.pass_by("in-restore")
            return await read(reader, *arguments)

        assert Opener.open  # what opens reads through the reader, and fences through Transactions.start
        ChangelogReader.read = reading  # type: ignore[method-assign]

    def _into_publisher(self) -> None:
        publish, commit = AlertStore.publish, Publisher._commit

        async def publishing(store: AlertStore, *arguments: Any, **named: Any) -> Any:
            await self.pass_by("before-redis")
            published = await publish(store, *arguments, **named)
            if published.delivered:
                await self.pass_by("between-redis-and-commit")
            return published

        async def committing(publisher: Publisher) -> None:
            waits = bool(publisher._uncommitted)
            await commit(publisher)
            if waits:
                await self.pass_by("after-redis-commit")

        AlertStore.publish = publishing  # type: ignore[method-assign]
        Publisher._commit = committing  # type: ignore[method-assign]
