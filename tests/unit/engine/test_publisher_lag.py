"""How far the publisher is behind, and when that is standing still."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from aiokafka import TopicPartition

from streamer.engine import publisher_lag
from streamer.engine.publisher_lag import LagWatch
from streamer.errors import DeliveryError

PARTITION = TopicPartition("cx.alerts.v1", 0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Mock:
    time = Mock(monotonic=Mock(return_value=0.0))
    monkeypatch.setattr(publisher_lag, "time", time)
    return time.monotonic  # type: ignore[no-any-return]  # a mock


def watch() -> LagWatch:
    return LagWatch(Mock(), {PARTITION.topic: "alerts"}, patience_seconds=25)


def test_standing_still_while_alerts_wait_ends_the_process(clock: Mock) -> None:
    lag = watch()
    lag.measure(PARTITION, position=5, end=9, expected_to_move=True)
    clock.return_value = 25.0
    lag.measure(PARTITION, position=5, end=9, expected_to_move=True)
    clock.return_value = 25.1
    with pytest.raises(DeliveryError, match="stands at offset 5, 4 behind, for 25 s"):
        lag.measure(PARTITION, position=5, end=9, expected_to_move=True)


def test_a_partition_that_took_long_to_open_has_not_stood_still(clock: Mock) -> None:
    """Redis was away, which was measured, and then its active set was rebuilt, which took a minute."""
    lag = watch()
    lag.measure(PARTITION, position=5, end=9, expected_to_move=False)
    clock.return_value = 60.0
    lag.opened(PARTITION)
    lag.measure(PARTITION, position=5, end=9, expected_to_move=True)
    clock.return_value = 86.0
    with pytest.raises(DeliveryError):
        lag.measure(PARTITION, position=5, end=9, expected_to_move=True)
