"""Records with any header names are read, each once and none left out, wherever in an answer of the broker they stand."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.memory_records import MemoryRecords

from streamer.engine import kafka  # noqa: F401  which installs it
from streamer.engine import records as installed
from streamer.touchpoints.decode import decode
from streamer.touchpoints.touchpoint import Touchpoint
from tests.header_names_support import builder

ODD = b"caf\xe9"  # Latin-1
READ_COMMITTED = 1


def unpack(*batches: Any, position: int = 0) -> list[tuple[int, str]]:
    """(offset, header's name) of what a consumer makes of an answer with these batches."""
    assert fetcher.PartitionRecords.__module__ == installed.__name__, "every module that connects to Kafka installs it"
    content = b""
    for batch in batches:
        built = bytearray(batch.build())
        base = (len(content) and 3).to_bytes(8, "big")  # the second batch begins at offset 3; not in the checksum
        content += base + bytes(built[8:])
    records = fetcher.PartitionRecords(
        TopicPartition("t", 0), fetcher.MemoryRecords(content), None, position, None, None, True, READ_COMMITTED
    )
    return [(record.offset, record.headers[0][0]) for record in records]


def test_aiokafka_by_itself_still_does_not_read_them() -> None:
    """If this fails, `records` has served its time."""
    with pytest.raises(UnicodeDecodeError):
        list(MemoryRecords(bytes(builder([(b"k", ODD)]).build())).next_batch())


@pytest.mark.parametrize("compression", [0, 1], ids=["plain", "gzip"])
def test_a_name_that_is_not_utf_8_is_spelt_out_and_its_neighbours_are_read(compression: int) -> None:
    first = builder([(b"k", b"a"), (b"k", ODD), (b"k", "é".encode())], compression=compression)
    second = builder([(b"k", b"b"), (b"k", ODD)], compression=compression)
    assert unpack(first, second) == [(0, "a"), (1, "caf\\xe9"), (2, "é"), (3, "b"), (4, "caf\\xe9")]


def test_records_before_it_are_not_read_twice() -> None:
    first = builder([(b"k", b"a"), (b"k", b"a"), (b"k", b"a")])
    second = builder([(b"k", b"b"), (b"k", ODD), (b"k", b"c")])
    assert unpack(first, second) == [(0, "a"), (1, "a"), (2, "a"), (3, "b"), (4, "caf\\xe9"), (5, "c")]


def test_what_lies_below_the_position_is_not_read_again() -> None:
    assert unpack(builder([(b"k", ODD), (b"k", ODD), (b"k", b"a")]), position=1) == [(1, "caf\\xe9"), (2, "a")]


def test_a_record_that_is_damaged_otherwise_is_still_refused() -> None:
    whole = bytes(builder([(b"k", ODD)]).build())
    damaged = whole[:-1] + bytes([whole[-1] ^ 1])
    records = fetcher.PartitionRecords(TopicPartition("t", 0), fetcher.MemoryRecords(damaged), None, 0, None, None, True, READ_COMMITTED)
    with pytest.raises(Exception, match="Invalid CRC"):
        next(records)


def test_an_event_with_such_a_header_is_an_event() -> None:
    value = b'{"id":"1","source":"s","type":"page.viewed","channel":"web","time":"1970-01-01T00:00:01Z","customer_id":"k"}'
    assert isinstance(decode(0, 2_000, b"k", value, [("caf\\xe9", b"x")]), Touchpoint)
