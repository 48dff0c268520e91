from __future__ import annotations

from streamer.engine.batches import Batch
from streamer.processor import LogRecord


def batch(*offsets: int, start: int, end: int) -> Batch:
    records = [LogRecord(offset, 1, b"k", b"v") for offset in offsets]
    return Batch("topic", 0, records, start=start, end=end, epoch=1)


def test_records_before_the_offset_to_go_on_from_are_trimmed_also_across_gaps() -> None:
    fetched = batch(10, 12, 13, 17, start=10, end=20)
    assert [record.offset for record in fetched.since(11)] == [12, 13, 17]
    assert [record.offset for record in fetched.since(13)] == [13, 17]
    assert [record.offset for record in fetched.since(18)] == []


def test_nothing_is_copied_when_nothing_is_trimmed() -> None:
    fetched = batch(10, 12, start=8, end=13)
    assert fetched.since(8) is fetched.records
    assert fetched.since(5) is fetched.records


def test_to_faust_a_batch_is_one_record_at_its_last_offset() -> None:
    fetched = batch(start=10, end=20)
    assert (fetched.topic, fetched.partition, fetched.offset, fetched.value) == ("topic", 0, 19, fetched)


def test_pieces_are_the_batch_in_order_without_a_gap() -> None:
    fetched = batch(10, 12, 13, 17, start=8, end=20)
    pieces = [([record.offset for record in piece.records], piece.start, piece.end, piece.epoch) for piece in fetched.pieces(2)]
    assert pieces == [([10, 12], 8, 13, 1), ([13, 17], 13, 20, 1)]
    assert [[record.offset for record in piece.records] for piece in fetched.pieces(1)] == [[10], [12], [13], [17]]
    assert [piece.end for piece in fetched.pieces(3)] == [14, 20]


def test_a_small_batch_and_an_empty_one_are_one_piece() -> None:
    for fetched in (batch(10, 12, start=8, end=13), batch(start=10, end=20)):
        assert list(fetched.pieces(2)) == [fetched]
