from __future__ import annotations

from streamer import deltas
from streamer.rollup.hold import BACK_WITHIN_TICKS, Held, Hold


def batch(source: int, sources: int, until: int, *ticks: int, size: int = 1) -> deltas.DeltaBatch:
    return deltas.DeltaBatch(
        1, source, sources, until, until * 1000, until * 1000, ["journey"], [("a",)], [(t, [0, 0, 1, 1] * size) for t in ticks]
    )


class Log:
    """Accepts batches at ascending offsets and decides every tick before the clock, as the processor does."""

    def __init__(self, hold: Hold) -> None:
        self.hold = hold
        self.offset = 0
        self.decided: list[tuple[int, int]] = []  # (tick, offset of the record it came from)

    def accept(self, made: deltas.DeltaBatch) -> None:
        self.hold.accept(self.offset, made)
        self.offset += 1
        self.decide()
        while self.hold.leave_out():
            self.decide()

    def decide(self) -> None:
        while self.hold.clock is not None and self.hold.next_tick is not None and self.hold.next_tick < self.hold.clock:
            tick = self.hold.next_tick
            self.decided += [(tick, held.offset) for held, _ in self.hold.take(tick)]


def test_the_clock_is_unset_until_every_source_has_been_heard() -> None:
    hold = Hold()
    hold.accept(0, batch(0, 2, 10))
    assert hold.clock is None
    hold.accept(1, batch(1, 2, 7))
    assert hold.clock == 7


def test_the_clock_is_unset_while_a_source_has_no_event() -> None:
    hold = Hold()
    hold.accept(0, batch(0, 2, 10, 9))
    hold.accept(1, batch(1, 2, 0))
    assert hold.clock is None
    hold.accept(2, batch(1, 2, 7))
    assert hold.clock == 7


def test_a_clock_of_0_that_an_earlier_build_kept_is_none() -> None:
    hold = Hold()
    hold.restore([], 2, 0, unheard_left_out=False)
    assert hold.clock is None


def test_the_clock_is_the_least_complete_tick() -> None:
    hold = Hold()
    for offset, made in enumerate([batch(0, 2, 10), batch(1, 2, 7), batch(0, 2, 30), batch(1, 2, 20)]):
        hold.accept(offset, made)
    assert hold.clock == 20


def test_deltas_wait_until_every_source_has_passed_their_tick() -> None:
    log = Log(Hold())
    log.accept(batch(0, 2, 12, 10, 11))
    log.accept(batch(1, 2, 11))
    assert log.decided == [(10, 0)]
    log.accept(batch(1, 2, 12))
    assert log.decided == [(10, 0), (11, 0)]


def test_an_open_tick_waits_for_its_own_source() -> None:
    log = Log(Hold())
    log.accept(batch(0, 1, 10, 10))
    assert log.decided == []
    log.accept(batch(0, 1, 11, 10))
    assert log.decided == [(10, 0), (10, 1)]


def test_a_tick_its_source_had_declared_complete_counts_at_the_first_that_is_not() -> None:
    log = Log(Hold())
    log.accept(batch(0, 1, 10))
    log.accept(batch(0, 1, 12, 3))
    assert log.decided == [(10, 1)]


def test_beyond_the_limit_the_slowest_sources_are_left_out() -> None:
    log = Log(Hold(3))
    log.accept(batch(0, 3, 10))
    log.accept(batch(1, 3, 10))
    log.accept(batch(2, 3, 20, 11, 12, 13))
    assert (log.hold.partial, log.decided) == (False, [])
    log.accept(batch(2, 3, 21, 20))
    assert log.hold.partial
    assert [source.left_out for _, source in sorted(log.hold.sources.items())] == [True, True, False]
    assert (log.hold.clock, log.hold.entries) == (21, 0)
    assert log.decided == [(11, 2), (12, 2), (13, 2), (20, 3)]


def test_only_as_many_sources_are_left_out_as_needed() -> None:
    log = Log(Hold(3))
    log.accept(batch(0, 3, 10))
    log.accept(batch(1, 3, 13))
    log.accept(batch(2, 3, 20, 11, 12, 13, 14))
    assert [source.left_out for _, source in sorted(log.hold.sources.items())] == [True, False, False]
    assert (log.hold.clock, log.hold.entries) == (13, 2)


def test_sources_never_heard_are_left_out_beyond_the_limit() -> None:
    log = Log(Hold(1))
    log.accept(batch(0, 2, 20, 10, 11))
    assert (log.hold.clock, log.hold.partial) == (20, True)
    log.accept(batch(1, 2, 5, 4))
    assert (log.hold.clock, log.hold.partial) == (20, True)
    log.accept(batch(1, 2, 20))
    assert (log.hold.clock, log.hold.partial) == (20, False)


def test_a_source_left_out_counts_at_the_clock_and_is_back_when_it_has_passed_it() -> None:
    log = Log(Hold(1))
    log.accept(batch(0, 2, 10))
    log.accept(batch(1, 2, 20, 11, 12))
    assert log.hold.partial
    log.accept(batch(0, 2, 15, 13))
    assert (log.hold.clock, log.hold.entries, log.decided[-1]) == (20, 1, (12, 1))
    log.accept(batch(0, 2, 22))
    assert (log.hold.clock, log.hold.partial) == (20, False)
    log.accept(batch(1, 2, 25))
    assert log.hold.clock == 22
    assert log.decided[-1] == (20, 2)


def test_a_source_whose_events_come_later_than_others_is_back_too_and_the_clock_waits_for_it() -> None:
    log = Log(Hold(1))
    log.accept(batch(0, 2, 10))
    log.accept(batch(1, 2, 2_000, 11, 12))
    log.accept(batch(0, 2, 2_000 - BACK_WITHIN_TICKS - 1))
    assert (log.hold.clock, log.hold.partial) == (2_000, True)
    log.accept(batch(0, 2, 2_000 - BACK_WITHIN_TICKS))
    assert (log.hold.clock, log.hold.partial) == (2_000, False)
    log.accept(batch(1, 2, 3_000))
    assert log.hold.clock == 2_000
    log.accept(batch(0, 2, 2_100))
    assert log.hold.clock == 2_100


def test_one_source_alone_is_never_left_out() -> None:
    log = Log(Hold(1))
    log.accept(batch(0, 1, 10, 11, 12, 13))
    assert (log.hold.partial, log.hold.entries) == (False, 3)


def test_a_row_holds_what_is_not_decided_and_comes_back() -> None:
    first = Log(Hold())
    first.accept(batch(0, 2, 13, 10, 11, 12))
    first.accept(batch(1, 2, 11))
    (held,) = first.hold.live()
    second = Log(Hold())
    second.hold.restore(first.hold.sources.items(), 2, first.hold.clock, unheard_left_out=False)
    second.hold.put(Held(held.offset, held.row(first.hold.clock)))
    assert (second.hold.entries, second.hold.next_tick) == (2, 11)
    second.offset = 2
    second.accept(batch(1, 2, 30))
    assert second.decided == [(11, 0), (12, 0)]
    assert not second.hold.records
