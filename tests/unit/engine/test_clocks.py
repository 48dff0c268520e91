"""The idle clock by hand-worked examples; instants in seconds (monotonic) and milliseconds (the broker's, event time)."""

from __future__ import annotations

import pytest

from streamer.engine.clocks import IdleClock, Linger

NOON = 1_700_000_000_000


def test_at_open_the_time_since_the_restored_record_is_the_brokers_time_minus_its_arrival() -> None:
    clock = IdleClock((NOON, NOON + 3_000), monotonic=100.0)
    clock.tell(NOON + 63_000, 100.0)
    assert clock.now_ms(100.0) == NOON + 60_000
    assert clock.now_ms(105.5) == NOON + 65_500


def test_until_the_broker_has_told_its_time_none_passes() -> None:
    clock = IdleClock((NOON, NOON), monotonic=100.0)
    assert clock.now_ms(160.0) is None
    clock.observe((NOON + 5_000, NOON + 5_000), monotonic=160.0)  # out of a backlog
    assert clock.now_ms(170.0) is None
    clock.tell(NOON + 75_000, 180.0)
    assert clock.now_ms(180.0) == NOON + 75_000


def test_history_stays_in_its_own_time() -> None:
    """Events of 2013, appended today: a minute of silence is a minute of 2013."""
    high = 1_368_000_000_000
    clock = IdleClock((high, NOON), monotonic=0.0)
    clock.tell(NOON + 60_000, 0.0)
    assert clock.now_ms(0.0) == high + 60_000


def test_a_live_record_counts_from_when_it_was_folded() -> None:
    clock = IdleClock((0, 0), monotonic=0.0)
    clock.tell(NOON - 10_000, 0.0)
    clock.caught_up(10.0)
    clock.observe((NOON, NOON), monotonic=10.5)
    clock.tell(NOON + 3_600_000, 10.6)  # another broker's clock is an hour ahead
    assert clock.now_ms(12.5) == NOON + 2_000


def test_a_record_out_of_a_backlog_is_as_old_as_its_arrival() -> None:
    clock = IdleClock((0, 0), monotonic=0.0)
    clock.tell(NOON + 50 * 60_000, 0.0)
    clock.observe((NOON, NOON), monotonic=10.0)
    assert clock.now_ms(10.0) == NOON + 50 * 60_000 + 10_000


def test_a_broker_that_is_behind_the_one_before_does_not_turn_time_back() -> None:
    clock = IdleClock((NOON, NOON), monotonic=0.0)
    clock.tell(NOON - 60_000, 0.0)
    assert clock.now_ms(2.0) == NOON + 2_000


def test_while_records_move_time_the_idle_clock_does_not() -> None:
    clock = IdleClock((0, 0), monotonic=0.0)
    clock.tell(NOON, 0.0)
    for tick in range(5):
        clock.caught_up(float(tick))
        clock.observe((NOON + tick * 1000, NOON + tick * 1000), monotonic=float(tick))
        assert clock.now_ms(tick + 0.9) is None
    assert clock.now_ms(5.0) == NOON + 5_000


def test_a_record_that_does_not_raise_the_high_does_not_restart_the_silence() -> None:
    clock = IdleClock((NOON, NOON), monotonic=0.0)
    clock.tell(NOON, 0.0)
    clock.caught_up(1.0)
    clock.observe((NOON, NOON), monotonic=2.0)
    assert clock.now_ms(3.0) == NOON + 3_000


def test_a_partition_never_written_to_shows_the_brokers_time() -> None:
    clock = IdleClock((0, 0), monotonic=0.0)
    clock.tell(NOON, 0.0)
    assert clock.now_ms(1.5) == NOON + 1_500


def test_alerts_wait_longer_the_busier_the_process_and_no_longer_than_the_interval() -> None:
    linger = Linger(0.05, 1.0)
    waits = []
    for _ in range(6):
        linger.observe(0.9)
        waits.append(linger.seconds)
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    linger.observe(0.6)
    assert linger.seconds == 1.0, "between busy and calm nothing changes"
    for _ in range(6):
        linger.observe(0.1)
    assert linger.seconds == pytest.approx(0.05)


def test_an_alert_that_need_not_linger_does_under_load() -> None:
    linger = Linger(0.0, 1.0)
    linger.observe(0.9)
    assert linger.seconds > 0
