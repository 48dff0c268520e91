"""What cooldowns, daily maxima and quiet hours hold back: recounted equal on colliding histories that go on for days."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import pytest

from streamer.definitions import Definitions, parse
from streamer.verify import compare, held_back
from streamer.verify.ranges import Range
from streamer.verify.raw_log import Clocks
from streamer.verify.recount import Recount, recount
from tests.journeys_support import BASE_MS
from tests.verify_support import adversarial_log, counted, definitions, in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.verify.compare import Verdict
    from streamer.verify.counted import Counted
    from streamer.verify.raw_log import Record

HISTORIES = 40
# Seconds of the small logs become this many, so that a log of three minutes goes on for a day.
STRETCH = 400
DAY_MS = 24 * 3_600_000
# Where the histories begin: about a day before clocks are put back, and forward; and where no offset is a whole hour.
PLACES = [("Europe/Berlin", "2026-10-24T10:15:00"), ("America/New_York", "2026-03-07T10:15:00"), ("Asia/Kathmandu", "2026-06-01T10:15:00")]


def odd(number: str) -> str:
    """A condition that comes and goes."""
    return " or ".join(f"{number} == {value}" for value in (1, 3, 5, 7))


CONDITIONS = {
    "customer": ["contacts >= 1", "contacts + repeat_contacts + handoffs >= 2", odd("contacts")],
    "issue": ["contacts >= 1", "transfers < 1", odd("contacts")],
    "journey": ["customer_contacts >= 1", "abandoned", odd("friction + customer_contacts")],
}
SHOWN = {
    "customer": '["transfers", "handoffs"]',
    "issue": '["severity", "reason", "transfers"]',
    "journey": '["step", "friction", "abandoned", "customer_switches"]',
}
HELD_BACK = [
    "max_per_day = 1",
    'max_per_day = 2\ncooldown = "200m"',
    "max_per_day = 3",
    'quiet = ["22:00-07:00"]',
    'quiet = ["01:30-02:30"]\nmax_per_day = 2',
    'quiet = ["02:30-03:30", "12:00-13:00", "23:59-00:01"]\ncooldown = "5h"',
    'quiet = ["00:00-12:00", "13:00-18:00"]\ncooldown = "30h"\nmax_per_day = 1',
]


def stretched(time_ms: int, begin_ms: int) -> int:
    return begin_ms + (time_ms - BASE_MS) * STRETCH


@cache
def log_of(first: int, begin: str) -> list[Record]:
    """Colliding histories from another day on, at another pace."""
    begin_ms = round(datetime.fromisoformat(begin).replace(tzinfo=UTC).timestamp() * 1_000)
    log = []
    for record in in_order(adversarial_log(HISTORIES, orderly=True, first=first)):
        time_ms = stretched(record.arrival, begin_ms)
        time = datetime.fromtimestamp(time_ms / 1_000, UTC).isoformat(timespec="milliseconds")
        log.append(record._replace(arrival=time_ms, value=json.dumps({**json.loads(record.value or b""), "time": time}).encode()))
    return log


def rules_of(scope: str, zone: str) -> Definitions:
    """The small definitions at the same pace, and rules that are held back."""
    text = re.sub(r'"(\d+)s"', lambda found: f'"{int(found[1]) * STRETCH}s"', definitions(scope).text)
    held = "".join(
        f'\n[[rule]]\nid = "{on}-{i}-{j}"\non = "{on}"\nwhen = "{when}"\nshow = {SHOWN[on]}\n{more}\n'
        for on, several in CONDITIONS.items()
        for i, when in enumerate(several)
        for j, more in enumerate(HELD_BACK)
    )
    return parse(f'timezone = "{zone}"\n{text}{held}')


class Case(NamedTuple):
    """A log, and what both sides make of it."""

    definitions: Definitions
    log: Sequence[Record]
    end_ms: int
    counts: Counted
    recounted: Recount

    def verdicts(self) -> list[Verdict]:
        return compare.rules(self.counts, self.recounted, self.definitions, Range(), 5, in_order=True)

    def differing(self) -> dict[str, Verdict]:
        return {verdict.name: verdict for verdict in self.verdicts() if verdict.status != "equal"}


def case_of(scope: str, zone: str, begin: str, *, first: int = 3_000, stops_after_ms: int | None = None) -> Case:
    log, wanted = log_of(first, begin), rules_of(scope, zone)
    end_ms = log[-1].arrival + 2 * DAY_MS
    if stops_after_ms is not None:
        end_ms = log[0].arrival + stops_after_ms
        log = [record for record in log if record.arrival <= end_ms]
    recounted = recount(log, wanted, Clocks({0: end_ms}), signals=True)
    return Case(wanted, log, end_ms, counted(log, wanted, end_ms), recounted)


@cache
def cases() -> list[Case]:
    """Each scope, each place, and a log that ends while much is held back."""
    scopes = ("issue", "journey", "customer")
    return [
        *(case_of(scope, *place) for scope, place in zip(scopes, PLACES, strict=True)),
        case_of("issue", *PLACES[0], first=3_000 + HISTORIES, stops_after_ms=DAY_MS),
    ]


def test_what_is_held_back_fires_when_the_recount_says() -> None:
    for case in cases():
        assert case.differing() == {}
    waited = {rule for case in cases() for rule, spells in case.recounted.spells.items() if any(one.held_back for one in spells)}
    mine = {tuple(rule.split("-")) for rule in waited if rule.count("-") == 2 and rule[-1].isdigit()}
    assert {on for on, _, _ in mine} == CONDITIONS.keys()
    assert {held for _, _, held in mine} == {str(number) for number in range(len(HELD_BACK))}
    assert any(spell.until_ms is None for spells in cases()[-1].recounted.spells.values() for spell in spells), "that log just stops"


def test_a_maximum_and_quiet_hours_that_mean_something_else_are_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    case = cases()[0]
    for place, other, rule in (("_DAY_MS", DAY_MS - 1, "customer-0-0"), ("_is_quiet", lambda *_: False, "customer-0-3")):
        with monkeypatch.context() as broken:
            broken.setattr(held_back, place, other)
            theirs = recount(case.log, case.definitions, Clocks({0: case.end_ms}), signals=True)
        assert case._replace(recounted=theirs).differing()[rule].status == "different"


def test_a_forged_signal_of_what_was_held_back_is_a_difference() -> None:
    case = cases()[0]
    waited = {one[:4] for one in case.recounted.spells["customer-0-3"] if one.held_back}
    at = next(i for i, one in enumerate(case.counts.told) if one.rule == "customer-0-3" and one.holding[:4] in waited)
    one = case.counts.told[at]
    forged = one._replace(holding=one.holding._replace(signals={**one.holding.signals, "contacts": 99}))
    told = [*case.counts.told[:at], forged, *case.counts.told[at + 1 :]]
    [verdict] = case._replace(counts=case.counts._replace(told=told)).differing().values()
    assert (verdict.name, verdict.mismatches, verdict.differences[0]["recounted"]) == ("customer-0-3", 1, one.holding.signals)
