"""What opening a partition makes of a source and a changelog that are not as the state left them. What Kafka would say is given."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import pytest

from streamer import definitions, topics
from streamer.alerts.times import rfc3339
from streamer.engine import opening
from streamer.engine.clocks import Linger
from streamer.engine.machine import Machine
from streamer.engine.opening import Opener
from streamer.engine.restore import Bounds, Restored
from streamer.errors import DataLossError
from streamer.journeys.processor import JourneysProcessor
from streamer.journeys.write_behind import Behind
from streamer.metrics.pipeline import Pipeline
from streamer.processor import LogRecord
from streamer.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from streamer.engine.owner import Owner
    from streamer.processor import WriteBehindProcessor

T0 = 1_790_000_000_000
EVENTS = 200


def processor(_: int = 0) -> JourneysProcessor:
    """One that writes rows late: at its end something is always left to be folded again."""
    return JourneysProcessor(definitions.default(), partition=0, partitions=1, behind=Behind(2, 100, 100))


def event(offset: int) -> LogRecord:
    customer = f"c{offset % 50}"
    value = {"type": "page.viewed", "time": rfc3339(T0 + offset * 1_000), "channel": "web", "customer_id": customer}
    return LogRecord(offset, T0 + offset * 1_000, customer.encode(), orjson.dumps(value))


def rows() -> dict[bytes, bytes]:
    """A changelog after so many events."""
    found: dict[bytes, bytes | None] = {}
    folding = processor()
    for offset in range(EVENTS):
        folding.process([event(offset)], offset + 1)
        if offset % 20 == 19:
            found.update(folding.drain().rows)
    return {key: row for key, row in found.items() if row is not None}


class Log(NamedTuple):
    """The source's bounds each time it is asked, the changelog's first offset, and whether there is state."""

    bounds: list[Bounds]
    begins_at: int = 0
    accepted_beginning: int = 0
    has_state: bool = True

    async def changelog_end(self) -> int:
        return 100

    async def source_id(self) -> str:
        return ""

    async def source_bounds(self) -> Bounds:
        return self.bounds.pop(0) if len(self.bounds) > 1 else self.bounds[0]

    async def group_offset(self) -> int | None:
        return EVENTS if self.has_state else None

    async def read(self, end: int, progress: Callable[[], None]) -> Restored:
        found = rows() if self.has_state else {}
        return Restored(found, len(found), "", self.begins_at, self.accepted_beginning)

    async def refold(self, folding: WriteBehindProcessor, start: int, end: int, *, complete: bool, progress: Callable[[], None]) -> None:
        folding.refold([event(offset) for offset in range(start, end)], end, complete=complete)


class Told:
    """Stands for the owner's transactions; has what it is told."""

    beginnings: list[int]

    def __init__(self, *_: Any, **__: Any) -> None:
        Told.beginnings = []

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def tell_beginning(self, offset: int) -> None:
        Told.beginnings.append(offset)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Any:
    async def opened_of(log: Log, **options: Any) -> Owner:
        @contextlib.asynccontextmanager
        async def reader(*_: Any, **__: Any) -> AsyncIterator[Log]:
            yield log

        monkeypatch.setattr(opening, "changelog_reader", reader)
        monkeypatch.setattr(opening, "Transactions", Told)
        machine = Machine("journeys", topics.TOUCHPOINTS, 1, processor)
        opener = Opener(machine, Settings(**options), linger=Linger(0.05, 1.0), pipeline=Pipeline("journeys"))
        return await opener.open(0, None, lambda: None)

    return opened_of


def replay_from() -> int:
    restored = processor()
    restored.restore(rows().items())
    assert restored.replay_from is not None
    assert restored.replay_from < EVENTS - 20
    return restored.replay_from


async def test_what_is_not_in_the_rows_is_folded_again(opened: Any) -> None:
    assert replay_from() > 0
    owner = await opened(Log([Bounds(0, 260)]))
    assert (owner.next_offset, owner.processor.replay_from) == (EVENTS, None)


@pytest.mark.parametrize(("start", "goes_on_at"), [(EVENTS - 5, EVENTS), (EVENTS, EVENTS), (EVENTS + 10, EVENTS + 10)])
async def test_a_source_that_begins_later_is_refused_or_gone_on_with_as_told(opened: Any, start: int, goes_on_at: int) -> None:
    with pytest.raises(DataLossError, match=f"begins at offset {start}, but the state needs {replay_from()}"):
        await opened(Log([Bounds(start, 260)]))
    owner = await opened(Log([Bounds(start, 260)]), on_data_loss="skip")
    assert owner.next_offset == goes_on_at


async def test_retention_that_overtakes_the_refold_is_a_loss_as_any(opened: Any) -> None:
    """What the reader jumps to then is not where it was to begin, and nothing would say that customers are missing."""
    bounds = [Bounds(0, 260), Bounds(EVENTS - 5, 260)]
    with pytest.raises(DataLossError, match=f"begins at offset {EVENTS - 5}"):
        await opened(Log([*bounds]))
    assert (await opened(Log([*bounds]), on_data_loss="skip")).next_offset == EVENTS


async def test_a_changelog_that_begins_later_is_told_once(opened: Any) -> None:
    with pytest.raises(DataLossError, match=r"journeys-changelog\[0\] begins at offset 3"):
        await opened(Log([Bounds(0, 260)], begins_at=3))
    await opened(Log([Bounds(0, 260)], begins_at=3), on_data_loss="skip")
    assert Told.beginnings == [3]
    await opened(Log([Bounds(0, 260)], begins_at=3, accepted_beginning=3))
    assert Told.beginnings == []
    with pytest.raises(DataLossError, match="begins at offset 5"):
        await opened(Log([Bounds(0, 260)], begins_at=5, accepted_beginning=3))


async def test_without_state_nothing_of_it_is_lost(opened: Any) -> None:
    """As after `state reset --from-start`: its tombstones are behind the beginning, too."""
    owner = await opened(Log([Bounds(0, 260)], begins_at=3, has_state=False))
    assert owner.next_offset == 0
    assert Told.beginnings == [3]
