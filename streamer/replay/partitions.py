"""Kafka's way from a key to a partition, for histories that never see a broker.

The product's Kafka clients use aiokafka's default partitioner, which is the Java client's: murmur2, positive, modulo P.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF


def murmur2(key: bytes) -> int:
    """MurmurHash2 of a key, 32 bits, unsigned; as org.apache.kafka.common.utils.Utils.murmur2."""
    length = len(key)
    h = _SEED ^ length
    whole = length & ~3
    for start in range(0, whole, 4):
        k = int.from_bytes(key[start : start + 4], "little") * _M & _MASK
        k = (k ^ (k >> 24)) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if whole < length:
        h = (h ^ int.from_bytes(key[whole:], "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return h ^ (h >> 15)


@lru_cache(maxsize=1 << 17)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition, 0 to `partitions` - 1, that a key belongs to."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
