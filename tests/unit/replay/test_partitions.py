"""Keys go to the same partition as with Kafka's Java client and with aiokafka."""

from __future__ import annotations

import random

import pytest
from aiokafka.partitioner import DefaultPartitioner

from streamer.replay.partitions import murmur2, partition_of


# org.apache.kafka.common.utils.UtilsTest.testMurmur2 of Apache Kafka, as signed 32-bit integers.
@pytest.mark.parametrize(
    ("key", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_that_of_the_java_client(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed % (1 << 32)


def test_partitions_are_those_of_the_default_partitioner() -> None:
    draw = random.Random(1)
    for _ in range(2_000):
        key, partitions = draw.randbytes(draw.randrange(0, 40)), draw.randrange(1, 40)
        assert partition_of(key, partitions) == DefaultPartitioner()(key, list(range(partitions)), list(range(partitions)))
