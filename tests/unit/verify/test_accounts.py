"""Numbers by account: recounted for each counter that rules on accounts look at, and for no other."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

import pytest

from streamer.definitions import Definitions, parse
from streamer.journeys import cells
from streamer.metrics.catalogue import METRICS
from streamer.metrics.counters import FIRST_CHAPTERS, Counter
from streamer.verify import compare, live
from streamer.verify.ranges import Range
from streamer.verify.recount import recount
from streamer.verify.tables import used_dimensions
from tests.chapters.support import SLICES, history, side_by_side
from tests.journeys_support import HOUR, MINUTE
from tests.unit.verify.test_live import fold
from tests.unit.verify.test_recount import with_other
from tests.unit.verify.test_signals import anything, in_seconds
from tests.verify_support import AFTER_MS, adversarial_log, counted, definitions, differing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from streamer.touchpoints.touchpoint import Touchpoint
    from streamer.verify.counted import Counted
    from streamer.verify.raw_log import Record
    from streamer.verify.recount import Place

HISTORIES: Final = 30
ACCOUNTS: Final = (b"", b"acme", b"globex", b"x" * 130)


def by_account(*metrics: str) -> str:
    """A rule on accounts for each of the metrics."""
    return "".join(
        f'\n[[rule]]\nid = "accounts-{metric}"\non = "account"\nmetric = "{metric}"\nwindows = ["{{window}}"]\nwhen = "k >= 9"\n'
        for metric in metrics
    )


@cache
def wanted() -> Definitions:
    """Rules that look at some counters of each family, and not at others."""
    return parse(definitions().text + by_account("contacts", "abandon_rate", "ping_pong_rate").format(window="20s"))


@cache
def log() -> list[Record]:
    """The adversarial log, with accounts that an event and its copy share."""
    return [
        record._replace(
            value=record.value
            and record.value.replace(b'"customer_id"', b'"account_id": "%b", "customer_id"' % ACCOUNTS[crc32(record.value) % 4])
        )
        for record in adversarial_log(HISTORIES, orderly=False)
    ]


def told_of(sums: Mapping[Place, int]) -> set[str]:
    """Counters of which some number is of an account."""
    assert {cell[-1] for _, cell, _ in sums} >= {"", "acme", "globex"}
    return {counter for counter, cell, _ in sums if cell[-1]}


def end_ms() -> int:
    return max(record.arrival for record in log()) + AFTER_MS


@cache
def mine() -> Counted:
    """What the processors make of it."""
    return counted(log(), wanted(), end_ms())


def test_what_is_counted_of_an_account_is_recounted_equal() -> None:
    counts = mine()
    assert differing(counts, log(), wanted(), end_ms()) == {}
    assert told_of(counts.sums) == {Counter(n).name for n in wanted().account_counters}
    assert ("x" * 128) in {cell[-1] for _, cell, _ in counts.sums}


def account(make: Any) -> Any:
    def made(random: Random, customer: str, time_ms: int) -> dict[str, Any]:
        return {"account_id": random.choice(["", "acme", "globex"]), **make(random, customer, time_ms)}

    return made


def test_so_is_every_counter_of_every_chapter() -> None:
    text = SLICES + in_seconds().removeprefix(SLICES)
    known = parse(text)
    of = parse(text + by_account(*(metric.id for metric in METRICS if known.has(metric))).format(window="5m"))
    events = side_by_side([history(seed, account(anything), span_ms=3 * MINUTE, events=250) for seed in range(2)])
    end = events[-1].arrival + 2 * HOUR
    counts = counted(events, of, end)
    assert differing(counts, events, of, end) == {}
    of_chapters = {name for name in told_of(counts.sums) if Counter[name] >= FIRST_CHAPTERS}
    assert len(of_chapters) > 100


def test_so_is_what_workers_have_committed() -> None:
    written = fold(log(), 3, wanted())
    dimensions = used_dimensions(wanted())
    batches = live.add_up(written.deltas, dimensions, wanted().account_counters)
    committed = live.counted_of(batches, written.late, written.dead)
    theirs = recount(log(), wanted(), live.clocks_of(batches, live.idle_clocks({0: written.journal}, wanted().revision)))
    assert [one for one in compare.counters(committed, theirs, Range(), 3) if one.status != "equal"] == []
    assert told_of(committed.sums) == {Counter(n).name for n in wanted().account_counters}


def test_an_account_that_means_something_else_is_a_difference() -> None:
    sql = with_other(
        [("'platform': platform, 'account': account_id}", "'platform': platform, 'account': left(account_id, 4)}", "CONTACTS")]
    )
    found = differing(mine(), log(), wanted(), end_ms(), sql)
    assert found.keys() == {Counter(n).name for n in wanted().account_counters}, "metrics add accounts up"


def test_a_processor_that_counts_for_the_account_seen_before_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    own = cells.Cells.of

    def of(self: cells.Cells, family: int, journey: str, event: Touchpoint, team: str = "") -> cells.Cell:
        if not event.account_id and self._latest is not None:
            event.account_id = self._latest.account_id
        return own(self, family, journey, event, team)

    monkeypatch.setattr(cells.Cells, "of", of)
    assert {"CONTACTS", "ABANDONED"} <= differing(counted(log(), wanted(), end_ms()), log(), wanted(), end_ms()).keys()
