"""How a drained processor becomes producer batches, before anything is awaited."""

from __future__ import annotations

import asyncio

from aiokafka.record.memory_records import MemoryRecords

from streamer import topics
from streamer.engine.checkpoint import BATCH_BYTES, Encoded, TopicNames, Transactions
from streamer.processor import Drained, Output
from streamer.settings import Settings

NAMES = TopicNames("cx-toy", "cx.touchpoints.v1", "cx-toy-changelog", "cx-toy-journal")


def encode(drained: Drained, *journal: bytes) -> Encoded:
    async def connected_to_nothing() -> Encoded:
        transactions = Transactions(Settings(), transactional_id="cx-toy-3", partition=3, names=NAMES)
        encoded = transactions.encode(drained, journal)
        await transactions.stop()
        return encoded

    return asyncio.run(connected_to_nothing())


def written(encoded: Encoded) -> list[tuple[str, int, list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]]]:
    """Per batch: topic, partition, and its records as the broker would read them."""
    found = []
    for destination, builder in encoded.batches:
        batch = MemoryRecords(bytes(builder._build())).next_batch()
        found.append((destination.topic, destination.partition, [(r.key, r.value, list(r.headers)) for r in batch]))
    return found


def test_everything_goes_where_it_belongs_and_the_changelog_goes_first() -> None:
    drained = Drained(
        rows=[(b"ca", b"1"), (b"cb", None), (b"m", b"{}")],
        outputs=[
            Output(topics.ALERTS, b"f", b"alert", [("reason", b"why")]),
            Output(topics.DELTAS, None, b"delta", (), 0),
            Output(topics.DELTAS, None, b"other", (), 1),
            Output(topics.ALERTS, b"f", b"later"),
        ],
        journal=[b"clock"],
        next_offset=42,
    )
    encoded = encode(drained, b"lost")
    assert written(encoded) == [
        ("cx-toy-changelog", 3, [(b"ca", b"1", []), (b"cb", None, []), (b"m", b"{}", [])]),
        ("cx.alerts.v1", 3, [(b"f", b"alert", [("reason", b"why")]), (b"f", b"later", [])]),
        ("cx.deltas.v1", 0, [(None, b"delta", [])]),
        ("cx.deltas.v1", 1, [(None, b"other", [])]),
        ("cx-toy-journal", 3, [(None, b"lost", []), (None, b"clock", [])]),
    ]
    assert (encoded.next_offset, encoded.changelog_batches) == (42, 1)


def test_rows_are_split_by_size_in_order_and_one_too_large_for_a_batch_gets_its_own() -> None:
    rows: list[tuple[bytes, bytes | None]] = [(b"c%d" % i, b"x" * 100_000) for i in range(25)]
    rows.insert(7, (b"large", b"y" * (3 << 20)))
    encoded = encode(Drained(rows, [], [], 1))
    batches = written(encoded)
    assert [key for _, _, records in batches for key, _, _ in records] == [key for key, _ in rows]
    assert encoded.changelog_batches == len(batches) > 3
    sizes = [sum(len(value or b"") for _, value, _ in records) for _, _, records in batches]
    assert max(sizes) == 3 << 20
    assert all(size <= BATCH_BYTES for size in sizes if size != 3 << 20)
    assert encoded.size_bytes > sum(sizes)
