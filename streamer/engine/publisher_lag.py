"""How far the publisher is behind, and whether it still moves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from streamer.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka import TopicPartition

    from streamer.metrics.pipeline import Pipeline


class LagWatch:
    """Exports the lag of the owned partitions and raises when one stands still although there is something to deliver.

    Args:
        metrics: where the lag is exported.
        logical: Kafka's topic name -> logical name.
        patience_seconds: how long a partition may stand still.
    """

    def __init__(self, metrics: Pipeline, logical: Mapping[str, str], patience_seconds: float) -> None:
        self._metrics = metrics
        self._logical = logical
        self._patience_seconds = patience_seconds
        self._moved: dict[TopicPartition, tuple[int, float]] = {}  # position, and when it was first seen there

    def opened(self, partition: TopicPartition) -> None:
        """Delivery goes on from here: how long it took to come so far is no standing still."""
        self._moved.pop(partition, None)

    def close(self, partition: TopicPartition) -> None:
        """Another process exports the partition from now on."""
        self._moved.pop(partition, None)
        self._metrics.forget("streamer_publish_lag_records", topic=self._logical[partition.topic], partition=str(partition.partition))

    def measure(self, partition: TopicPartition, *, position: int, end: int, expected_to_move: bool) -> None:
        """Take in where delivery stands and where the topic ends.

        expected_to_move: false while Redis or Kafka is known to be away, and alerts wait as they should.

        Raises DeliveryError after too long without progress: a parked coordinator or a lost fetch, which a new process has not.
        """
        lag = max(0, end - position)
        self._metrics.publish_lag(self._logical[partition.topic], partition.partition, lag)
        now = time.monotonic()
        seen, since = self._moved.get(partition, (-1, now))
        if seen != position or lag == 0 or not expected_to_move:
            since = now
        self._moved[partition] = (position, since)
        if now - since > self._patience_seconds:
            raise DeliveryError(
                f"{partition.topic} partition {partition.partition} stands at offset {position}, {lag} behind,"
                f" for {now - since:.0f} s: the publisher ends so that a new one takes over"
            )
