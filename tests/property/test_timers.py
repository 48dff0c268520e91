"""The queue of deadlines keeps its entries as bytes: they have to sort as the times do, and give them back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamer.journeys.state import NEVER
from streamer.journeys.timers import Timers, split_time, time_bytes

TIMES = st.integers(-NEVER, NEVER)
# Of a few times, so that many entries have the same.
ENTRIES = st.lists(st.tuples(st.integers(-2, 2) | TIMES, st.binary(max_size=3)))


@given(TIMES, st.binary(max_size=12))
def test_a_time_comes_back_with_what_follows_it(time_ms: int, rest: bytes) -> None:
    assert split_time(time_bytes(time_ms) + rest) == (time_ms, rest)
    assert time_bytes(time_ms)[0] < 0x80


@given(ENTRIES, ENTRIES)
def test_entries_come_by_time_and_those_of_one_time_by_key(at_first: list[tuple[int, bytes]], pushed: list[tuple[int, bytes]]) -> None:
    timers = Timers(at_first)
    for time_ms, key in pushed:
        timers.push(time_ms, key)

    popped = []
    while len(timers):
        popped.append((timers.next_ms, timers.pop()))

    assert popped == sorted([*at_first, *pushed])
    assert timers.next_ms == NEVER


def test_tidied_it_has_what_is_wanted_once_and_in_order() -> None:
    wanted = [(time_ms, b"k%d" % (time_ms % 7)) for time_ms in range(300)]
    timers = Timers()
    for time_ms, key in [*wanted, *reversed(wanted), *((time_ms, b"gone") for time_ms in range(-300, 300))]:
        timers.push(time_ms, key)
    timers.tidy(lambda _, key: key != b"gone")
    assert len(timers) == len(wanted)
    assert [(timers.next_ms, timers.pop()) for _ in wanted] == wanted
    assert timers.next_ms == NEVER
