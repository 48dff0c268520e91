"""Where spend is heading, and who declines silently: on histories with a known answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from streamer.analysis import trajectory
from streamer.analysis.history import DAY_MS, Measure, opened
from streamer.definitions import parse
from streamer.errors import InputError
from streamer.replay.history import read_history
from tests.unit.analysis.made import Maker

if TYPE_CHECKING:
    from pathlib import Path


NPS = Measure("nps", "experience")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


def test_months_are_complete_calendar_months() -> None:
    made = trajectory.months_of(1_704_067_200_000 + 1, 1_704_067_200_000 + 130 * DAY_MS)
    assert [np.datetime64(start, "ms").astype(str)[:10] for start in made] == ["2024-02-01", "2024-03-01", "2024-04-01", "2024-05-01"]


def test_a_silent_decliner_spends_less_and_has_reason_to(path: Path) -> None:
    made = Maker()
    for month, at in enumerate((0.1, 31, 60, 91, 121, 152)):  # the beginnings of the months of 2024
        for customer in ("reason", "no reason"):
            made.order(customer, at + 3, 100 - 15 * month)
        made.order("level", at + 3, 50)
    made.answer("reason", 10, 9)
    made.answer("reason", 100, 2)
    made.answer("no reason", 10, 2)
    made.answer("no reason", 100, 9)
    made.answer("level", 10, 0)
    made.add("clock", 183, "page.viewed")
    made.add("clock", 0, "page.viewed")
    _, log = made.opened(path, "journeys")
    told = trajectory.analyse(log, NPS, currency=None).result
    (silent,) = told["silent_decliners"]
    assert silent["key"] == "reason"
    assert silent["reasons"] == ("low score",)
    # The month of the first order is not on the line.
    assert silent["mean"] == pytest.approx(55)
    assert silent["change"] == pytest.approx(3 * -15 / 55)
    assert silent["change_low"] == pytest.approx(silent["change"]) == silent["change_high"]
    assert silent["score_change"] == pytest.approx(-7 / (90 / 30.4375))
    assert told["quadrants"] == {
        "spend_up_score_down": 0, "spend_up_score_up": 0, "spend_up_score_unknown": 1,
        "spend_down_score_down": 1, "spend_down_score_up": 1, "spend_down_score_unknown": 0,
    }  # fmt: skip


def test_high_effort_is_a_reason_too(path: Path) -> None:
    made = Maker()
    for month, at in enumerate((1, 32, 61, 92)):
        made.order("a", at, 100 - 30 * month)
    issue = {"issue": {"issue_id": "i"}}
    for n in range(4):
        made.add("a", 40 + n, "contact.started", **issue)
        made.add("a", 40.5 + n, "contact.ended", **issue)
    made.add("clock", 0, "page.viewed")
    made.add("clock", 125, "page.viewed")
    _, log = made.opened(path, "journeys")
    (silent,) = trajectory.analyse(log, NPS, currency=None).result["silent_decliners"]
    assert silent["reasons"] == ("high effort",)


def level(path: Path, seed: int, rate: float, customers: int = 400) -> list[dict[str, Any]]:
    """The silent decliners among customers who order at a rate a month that does not change, and all of whom have reason to leave."""
    made, random = Maker(), np.random.default_rng(seed)
    for n in range(customers):
        for at in np.cumsum(random.exponential(30.4 / rate, size=int(40 * rate) + 10)):
            if at < 397:
                made.order(f"c{n}", float(at), 50)
        made.answer(f"c{n}", 380, 0)
    made.add("clock", 0, "page.viewed")
    made.add("clock", 397, "page.viewed")
    _, log = made.opened(path, "journeys")
    found: list[dict[str, Any]] = trajectory.analyse(log, NPS, currency=None).result["silent_decliners"]
    return found


@pytest.mark.parametrize("rate", [0.5, 1])
def test_who_orders_at_random_and_as_ever_is_seldom_a_decliner(path: Path, rate: float) -> None:
    assert len(level(path, 7, rate)) <= 0.05 * 400


@pytest.mark.parametrize(("chapters", "reasons"), [("[service]", [("high effort",)]), ("", [])])
def test_effort_is_also_what_chapters_find(path: Path, chapters: str, reasons: list[tuple[str, ...]]) -> None:
    made = Maker()
    for month, at in enumerate((1, 32, 61, 92, 122)):
        made.order("a", at, 100 - 20 * month)
    made.add("a", 40, "contact.started", issue={"issue_id": "i"})
    for n in range(6):
        made.add("a", 40.1 + n / 100, "info.captured", issue={"issue_id": "i"}, info={"field": "address"})
    made.add("clock", 0, "page.viewed")
    made.add("clock", 155, "page.viewed")
    log = opened(read_history(made.write(path)), parse(f"revision = 1\n{chapters}"), "journeys")
    assert [one["reasons"] for one in trajectory.analyse(log, NPS, currency=None).result["silent_decliners"]] == reasons


def test_a_line_begins_in_the_month_after_the_first_order(path: Path) -> None:
    made = Maker()
    for at, amount in ((1, 300), (32, 50), (61, 50), (92, 50), (122, 50)):
        made.order("a", at, amount)
    made.answer("a", 100, 0)
    made.add("clock", 0, "page.viewed")
    made.add("clock", 155, "page.viewed")
    _, log = made.opened(path, "journeys")
    told = trajectory.analyse(log, NPS, currency=None).result
    assert (told["customers"], told["silent_decliners"]) == (1, [])


def test_a_line_needs_three_months(path: Path) -> None:
    made = Maker()
    made.order("a", 0, 1)
    made.order("a", 70, 1)
    _, log = made.opened(path, "journeys")
    with pytest.raises(InputError, match="at least 3 complete calendar months, and this history has 2"):
        trajectory.analyse(log, NPS, currency=None)
