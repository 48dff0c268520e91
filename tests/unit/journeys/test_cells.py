"""Counter changes in one integer of pane, cell and counter."""

from __future__ import annotations

from streamer.deltas import PANE_MS
from streamer.journeys.cells import CONTACT, COUNTER_MASK, JOURNEY, Cells, Ledger

END_OF_CENTURY_MS = 4_102_444_799_000


def test_the_greatest_counter_of_the_last_pane_of_the_century_is_told_as_it_was_counted() -> None:
    cells, ledger = Cells(["channel"]), Ledger()
    first, second = cells.named(JOURNEY, {"channel": "web"}), cells.named(CONTACT, {"channel": "web"})
    ledger.count(1, first, 0)
    ledger.count(COUNTER_MASK, second, END_OF_CENTURY_MS, 2)
    ledger.close_tick(7)
    used, ticks, _ = ledger.drain()
    assert used == [first, second]
    assert ticks == [(7, [0, 0, 1, 1, END_OF_CENTURY_MS // PANE_MS, 1, COUNTER_MASK, 2])]


def test_a_change_is_an_integer_that_compiled_code_need_not_allocate() -> None:
    ledger = Ledger()
    cell = Cells([]).named(JOURNEY, {})
    cell.place = (1 << 22) - 1
    ledger.count(COUNTER_MASK, cell, END_OF_CENTURY_MS)
    (key,) = ledger._now
    assert key < 1 << 62
    assert key % (1 << 32) == (1 << 32) - 1
    assert key >> 32 == END_OF_CENTURY_MS // PANE_MS
