"""How aiokafka's records are read: whole when a header's name is not UTF-8, and for the fold without a copy of each.

Kafka takes any bytes for a header's name, and one producer's mistake must not end the reading of a partition; aiokafka 0.14 asks for
the same records again for ever. Such a name is read with its odd bytes spelt out (`\\xff`); what the record then means is for its
decoder to say. Records are read by aiokafka until one fails; only that one answer of the broker is read again, in Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

# None of this has annotations: mypy sees `Any`, which a class is not to be derived from.
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEFAULT_MAGIC: Final = 2  # older formats have no headers


def AS_READ(key: bytes) -> bytes:  # noqa: N802  a constant for a consumer's `key_deserializer`
    """Records of the consumer stay as they were decoded: offset, timestamp, key, value, headers, and not where they came from.

    aiokafka copies each into eleven fields, which takes as long as decoding it: 0.7 us instead of 0.3.
    """
    return key


def _as_read(_: Any, record: Any) -> Any:
    return record


class _Bytes(bytearray):
    """Text in it can always be decoded."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Bytes(found) if isinstance(found, bytearray) else found

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)


class _PatientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    """A batch of records with any header names."""

    def __iter__(self) -> _PatientBatch:
        self._maybe_uncompress()
        self._buffer: bytearray = _Bytes(self._buffer)
        return self


class _PatientRecords(_MemoryRecordsPy):  # type: ignore[misc]
    """The batches of an answer of the broker, from the one on that ends above an offset."""

    def __init__(self, content: bytes, offset: int) -> None:
        super().__init__(content)
        while (batch := self._peek()) is not None and batch.next_offset <= offset:
            self._cache_next()

    def _peek(self) -> Any:
        content = self._next_slice
        if content is None or content[self.MAGIC_OFFSET] < _DEFAULT_MAGIC:
            return None
        return _PatientBatch(content)

    def next_batch(self, *_: int) -> Any:
        batch = self._peek()
        if batch is None:
            return super().next_batch()
        self._cache_next()
        return batch


class _Records:
    """An answer of the broker that can be read again."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        records = MemoryRecords(content)
        self.size_in_bytes, self.has_next, self.next_batch = records.size_in_bytes, records.has_next, records.next_batch


class _PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """What aiokafka unpacks of an answer; from the first unreadable name on, patiently."""

    def __init__(self, tp: Any, records: Any, aborted: Any, offset: int, key_deserializer: Any, *args: Any) -> None:
        super().__init__(tp, records, aborted, offset, key_deserializer, *args)
        if key_deserializer is AS_READ:
            self._consumer_record = _as_read

    def _unpack_records(self) -> Iterator[Any]:
        try:
            yield from super()._unpack_records()
        except UnicodeDecodeError:
            # The batches before this one are done with: which transactions were aborted is as of here.
            self._records: Any = _PatientRecords(self._records.content, self.next_fetch_offset)
            yield from super()._unpack_records()


def install() -> None:
    """Let every consumer of this process read like that."""
    fetcher.MemoryRecords = _Records
    fetcher.PartitionRecords = _PartitionRecords
