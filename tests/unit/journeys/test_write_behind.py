"""Rows written later than their changes: how many at a time, from where a restore folds again, and what it refuses."""

from __future__ import annotations

import pytest

from streamer.definitions import default_text
from streamer.errors import StateError
from streamer.journeys import marker
from streamer.journeys.write_behind import CLOCK_PREFIX, Behind
from streamer.processor import MARKER_KEY, ROW_PREFIX, LogRecord
from streamer.touchpoints.control import encode_control
from tests.journeys_support import BASE_MS, MINUTE, SECOND, Run, meaning_of, record

# The default with little patience.
HASTY = default_text().replace('allowed_lateness = "15m"', 'allowed_lateness = "60s"')

SHORT = """
[[journey]]
id = "short"
start = ["ui.clicked"]
complete = ["order.completed"]
identified_by = ["session"]
deadline = "2m"
recoverable_for = "1h"
"""

DISTANT = """
[[journey]]
id = "distant"
start = ["case.begun"]
complete = ["case.won"]
activity = ["case.contacted"]
identified_by = ["checkout_id"]
deadline = "30d"
recoverable_for = "0s"
"""


def visit(offset: int, customer: str, seconds: float, kind: str = "checkout.started") -> LogRecord:
    time = BASE_MS + round(seconds * 1000)
    event = {"type": kind, "id": f"e{offset}", "source": "/test", "channel": "web", "customer": customer, "checkout_id": customer}
    return record({**event, "time": time, "offset": offset, "arrival": time})


def replay_of(run: Run) -> int | None:
    replay = marker.decode(run.changelog[MARKER_KEY]).replay
    return None if replay is None else replay.offset


def rows_of(run: Run) -> set[bytes]:
    return {key for key in run.changelog if key[:1] == ROW_PREFIX}


def test_while_little_changes_every_row_is_written_with_its_drain() -> None:
    run = Run(default_text(), Behind(rows_per_drain=2, replay_events=1000))
    run.process([visit(0, "a", 0), visit(1, "b", 1)])
    run.drain()
    assert rows_of(run) == {b"ca", b"cb"}
    assert replay_of(run) is None


def test_while_much_changes_rows_wait_and_the_marker_says_from_where_to_fold_again() -> None:
    run = Run(default_text(), Behind(rows_per_drain=2, replay_events=1000))
    run.process([visit(i, f"c{i}", i) for i in range(10)])
    run.drain()
    assert rows_of(run) == set()
    assert replay_of(run) == 0
    run.crash()
    assert run.refolded == 10
    assert len(run.rows) == 10


def test_what_changed_is_written_a_few_rows_at_a_time_and_then_the_boundary_moves_on() -> None:
    run = Run(default_text(), Behind(rows_per_drain=2, replay_events=100))
    run.process([visit(i, f"c{i}", i) for i in range(10)])
    run.drain()
    seen = []
    for i in range(6):
        run.process([visit(10 + i, "c0", 20 + i, "checkout.step_viewed")])
        run.drain()
        seen.append((len(rows_of(run)), replay_of(run)))
    assert seen[0] == (2, 0), "while they are being written, a restore begins where they began to change"
    assert seen[-1] == (10, None)


def test_a_row_ahead_of_the_boundary_is_not_folded_twice() -> None:
    run = Run(default_text(), Behind(rows_per_drain=1, replay_events=1000))
    run.process([visit(i, f"c{i % 4}", i, "checkout.started" if i < 4 else "checkout.step_viewed") for i in range(8)])
    run.drain()
    run.process([visit(8, "c0", 9, "checkout.step_viewed")])
    run.drain()
    assert len(rows_of(run)) == 1, "one row is written already"
    assert replay_of(run) == 0
    before = run.rows
    run.crash()
    assert run.rows == before


def test_a_customer_forgotten_since_the_boundary_keeps_the_row_until_the_boundary_has_passed() -> None:
    run = Run('revision = 1\nallowed_lateness = "60s"', Behind(rows_per_drain=1, replay_events=4))
    run.process([visit(0, "gone", 0, "page.viewed")])
    run.drain()
    assert rows_of(run) == {b"cgone"}
    run.process([visit(i, f"c{i}", 600 + i, "page.viewed") for i in range(1, 4)])
    run.drain()
    assert b"gone" not in run.rows
    assert b"cgone" in rows_of(run), "what is folded again begins with it"
    assert replay_of(run) == 1
    run.crash()
    assert b"gone" not in run.rows
    assert b"cgone" not in run.written_rows


@pytest.mark.parametrize("known_before", [False, True])
def test_who_is_forgotten_while_his_row_waits_comes_back_as_he_was_then(*, known_before: bool) -> None:
    """What he did before the boundary is not folded again."""
    text = 'revision = 1\nallowed_lateness = "60s"\n' + SHORT.replace("ui.clicked", "checkout.started").replace('"1h"', '"1s"')
    run = Run(text, Behind(rows_per_drain=1, replay_events=50))
    if known_before:
        run.process([visit(0, "gone", -20)])
        run.drain()
        assert rows_of(run) == {b"cgone"}
    run.process([visit(1 + i, f"c{i}", i / 100, "page.viewed") for i in range(48)])
    run.drain()
    run.process([visit(50, "gone", 1, "order.completed"), visit(51, "d", 1, "page.viewed")])
    run.drain()
    assert b"gone" in run.processor._behind._writing
    run.process([visit(52, "d", 64, "page.viewed"), visit(53, "e", 64, "page.viewed")])
    run.drain()
    assert b"gone" not in run.rows
    for i in range(14):
        run.process([visit(54 + 2 * i, "d", 65 + i / 10, "page.viewed"), visit(55 + 2 * i, "e", 65 + i / 10, "page.viewed")])
        run.drain()
    assert not run.processor._behind._writing
    assert (replay_of(run) or 0) > 50
    run.crash()
    assert b"gone" not in run.rows
    run.advance(BASE_MS + 60 * MINUTE)
    run.drain()
    assert run.total("ABANDONED") == 0
    assert run.total("COMPLETED") == int(known_before)


def test_moves_of_the_idle_clock_are_folded_again_in_their_place() -> None:
    run = Run(default_text(), Behind(rows_per_drain=1, replay_events=1000))
    run.process([visit(0, "a", 0), visit(1, "b", 1)])
    run.advance(BASE_MS + 40 * MINUTE)
    run.process([visit(2, "a", 2401, "order.completed"), visit(3, "b", 2402, "order.completed")])
    run.drain()
    assert [key for key in run.changelog if key[:1] == CLOCK_PREFIX] == [b"j1"]
    assert run.total("ABANDONED") == 0
    assert run.total("RECOVERED") == 2
    before = run.rows
    run.crash()
    assert run.rows == before
    assert not [key for key in run.written_rows if key[:1] == CLOCK_PREFIX], "it is needed no more"


def test_a_control_record_moves_the_time_that_is_folded_again_also_with_the_key_of_a_customer_whose_row_is_ahead() -> None:
    run = Run(HASTY, Behind(rows_per_drain=1, replay_events=1000))
    run.process([visit(0, "a", 0), visit(1, "b", 1)])
    run.drain()
    value, headers = encode_control("end", BASE_MS + 500 * SECOND)
    run.process([LogRecord(2, BASE_MS + 500 * SECOND, b"a", value, headers)])
    run.drain()
    assert (rows_of(run), replay_of(run)) == ({b"ca"}, 0)
    before = run.rows
    run.crash()
    assert run.rows == before
    assert run.processor.high_ms == BASE_MS + 500 * SECOND


def test_a_source_that_was_changed_behind_the_worker_is_refused() -> None:
    run = Run(default_text(), Behind(rows_per_drain=1, replay_events=1000))
    run.process([visit(i, f"c{i}", i) for i in range(5)])
    run.drain()
    run.log[4] = visit(4, "c4", 3600)
    with pytest.raises(StateError, match="state reset journeys --from-start"):
        run.crash()


def test_the_end_of_a_worker_leaves_nothing_to_fold_again() -> None:
    run = Run(default_text(), Behind(rows_per_drain=1, replay_events=1000))
    run.process([visit(i, f"c{i}", i) for i in range(5)])
    run.processor.write_all()
    run.drain()
    assert replay_of(run) is None
    assert len(rows_of(run)) == 5


def test_the_clock_of_a_row_counts_when_it_is_ahead_of_what_is_folded_again() -> None:
    run = Run(default_text(), Behind(rows_per_drain=1, replay_events=3))
    run.process([visit(0, "a", 0), visit(1, "b", 1), visit(2, "c", 2)])
    run.advance(BASE_MS + 31 * MINUTE + 2 * SECOND)
    for _ in range(2):
        run.drain()
    before = run.rows
    run.crash()
    assert run.rows == before


def test_a_customer_kept_as_its_row_fires_in_time() -> None:
    run = Run(default_text(), Behind(rows_per_drain=1000, replay_events=1000, customers_in_use=0))
    run.process([visit(0, "a", 0), visit(1, "a", 1, "checkout.step_viewed"), visit(2, "b", 1200, "page.viewed")])
    run.drain()
    run.process([visit(3, "a", 1201, "payment.failed"), visit(4, "b", 2200, "page.viewed")])
    run.drain()
    assert b"a" not in in_use(run), "nothing but its row"
    assert run.total("ABANDONED") == 0
    run.advance(BASE_MS + 1201 * SECOND + 30 * MINUTE)
    run.drain()
    assert run.total("ABANDONED") == 1
    assert [alert.state for alert in run.alerts] == ["firing"]


def test_a_duplicate_older_than_the_allowed_lateness_is_late_whether_or_not_its_original_is_still_kept() -> None:
    for rows_per_drain in (1, 1000):
        run = Run(default_text(), Behind(rows_per_drain, replay_events=1000))
        run.process([visit(0, "a", 0, "page.viewed"), visit(1, "b", 1200, "page.viewed"), visit(2, "b", 1201, "page.viewed")])
        run.drain()
        again = visit(0, "a", 0, "page.viewed")
        run.process([again._replace(offset=3, timestamp=BASE_MS + 1202 * SECOND)])
        run.drain()
        assert (run.processor.accounting["late"], run.processor.accounting["duplicate"]) == (1, 0)


def test_a_customer_kept_as_its_row_is_forgotten_when_one_in_use_would_be() -> None:
    text = 'revision = 1\nallowed_lateness = "60s"'
    said = []
    for rows_per_drain in (1, 1000):
        run = Run(text, Behind(rows_per_drain, replay_events=1000))
        consent = {"type": "page.viewed", "id": "e0", "source": "/test", "channel": "web", "customer": "a", "analytics_consent": False}
        run.process([record({**consent, "time": BASE_MS, "offset": 0, "arrival": BASE_MS}), visit(1, "b", 600, "page.viewed")])
        run.drain()
        given = BASE_MS + 700 * SECOND
        again = {**consent, "id": "e2", "analytics_consent": True, "time": given, "offset": 2, "arrival": given}
        run.process([record(again), visit(3, "b", 1400, "page.viewed"), visit(4, "b", 1500, "page.viewed")])
        run.drain()
        said.append(set(run.rows))
    assert said == [{b"b"}, {b"b"}]


def in_use(run: Run) -> set[bytes]:
    return {key for key, customer in run.processor._customers._all.items() if not isinstance(customer, bytes)}


def test_of_too_many_customers_in_use_those_in_use_for_longest_are_packed_once_nothing_can_come_before() -> None:
    run = Run(HASTY, Behind(1000, 1000, customers_in_use=4))
    run.process([visit(i, f"c{i}", i) for i in range(6)])
    run.drain()
    assert len(in_use(run)) == 6, "within the allowed lateness an event may come before any of these"
    run.process([visit(6, "d", 63.5)])
    run.drain()
    assert in_use(run) == {b"c3", b"c4", b"c5", b"d"}, "the watermark has passed c0 to c3, of which c3 is one of the four"
    assert len(run.rows) == 7, "all of them have an open checkout"
    run.process([visit(7, "c0", 70, "checkout.step_viewed"), visit(8, "e", 100)])
    run.drain()
    assert in_use(run) == {b"c5", b"d", b"c0", b"e"}


def test_twice_too_many_customers_in_use_are_packed_though_events_may_come_before() -> None:
    run = Run(HASTY, Behind(1000, 1000, customers_in_use=2))
    run.process([visit(i, f"c{i}", i) for i in range(6)])
    run.drain()
    assert in_use(run) == {b"c2", b"c3", b"c4", b"c5"}
    run.process([visit(6, "c0", -1, "payment.failed"), visit(7, "c1", 8, "order.completed")])
    run.advance(BASE_MS + 60 * MINUTE)
    run.drain()
    assert run.total("ABANDONED") == 5
    assert run.total("COMPLETED") == 1


def test_who_changed_is_written_when_packed() -> None:
    run = Run(HASTY, Behind(1, 100, customers_in_use=1))
    run.process([visit(i, f"c{i}", i) for i in range(4)] + [visit(4, "d", 100)])
    run.drain()
    assert in_use(run) == {b"d"}
    assert rows_of(run) == {b"cc0", b"cc1", b"cc2", b"cc3"}, "d is written later"
    assert replay_of(run) == 0
    run.process([visit(5 + i, "d", 101 + i, "checkout.step_viewed") for i in range(4)])
    run.drain()
    assert {run.writes[key] for key in rows_of(run)} == {1}, "those who are packed have not changed since"
    before = run.rows
    run.crash()
    assert run.rows == before


def test_who_waits_to_be_written_is_so_when_packed_and_then_no_more() -> None:
    run = Run(HASTY, Behind(rows_per_drain=1, replay_events=100, customers_in_use=3))
    run.process([visit(i, f"c{i}", i) for i in range(3)])
    run.drain()
    run.process([visit(3, "c0", 3, "checkout.step_viewed")])
    run.drain()
    assert len(rows_of(run)) == 1, "there was time, for one"
    run.process([visit(4, "c1", 50, "checkout.step_viewed"), *(visit(5 + i, f"d{i}", 200 + i) for i in range(3))])
    run.drain()
    assert in_use(run) == {b"d0", b"d1", b"d2"}
    assert run.writes.keys() >= {b"cc0", b"cc1", b"cc2"}
    assert replay_of(run) == 4, "what is folded again are those in use"
    for i in range(3):
        run.process([visit(8 + i, "d0", 210 + i, "checkout.step_viewed")])
        run.drain()
    assert [run.writes[b"c" + key] for key in (b"c0", b"c1", b"c2")] == [1, 1, 1]
    before = run.rows
    run.crash()
    assert run.rows == before


def test_a_customer_that_was_only_looked_at_is_packed_again_as_it_was() -> None:
    run = Run(HASTY, Behind(1000, 1000, customers_in_use=0))
    run.process([visit(0, "a", 0), visit(1, "b", 100), visit(2, "b", 200)])
    run.drain()
    before = meaning_of(run.processor, b"a", run.processor.rows()[b"a"])
    run.process([visit(3, "a", 1)])
    run.drain()
    assert run.processor.accounting["late"] == 1
    assert in_use(run) == set()
    assert meaning_of(run.processor, b"a", run.processor.rows()[b"a"]) == before


def test_a_customer_who_comes_and_goes_has_one_place_in_the_queue_and_is_not_unpacked_to_find_a_later_deadline() -> None:
    run = Run(HASTY, Behind(1000, 1000, customers_in_use=0))
    for visits in range(10):
        run.process([visit(3 * visits, "a", 100 * visits), visit(3 * visits + 1, "b", 100 * visits + 90, "page.viewed")])
        run.drain()
    assert in_use(run) == set()
    assert len(run.processor._due) == 2, "each visit moved the deadline, and each customer keeps the first place in the queue"
    run.advance(BASE_MS + 30 * MINUTE + 1)  # past that place, and before the deadline
    assert in_use(run) == set()
    deadline = BASE_MS + 900 * SECOND + 30 * MINUTE
    assert run.processor._customers.places(b"a") == (deadline, deadline)
    run.advance(deadline - 1)
    run.drain()
    assert run.total("ABANDONED") == 0
    run.advance(deadline)
    run.drain()
    assert run.total("ABANDONED") == 1


def test_a_customer_whose_deadline_comes_earlier_while_it_waits_in_the_queue_fires_then() -> None:
    run = Run(HASTY + SHORT, Behind(1000, 1000, customers_in_use=0))
    run.process([visit(0, "a", 0), visit(1, "b", 100, "page.viewed")])
    run.drain()
    run.process([visit(2, "a", 110, "ui.clicked"), visit(3, "b", 200, "page.viewed")])
    run.drain()
    assert in_use(run) == set()
    run.advance(BASE_MS + 230 * SECOND)
    run.drain()
    assert run.total("ABANDONED") == 1
    run.advance(BASE_MS + 30 * MINUTE)
    run.drain()
    assert run.total("ABANDONED") == 2


def test_too_many_customers_are_packed_between_drains_too() -> None:
    run = Run(HASTY, Behind(1000, 1000, customers_in_use=2))
    for i in range(8):
        run.process([visit(i, f"c{i}", i)])
    assert len(in_use(run)) == 4, "twice as many as wanted, because events may come before any of them"


def test_a_row_ahead_of_the_boundary_is_not_packed_as_of_an_earlier_moment_while_folding_again() -> None:
    run = Run(HASTY, Behind(rows_per_drain=1, replay_events=1000, customers_in_use=1))
    run.process([visit(0, "a", 0), visit(1, "b", 100), visit(2, "a", 400, "payment.failed"), visit(3, "d", 600, "page.viewed")])
    run.drain()
    assert rows_of(run) == {b"ca", b"cb"}
    assert replay_of(run) == 0
    before = run.rows
    run.crash()
    assert run.rows == before


@pytest.mark.parametrize("kind", ["page.viewed", "case.contacted"])
@pytest.mark.parametrize("crashes", [False, True])
def test_many_visits_of_one_with_a_distant_deadline_leave_the_queue_short(kind: str, *, crashes: bool) -> None:
    """Each visit has a deadline before the distant one, which is then waited for again; activity also puts it off."""
    run = Run('revision = 1\nallowed_lateness = "60s"\n[[slice]]\nby = []\n' + SHORT.replace('"1h"', '"0s"') + DISTANT)
    run.process([visit(0, "a", 0, "case.begun")])
    for n in range(1, 1600):
        run.process([visit(2 * n, "a", 600 * n, "ui.clicked"), visit(2 * n + 1, "a", 600 * n + 300, kind)])
        if crashes and n % 400 == 0:
            run.drain()
            run.crash()
    assert len(run.processor._due) < 1_100
    last = 0 if kind == "page.viewed" else 600 * 1599 + 300
    for seconds, abandoned in ((30 * 86_400 + last - 1, 1599), (30 * 86_400 + last, 1600)):
        run.advance(BASE_MS + seconds * SECOND)
        run.drain()
        assert run.total("ABANDONED") == abandoned
