"""The signals of chapters that rules on customers name: every alert of colliding histories, with its numbers, recounted in SQL."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from streamer.definitions import Definitions, parse
from streamer.metrics.catalogue import SIGNALS
from tests.chapters import test_every_chapter
from tests.chapters.support import history, side_by_side
from tests.journeys_support import HOUR
from tests.verify_support import counted, differing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from streamer.verify.counted import Counted
    from streamer.verify.raw_log import Record
    from tests.chapters.support import Maker

SEEDS: Final = range(6)
# Where a signal has something to tell, if that is not any number but 0.
HOLDS: Final[Mapping[str, str]] = {
    "nps_lowest": "nps_lowest < 10", "csat_lowest": "csat_lowest < 5", "ces_lowest": "ces_lowest < 7", "ces1_highest": "ces1_highest > 1",
    "share_of_wallet": "share_of_wallet < 1", "contact_overdue": "contact_overdue",
}  # fmt: skip


def watched(text: str, chapter: str) -> Definitions:
    """The definitions with a rule for every signal of the chapter, which fires when there is something to tell, and one that shows all."""
    rules = [
        f'\n[[rule]]\nid = "watch-{name}"\non = "customer"\nwhen = "{HOLDS.get(name, f"{name} != 0")}"\nshow = {[*SIGNALS[chapter]]}\n'
        for name in SIGNALS[chapter]
    ]
    return parse(text + "".join(rules).replace("'", '"'))


def with_consents(make: Maker) -> Maker:
    """The same events, some of which tell a consent or a refusal."""

    def made(random: Random, customer: str, time_ms: int) -> dict[str, Any]:
        event = make(random, customer, time_ms)
        if customer == "c-2" and random.random() < 0.15:
            event["consent"] = {"categories": {"analytics": random.choice([True, False])}}
        return event

    return made


class Case(NamedTuple):
    """A log, what the processors make of it, and when it ends."""

    definitions: Definitions
    log: list[Record]
    counts: Counted
    end_ms: int


@cache
def case_of(chapter: str, number: int, after_ms: int = 2 * HOUR) -> Case:
    histories = test_every_chapter.HISTORIES[chapter][number]
    wanted = watched(histories.definitions, chapter)
    log = side_by_side([history(seed, with_consents(histories.make), span_ms=histories.span_ms) for seed in SEEDS])
    end_ms = log[-1].arrival + after_ms
    return Case(wanted, log, counted(log, wanted, end_ms), end_ms)


CASES = [(chapter, number) for chapter, several in test_every_chapter.HISTORIES.items() for number in range(len(several))]


@pytest.mark.parametrize(("chapter", "number"), CASES)
def test_every_signal_of_every_alert_is_recounted_equal(chapter: str, number: int) -> None:
    case = case_of(chapter, number)
    assert differing(case.counts, case.log, case.definitions, case.end_ms, rules=True) == {}
    fired = {told.rule for told in case.counts.told}
    assert {f"watch-{name}" for name in SIGNALS[chapter]} <= fired, "a rule that never fires shows nothing"
