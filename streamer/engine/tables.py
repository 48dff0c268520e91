"""The state as Faust tables: a read-only view over the open partitions, whose changelog the checkpoints write.

Faust's own table recovery replays 2,300 rows a second, record by record. A table manager that does not register the
changelogs leaves it nothing to do; the partitions are restored by `restore.py` instead.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, NoReturn

import faust
from faust.tables.manager import TableManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from faust.types.tables import CollectionT

    from streamer.processor import Processor


class OwnTableManager(TableManager):
    """A table manager that knows the tables and has no changelog to read."""

    logger = logging.getLogger("faust.tables")

    def add(self, table: CollectionT) -> CollectionT:
        """Register a table under its name only."""
        if table.name in self:
            raise ValueError(f"there is a table {table.name!r} already")
        self[table.name] = table
        return table

    async def on_start(self) -> None:
        """Start what runs the rebalances, without the second of waiting for late tables."""
        await self._update_channels()
        await self.recovery.start()

    async def _update_channels(self) -> None:
        self._tables_finalized.set()
        for table in self.values():
            await table.maybe_start()
        await asyncio.sleep(0)
        self._tables_registered.set()


class StateTable(faust.Table):  # type: ignore[type-arg]  # keys and values are bytes
    """`app.tables[machine]`: row key -> row, of the partitions this process owns. Writing is the checkpoints' alone."""

    logger = logging.getLogger("faust.tables")

    def __init__(self, app: faust.App, *, name: str, owners: Callable[[], Mapping[int, Processor]], changelog: str, **kwargs: Any) -> None:
        super().__init__(app, name=name, key_type=bytes, value_type=bytes, **kwargs)
        self._owners = owners
        self._changelog = changelog

    def _changelog_topic_name(self) -> str:
        return self._changelog

    async def on_start(self) -> None:
        """Nothing to start: there is no store of Faust's behind it."""

    async def on_rebalance(self, *_args: Any) -> None:
        """Nothing: the partitions are opened and closed by their owners."""

    async def on_recovery_completed(self, *_args: Any) -> None:
        """Nothing: no store was recovered."""

    async def need_active_standby_for(self, tp: Any) -> bool:
        """Never: the changelog is restored when a partition is opened."""
        return False

    def __getitem__(self, key: Any) -> bytes:
        for processor in self._owners().values():
            row = processor.rows().get(key)
            if row is not None:
                return row
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return any(key in processor.rows() for processor in self._owners().values())

    def __iter__(self) -> Iterator[bytes]:
        for processor in self._owners().values():
            yield from processor.rows()

    def __len__(self) -> int:
        return sum(len(processor.rows()) for processor in self._owners().values())

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise TypeError("the state is written by checkpoints only")

    def __delitem__(self, key: Any) -> NoReturn:
        raise TypeError("the state is written by checkpoints only")
