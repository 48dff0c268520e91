"""Record batches with header names that no aiokafka producer would write: any bytes, as other producers may."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka import AIOKafkaProducer
    from aiokafka.producer.message_accumulator import BatchBuilder


class Name(str):
    """A header's name that is written as these bytes."""

    __slots__ = ("content",)
    content: bytes

    def __new__(cls, content: bytes) -> Name:
        name = super().__new__(cls, "odd")
        name.content = content
        return name

    def encode(self, *_: object) -> bytes:
        return self.content


def builder(records: Iterable[tuple[bytes, bytes]], *, compression: int = 0) -> _DefaultRecordBatchBuilderPy:
    """A batch of one record for each (key, name of its header)."""
    built = _DefaultRecordBatchBuilderPy(
        magic=2,
        compression_type=compression,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 20,
    )
    for number, (key, name) in enumerate(records):
        built.append(number, 1_000 + number, key, b"x", [(Name(name), b"value")])
    return built


def batch(producer: AIOKafkaProducer, records: Iterable[tuple[bytes, bytes]]) -> BatchBuilder:
    """The same for a producer's `send_batch`."""
    records = list(records)
    made = producer.create_batch()
    made._builder = builder(records)
    made._relative_offset = len(records)
    made.close()
    return made
